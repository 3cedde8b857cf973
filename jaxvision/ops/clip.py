"""Clipping whose gradient passes at the bounds too.

Images hold many pixels that are exactly 0 or 1. There `jnp.clip` passes half of the
gradient (the rule of min and max for ties) where TensorFlow's and PyTorch's clip
pass all of it.
"""

import chex
import jax.numpy as jnp


def clip(
  values: chex.Array, low: chex.Numeric = 0.0, high: chex.Numeric = 1.0
) -> chex.Array:
  """Limits values to [low, high]; the gradient is 1 inside and at both bounds, else 0.

  Args:
    values: [...] floats; NaN stays NaN.
    low: lower bound, broadcast against `values`.
    high: upper bound, broadcast against `values`.

  Returns:
    [...] clipped values.

  Source: the gradient of tf.clip_by_value.
  """
  chex.assert_type(values, float)
  return jnp.where(values < low, low, jnp.where(values > high, high, values))
