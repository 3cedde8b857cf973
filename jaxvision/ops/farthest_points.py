"""Farthest point sampling: a subset of a cloud that covers it evenly."""

import chex
import jax
import jax.numpy as jnp


def farthest_point_sampling(
  points: chex.Array, count: int, *, start: int = 0, ignored_square: float | None = None
) -> chex.Array:
  """Returns `count` points, each the farthest from all that were taken before it.

  Of equally far points the first is taken. When every point that may be taken has been,
  the first of these is repeated.

  Args:
    points: [N, d], any unit. A point that is not finite is never taken after the start.
    count: 1 to N.
    start: index of the first point.
    ignored_square: points whose squared distance from the origin is at most this are
      never taken after the start; None takes all. Where none is left, index 0 is
      repeated.

  Returns:
    [count] int32 indices.

  Source: Qi et al., PointNet++, NIPS 2017; its CUDA kernel ignores 1e-3.
  """
  chex.assert_rank(points, 2)
  chex.assert_type(points, float)
  size, d = points.shape
  if not 1 <= count <= size:
    raise ValueError(f"{count} points cannot be sampled from {size}")
  if not 0 <= start < size:
    raise ValueError(f"start {start} is not one of {size} points")
  columns = jnp.asarray(points).T
  numbers = jnp.arange(size, dtype=jnp.int32)
  allowed = jnp.all(jnp.isfinite(points), axis=1)
  if ignored_square is not None:
    allowed &= _square(columns, d) > ignored_square
  none = jnp.asarray(-1.0, points.dtype)

  def take(carry, _):
    squares, last = carry
    offset = columns - columns[:, last, None]
    squares = jnp.fmin(squares, _square(offset, d))  # a NaN start changes nothing
    # Where nothing may be taken all candidates are -1, and index 0 is found.
    candidates = jnp.where(allowed, squares, none)
    farthest = jnp.max(candidates)
    # XLA's arg-max is six times slower on a CPU than a maximum and a minimum.
    found = jnp.min(jnp.where(candidates == farthest, numbers, size))
    return (squares, found), last

  carry = jnp.full(size, jnp.inf, points.dtype), jnp.int32(start)
  _, taken = jax.lax.scan(take, carry, None, length=count)
  return taken


def _square(columns, d):
  return sum(jnp.square(columns[axis]) for axis in range(d))
