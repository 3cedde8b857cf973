"""Cubic Hermite splines on evenly spaced knots."""

import chex
import jax.numpy as jnp


def interpolate(x: chex.Array, values: chex.Array, tangents: chex.Array) -> chex.Array:
  """Evaluates a spline whose knots lie at 0, 1, ..., n - 1.

  Args:
    x: [...] positions in units of the knot spacing, any finite number.
    values: [n] values at the knots, n ≥ 2.
    tangents: [n] derivatives at the knots, per knot spacing.

  Returns:
    [...] values; outside the knots the end's tangent is followed.

  Source: Barron, A General and Adaptive Robust Loss Function, CVPR 2019, supplement.
  """
  chex.assert_type([x, values, tangents], float)
  chex.assert_rank([values, tangents], 1)
  chex.assert_equal_shape([values, tangents])
  last = values.shape[0] - 1
  if last < 1:
    raise ValueError("a spline needs at least two knots")

  inside = jnp.clip(x, 0, last)
  low = jnp.minimum(jnp.floor(inside), last - 1)
  index = low.astype(jnp.int32)
  t = inside - low
  low_value, high_value, low_slope, high_slope = basis(t)
  spline = values[index] * low_value + values[index + 1] * high_value
  spline += tangents[index] * low_slope + tangents[index + 1] * high_slope
  # The clip cuts the derivative off at the ends; what lies outside brings it back.
  below, above = jnp.minimum(x, 0), jnp.maximum(x - last, 0)
  return spline + tangents[0] * below + tangents[-1] * above


def basis(t):
  """Returns the four cubic Hermite polynomials at t in [0, 1], NumPy or JAX arrays.

  They multiply the value at 0, the value at 1, the slope at 0 and the slope at 1.
  """
  high_value = (3 - 2 * t) * t * t
  high_slope = (t - 1) * t * t
  return 1 - high_value, high_value, high_slope - t * t + t, high_slope
