"""Losses of meshes, joints and parameters: means, over who has the truth (M12)."""

from typing import Literal

import chex
import jax.numpy as jnp

from jaxvision.papers.graph_cmr import keypoints

KeypointError = Literal["square", "absolute"]  # the code's, the paper's

PARAMETER_WEIGHTS = {"rotations": 1.0, "shape_numbers": 0.1}


def shape_loss(
  vertices: chex.Array, truth: chex.Array, has_truth: chex.Array
) -> chex.Array:
  """Returns the mean absolute error of coordinates; 0 where nobody has the truth.

  Args:
    vertices: [B, V, 3].
    truth: [B, V, 3].
    has_truth: [B] 0 or 1.
  """
  chex.assert_equal_shape([vertices, truth])
  return _mean_over(jnp.abs(vertices - truth), has_truth)


def keypoint_loss(
  found: chex.Array,
  truth: chex.Array,
  error: KeypointError = "square",
) -> chex.Array:
  """Returns the mean error of joints in the image, over all joints, seen or not.

  Args:
    found: [B, J, 2].
    truth: [B, J, 3] as (x, y, visible).
    error: the code's "square" or the paper's "absolute".
  """
  chex.assert_shape(truth, (*found.shape[:2], 3))
  difference = jnp.abs(found - truth[..., :2])
  if error == "square":
    difference = jnp.square(difference)
  return jnp.mean(truth[..., 2:] * difference)


def joint_loss(
  found: chex.Array, truth: chex.Array, has_truth: chex.Array
) -> chex.Array:
  """Returns the mean square error of joints in space, both about the mid-hip.

  Args:
    found: [B, 24, 3] in metres.
    truth: [B, 24, 4] with confidences.
    has_truth: [B] 0 or 1.
  """
  chex.assert_shape(found, (None, keypoints.COUNT, 3))
  chex.assert_shape(truth, (*found.shape[:2], 4))
  difference = _about_hips(found) - _about_hips(truth[..., :3])
  return _mean_over(truth[..., 3:] * jnp.square(difference), has_truth)


def parameter_losses(
  rotations: chex.Array,
  shape: chex.Array,
  true_rotations: chex.Array,
  true_shape: chex.Array,
  has_truth: chex.Array,
) -> dict[str, chex.Array]:
  """Returns mean square errors of rotations' elements and of shape numbers.

  Args:
    rotations: [B, K, 3, 3].
    shape: [B, S].
    true_rotations: [B, K, 3, 3].
    true_shape: [B, S].
    has_truth: [B] 0 or 1.
  """
  chex.assert_equal_shape([rotations, true_rotations])
  chex.assert_equal_shape([shape, true_shape])
  return {
    "rotations": _mean_over(jnp.square(rotations - true_rotations), has_truth),
    "shape_numbers": _mean_over(jnp.square(shape - true_shape), has_truth),
  }


def _about_hips(joints):
  right, left = keypoints.HIPS
  return joints - (joints[:, right : right + 1] + joints[:, left : left + 1]) / 2


def _mean_over(values, has_truth):
  """Returns the mean of values [B, ...] over the examples that have the truth."""
  chex.assert_shape(has_truth, values.shape[:1])
  weight = has_truth.astype(values.dtype)
  each = jnp.mean(values, axis=tuple(range(1, values.ndim)))
  return jnp.sum(weight * each) / jnp.maximum(jnp.sum(weight), 1)
