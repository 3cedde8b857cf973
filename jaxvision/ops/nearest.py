"""Exhaustive nearest neighbours of one set of points in another, all jittable."""

import chex
import jax
import jax.numpy as jnp

_POINTS_AT_ONCE = 16
_QUERIES_AT_ONCE = 256


def nearest(queries: chex.Array, points: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns the nearest point of each query: O(M N d) work, O(M + N) memory.

  Of equally near points the first is taken. A point that is not finite is infinitely
  far; a query that is not finite has index 0 and an infinite distance.

  Args:
    queries: [M, d].
    points: [N, d], N ≥ 1.

  Returns:
    [M] int32 indices and [M] Euclidean distances.
  """
  chex.assert_rank([queries, points], 2)
  chex.assert_type([queries, points], float)
  chex.assert_equal(queries.shape[1], points.shape[1])
  if not points.shape[0]:
    raise ValueError("there are no points to be nearest")
  count, d = points.shape
  missing = -count % _POINTS_AT_ONCE
  padded = jnp.pad(points, ((0, missing), (0, 0)), constant_values=jnp.inf)
  blocks = padded.reshape(-1, _POINTS_AT_ONCE, d)
  indices = jnp.arange(count + missing, dtype=jnp.int32).reshape(-1, _POINTS_AT_ONCE)
  columns = queries.T

  # A running minimum over the points vectorises along the queries, which an arg-min
  # along rows of a distance matrix does not: a tenth of the time on a CPU.
  def compare(best, block):
    squares, found = best
    for point, index in zip(*block, strict=True):
      square = sum(jnp.square(columns[axis] - point[axis]) for axis in range(d))
      is_nearer = square < squares  # False for NaN
      found = jnp.where(is_nearer, index, found)
      squares = jnp.where(is_nearer, square, squares)
    return (squares, found), None

  start = jnp.full_like(columns[0], jnp.inf), jnp.zeros(queries.shape[0], jnp.int32)
  (squares, found), _ = jax.lax.scan(compare, start, (blocks, indices))
  return found, _safe_sqrt(squares)


def k_nearest(
  queries: chex.Array, points: chex.Array, k: int
) -> tuple[chex.Array, chex.Array]:
  """Returns the k nearest points of each query, nearest first, exhaustively.

  Args:
    queries: [M, d].
    points: [N, d].
    k: 1 to N.

  Returns:
    [M, k] int32 indices and [M, k] Euclidean distances, infinite where the query or
    the point is not finite.
  """
  chex.assert_rank([queries, points], 2)
  chex.assert_type([queries, points], float)
  chex.assert_equal(queries.shape[1], points.shape[1])
  if not 1 <= k <= points.shape[0]:
    raise ValueError(f"{points.shape[0]} points are not the {k} nearest ones")

  def neighbors(query):
    squares = jnp.sum(jnp.square(points - query), axis=1)
    squares = jnp.where(jnp.isnan(squares), jnp.inf, squares)
    negative, found = jax.lax.top_k(-squares, k)
    return found, _safe_sqrt(-negative)

  size = max(1, min(queries.shape[0], _QUERIES_AT_ONCE))
  return jax.lax.map(neighbors, queries, batch_size=size)


def _safe_sqrt(squares):
  """Returns the roots, whose gradient at 0 is 0 instead of NaN."""
  is_positive = squares > 0
  return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, squares, 1.0)), 0.0)
