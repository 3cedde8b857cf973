"""The points within a ball, in the order of the array rather than of distance."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

_QUERIES_AT_ONCE = 64
_MOST_POINTS = 1 << 24  # indices that float32 holds exactly


def ball_query(
  queries: chex.Array,
  points: chex.Array,
  radius: float,
  count: int,
  *,
  fill: chex.Array | None = None,
  skip_coincident: bool = False,
) -> tuple[chex.Array, chex.Array]:
  """Returns the first `count` points of the array nearer than `radius` to each query.

  Which of the many points in a ball are taken follows from the array's order alone: a
  shuffled cloud gives a random choice.

  Args:
    queries: [M, d].
    points: [N, d], N ≤ 2^24; a point that is not finite lies in no ball.
    radius: of the open ball, in the points' unit, positive.
    count: slots for each query, at least 1; may exceed N.
    fill: [M] int indices for the slots that stay empty; the first point found when
      None, index 0 where the ball is empty.
    skip_coincident: leave out points at distance exactly 0, as the query itself.

  Returns:
    [M, count] int32 indices, and [M] int32 number of slots that hold a point found.

  Source: Qi et al., PointNet++, NIPS 2017.
  """
  chex.assert_rank([queries, points], 2)
  chex.assert_type([queries, points], float)
  chex.assert_equal(queries.shape[1], points.shape[1])
  size, d = points.shape
  if not 1 <= size <= _MOST_POINTS:
    raise ValueError(f"{size} points are not between 1 and {_MOST_POINTS}")
  if not radius > 0 or count < 1:
    raise ValueError(f"a ball of radius {radius} with {count} points")
  columns = jnp.asarray(points).T
  # The smallest index has the largest key, so that the first ones are the top ones.
  # (A sum of the mask along the array is ten times slower on a CPU.)
  keys = -jnp.arange(size, dtype=jnp.float32)
  square_radius = np.square(np.asarray(radius, points.dtype))
  slots = min(count, size)

  def first(query):
    squares = sum(jnp.square(columns[axis] - query[axis]) for axis in range(d))
    inside = squares < square_radius  # False for NaN
    if skip_coincident:
      inside &= squares > 0
    top, _ = jax.lax.top_k(jnp.where(inside, keys, -jnp.inf), slots)
    return top

  top = jax.lax.map(first, queries, batch_size=min(_QUERIES_AT_ONCE, len(queries) or 1))
  found = jnp.isfinite(top)
  indices = jnp.where(found, -top, 0).astype(jnp.int32)
  number = jnp.sum(found, axis=1, dtype=jnp.int32)
  indices = jnp.pad(indices, ((0, 0), (0, count - slots)))
  if fill is None:
    fill = indices[:, 0]
  chex.assert_shape(fill, (len(queries),))
  is_empty = jnp.arange(count) >= number[:, None]
  return jnp.where(is_empty, fill[:, None].astype(jnp.int32), indices), number
