"""A volume-preserving YUV: likelihoods of images in it and in RGB are comparable.

The last axis holds the channels. The transform is linear (no offset), so that it also
maps differences of images; its determinant is 1 in magnitude.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

_SCALE = 1.580227820074  # brings the determinant of the YUV of BT.601 to 1
_FROM_RGB = _SCALE * np.array(
  [
    [0.299, -0.14714119, 0.61497538],
    [0.587, -0.28886916, -0.51496512],
    [0.114, 0.43601035, -0.10001026],
  ]
)
_TO_RGB = (
  np.array([[1, 1, 1], [0, -0.394642334, 2.03206185], [1.13988303, -0.58062185, 0]])
  / _SCALE
)


def rgb_to_syuv(rgb: chex.Array) -> chex.Array:
  """Converts RGB [..., 3], or differences of it, to scaled YUV [..., 3].

  Source: Barron, A General and Adaptive Robust Loss Function, CVPR 2019, supplement.
  """
  return _mix(rgb, _FROM_RGB)


def syuv_to_rgb(syuv: chex.Array) -> chex.Array:
  """Converts scaled YUV [..., 3] back to RGB [..., 3]."""
  return _mix(syuv, _TO_RGB)


def _mix(images, matrix):
  chex.assert_type(images, float)
  chex.assert_axis_dimension(images, -1, 3)
  matrix = jnp.asarray(matrix, images.dtype)
  return jnp.matmul(images, matrix, precision=jax.lax.Precision.HIGHEST)
