"""Errors of disparities, [..., H, W] in pixels; one number an image.

A mask of pixels that count may be empty: the errors are NaN then, not 0.
"""

import chex
import jax.numpy as jnp


def valid_disparities(truth: chex.Array, largest: float) -> chex.Array:
  """Returns which true disparities count: 0.001 <= d <= largest, and finite.

  Source: evaluation.py in GA-Net's code.
  """
  return (truth >= 0.001) & (truth <= largest)


def end_point_error(
  disparity: chex.Array, truth: chex.Array, mask: chex.Array
) -> chex.Array:
  """Returns the mean absolute error (EPE) of the pixels in the mask, [...] pixels."""
  error = _error(disparity, truth, mask)
  return _mean(error, mask)


def bad_rate(
  disparity: chex.Array,
  truth: chex.Array,
  mask: chex.Array,
  threshold: float,
) -> chex.Array:
  """Returns the share in [0, 1] of errors larger than a threshold in pixels."""
  return _mean(_error(disparity, truth, mask) > threshold, mask)


def d1_rate(disparity: chex.Array, truth: chex.Array, mask: chex.Array) -> chex.Array:
  """Returns KITTI's D1: the share of errors above 3 pixels and 5 % of the truth.

  Source: KITTI 2015 development kit, evaluate_scene_flow.
  """
  error = _error(disparity, truth, mask)
  return _mean((error > 3) & (error > 0.05 * truth), mask)


def _error(disparity, truth, mask):
  chex.assert_equal_shape([disparity, truth, mask])
  chex.assert_type([disparity, truth, mask], [float, float, bool])
  # An invalid truth may be infinite, and inf * 0 is NaN.
  return jnp.abs(disparity - jnp.where(mask, truth, disparity))


def _mean(values, mask):
  total = jnp.sum(jnp.where(mask, values, 0), axis=(-2, -1))
  return total / jnp.sum(mask, axis=(-2, -1))
