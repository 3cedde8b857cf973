"""The Wasserstein-1 distance (earth mover's) between samples of one number."""

import chex
import jax.numpy as jnp


def wasserstein_1d(
  a: chex.Array,
  b: chex.Array,
  a_weights: chex.Array | None = None,
  b_weights: chex.Array | None = None,
) -> chex.Array:
  """Returns the area between the distribution functions of two weighted samples.

  Args:
    a: [N] values.
    b: [M] values, in the same unit.
    a_weights: [N] ≥ 0, of any sum; all equal when None. 0 leaves a value out.
    b_weights: [M] likewise.

  Returns:
    Scalar in the unit of the values; NaN where weights sum to 0: nothing to compare.
  """
  chex.assert_rank([a, b], 1)
  chex.assert_type([a, b], float)
  a_weights = jnp.ones_like(a) if a_weights is None else a_weights
  b_weights = jnp.ones_like(b) if b_weights is None else b_weights
  chex.assert_equal_shape([a, a_weights])
  chex.assert_equal_shape([b, b_weights])
  shares = jnp.concatenate([a_weights / a_weights.sum(), -b_weights / b_weights.sum()])
  values = jnp.concatenate([a, b])
  order = jnp.argsort(values)
  difference = jnp.cumsum(shares[order])[:-1]
  return jnp.sum(jnp.abs(difference) * jnp.diff(values[order]))
