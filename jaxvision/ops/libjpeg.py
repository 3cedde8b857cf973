"""The integer arithmetic of libjpeg and libjpeg-turbo, bit for bit, on arrays.

What their defaults compute: "islow" DCT, 16-bit fixed-point colour, "fancy"
up-sampling. All arrays are int32, samples are 0..255, channels last.

Source: the C files of libjpeg 6b that the docstrings name; libjpeg-turbo's vector code
gives the same bits.
"""

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import chroma
from jaxvision.ops.dct import (
  join_blocks,
  split_blocks,
  transform_columns,
  transform_rows,
)

# The one-dimensional DCT of jfdctint.c and jidctint.c written out as a matrix of their
# 13-bit constants, √8 times orthonormal. Rows are frequencies; the right half mirrors
# the left half, with the sign changed in odd rows.
_LEFT = np.array(
  [
    [8192, 8192, 8192, 8192],
    [11363, 9633, 6437, 2260],
    [10703, 4433, -4433, -10703],
    [9633, -2259, -11362, -6436],
    [8192, -8192, -8192, 8192],
    [6437, -11362, 2261, 9633],
    [4433, -10704, 10704, -4433],
    [2260, -6436, 9633, -11363],
  ],
  np.int32,
)
_SIGNS = np.array([[1], [-1]] * 4, np.int32)
_DCT = np.concatenate([_LEFT, _SIGNS * _LEFT[:, ::-1]], axis=1)


def rgb_to_ycbcr(images: chex.Array) -> chex.Array:
  """Converts [..., 3] RGB to YCbCr (jccolor.c)."""
  red, green, blue = (images[..., channel] for channel in range(3))
  half = 1 << 15
  offset = (128 << 16) + half - 1
  luma = (19595 * red + 38470 * green + 7471 * blue + half) >> 16
  cb = (-11059 * red - 21709 * green + 32768 * blue + offset) >> 16
  cr = (32768 * red - 27439 * green - 5329 * blue + offset) >> 16
  return jnp.stack([luma, cb, cr], axis=-1)


def ycbcr_to_rgb(images: chex.Array) -> chex.Array:
  """Converts [..., 3] YCbCr to RGB (jdcolor.c)."""
  luma, cb, cr = images[..., 0], images[..., 1] - 128, images[..., 2] - 128
  half = 1 << 15
  red = luma + ((91881 * cr + half) >> 16)
  green = luma + ((-22554 * cb - 46802 * cr + half) >> 16)
  blue = luma + ((116130 * cb + half) >> 16)
  return jnp.clip(jnp.stack([red, green, blue], axis=-1), 0, 255)


def quantise(samples: chex.Array, steps: chex.Array) -> chex.Array:
  """Returns the quantised DCT coefficients (jfdctint.c, jcdctmgr.c).

  Args:
    samples: [..., H, W, K]; H and W multiples of 8.
    steps: [..., 1, 8, 1, 8, K] quantisation steps.

  Returns:
    [..., H/8, 8, W/8, 8, K] levels.
  """
  rows = _descale(transform_rows(split_blocks(samples) - 128, _DCT), 11)
  scaled = _descale(transform_columns(rows, _DCT), 15)
  # The transform leaves a factor 8, the steps take it out.
  return jnp.sign(scaled) * ((jnp.abs(scaled) + 4 * steps) // (8 * steps))


def dequantise(levels: chex.Array, steps: chex.Array) -> chex.Array:
  """Returns the samples [..., H, W, K] of quantised coefficients (jidctint.c)."""
  columns = _descale(transform_columns(levels * steps, _DCT.T), 11)
  blocks = _descale(transform_rows(columns, _DCT.T), 18)
  return jnp.clip(join_blocks(blocks) + 128, 0, 255)


def _descale(values, bits):
  """Shifts right with rounding, as the macro DESCALE does."""
  return (values + (1 << (bits - 1))) >> bits


def downsample(samples: chex.Array, factors: tuple[int, int]) -> chex.Array:
  """Averages cells of chroma samples (jcsample.c)."""
  if factors == (1, 1):
    return samples
  sums = chroma.sum_cells(samples, factors)
  # Halves go down and up in turn from column to column.
  odd = np.arange(sums.shape[-2], dtype=np.int32)[:, None] % 2
  return (sums + odd) >> 1 if factors == (1, 2) else (sums + 1 + odd) >> 2


def upsample(samples: chex.Array, factors: tuple[int, int]) -> chex.Array:
  """Doubles the axes of chroma samples ("fancy" functions of jdsample.c)."""
  if factors == (1, 1):
    return samples
  if samples.shape[-2] <= 2:  # too narrow for those: libjpeg repeats samples
    return jnp.repeat(jnp.repeat(samples, factors[0], -3), factors[1], -2)
  sums = chroma.spread(samples, factors)
  odd = np.arange(sums.shape[-2], dtype=np.int32)[:, None] % 2
  return (sums + 1 + odd) >> 2 if factors == (1, 2) else (sums + 8 - odd) >> 4
