"""Which discontinuity belongs to which surface: branches of path lengths (A3)."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np


def link(paths: chex.Array, jump: float = 5.0) -> chex.Array:
  """Reorders each wall point's paths so that every column is continuous.

  Going through the grid row by row, what is expected of a branch is the plane through
  the neighbours above and to the left, or in the first row the line through the two
  on the left; the permutation of least total deviation is taken. Columns of sorted
  paths exchange surfaces where branches cross; these do not.

  Args:
    paths: [H, W, K] lengths, NaN where missing; K at most 6, since all K!
      permutations are compared.
    jump: the deviation in the paths' unit beyond which it makes no difference, and
      which a missing path costs.

  Returns:
    [H, W, K] with the same paths at every point, in another order.

  Source: A3, ours.
  """
  chex.assert_rank(paths, 3)
  chex.assert_type(paths, float)
  count = paths.shape[2]
  if count > 6:
    raise ValueError(f"{count} branches have too many permutations to compare")
  orders = np.array(list(itertools.permutations(range(count))))
  unknown = jnp.full(count, jnp.nan, paths.dtype)

  def link_point(carry, point):
    left, before_left, above_left = carry
    found, above = point
    expected = _first_finite(
      left + above - above_left, 2 * left - before_left, left, above
    )
    candidates = found[orders]  # [K!, K]
    deviation = jnp.minimum(jnp.abs(candidates - expected), jump)
    # A branch that nothing is expected of takes what the others leave.
    costs = jnp.where(
      jnp.isnan(expected), 0.0, jnp.where(jnp.isnan(candidates), jump, deviation)
    )
    linked = candidates[jnp.argmin(jnp.sum(costs, axis=1))]
    # A branch is remembered over points where it is missing.
    memory = _first_finite(linked, expected)
    return (memory, left, above), (linked, memory)

  def link_row(above, row):
    start = (unknown, unknown, unknown)
    _, (linked, memory) = jax.lax.scan(link_point, start, (row, above))
    return memory, linked

  above = jnp.full(paths.shape[1:], jnp.nan, paths.dtype)
  return jax.lax.scan(link_row, above, paths)[1]


def _first_finite(*candidates):
  chosen = candidates[-1]
  for candidate in candidates[-2::-1]:
    chosen = jnp.where(jnp.isfinite(candidate), candidate, chosen)
  return chosen
