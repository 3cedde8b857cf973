"""Conversions between RGB and YCbCr as JFIF defines them (full range, BT.601 weights).

The last axis holds the channels. Everything is on the scale of the images, [0, 1]; grey
has Cb = Cr = 128/255, the byte 128 of a file.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

# ITU-T T.871, section 7, with the six decimals most implementations use.
RGB_TO_YCBCR = np.array(
  [
    [0.299, 0.587, 0.114],
    [-0.168736, -0.331264, 0.5],
    [0.5, -0.418688, -0.081312],
  ]
)
YCBCR_TO_RGB = np.array(
  [[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]]
)
GREY = np.array([0.0, 128 / 255, 128 / 255])


def rgb_to_ycbcr(images: chex.Array) -> chex.Array:
  """Converts RGB [..., 3] in [0, 1] to YCbCr [..., 3] in [0, 1].

  Source: ITU-T T.871 (JFIF), section 7.
  """
  _assert_three_channels(images)
  return _mix(images, RGB_TO_YCBCR) + GREY.astype(images.dtype)


def ycbcr_to_rgb(images: chex.Array) -> chex.Array:
  """Converts YCbCr [..., 3] to RGB [..., 3]; nothing is clipped.

  Source: ITU-T T.871 (JFIF), section 7.
  """
  _assert_three_channels(images)
  return _mix(images - GREY.astype(images.dtype), YCBCR_TO_RGB)


def _assert_three_channels(images):
  chex.assert_type(images, float)
  chex.assert_axis_dimension(images, -1, 3)


def _mix(images, matrix):
  matrix = jnp.asarray(matrix.T, images.dtype)
  return jnp.matmul(images, matrix, precision=jax.lax.Precision.HIGHEST)
