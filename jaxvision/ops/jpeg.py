"""JPEG compression and decompression as one differentiable function of the image.

Only what changes pixels is here: colour conversion, chroma subsampling, block DCT and
quantisation. Entropy coding loses nothing, so no bit stream is made.

Three arithmetics share the interface:
  * "real": the standard in real numbers;
  * "korus": the conventions of Korus and Memon's code: level shift 127 beside chroma
    offset 128, and a DCT matrix of four decimals;
  * "libjpeg": the integers of libjpeg and libjpeg-turbo, bit for bit the pixels that
    Pillow reads back.

Source: Korus and Memon, Content Authentication for Neural Imaging Pipelines, CVPR 2019,
section 3.3; ITU-T T.81, annexes A and K; ITU-T T.871.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import chroma, color, libjpeg
from jaxvision.ops import rounding as rounding_modes
from jaxvision.ops.clip import clip
from jaxvision.ops.dct import block_dct, block_idct, dct_matrix

Rounding = str | Callable[[chex.Array], chex.Array]

# ITU-T T.81, tables K.1 and K.2.
_LUMA_TABLE = np.array(
  [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
  ],
  np.float32,
)
_CHROMA_TABLE = np.full((8, 8), 99, np.float32)
_CHROMA_TABLE[:4, :4] = [
  [17, 18, 24, 47],
  [18, 21, 26, 66],
  [24, 26, 56, 99],
  [47, 66, 99, 99],
]

# Name: DCT matrix, level shift.
_REAL = {"real": (dct_matrix(), 128), "korus": (dct_matrix().round(4), 127)}
ARITHMETICS = (*_REAL, "libjpeg")


def quantization_tables(
  quality: chex.Numeric, *, integer_scale: bool = False
) -> tuple[chex.Array, chex.Array]:
  """Returns the quantisation tables that libjpeg scales from the standard's examples.

  Args:
    quality: [...] integers or reals, traced or not; clipped to [1, 100].
    integer_scale: compute the scale in whole numbers as libjpeg does. It matters below
      quality 50 only.

  Returns:
    luma, chroma: [..., 8, 8] float32 steps 1..255, vertical frequency first.

  Source: jcparam.c of libjpeg; ITU-T T.81, annex K.
  """
  quality = jnp.clip(jnp.asarray(quality, jnp.float32), 1, 100)
  if integer_scale:
    quality = jnp.floor(quality)
  scale = jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality)
  # For whole qualities the floors see multiples of 1/49 and 1/4900; the small numbers
  # keep float32 from falling below an integer.
  if integer_scale:
    scale = jnp.floor(scale + 1e-2)
  scale = scale[..., None, None]

  def scaled(table):
    return jnp.clip(jnp.floor((table * scale + 50) / 100 + 1e-4), 1, 255)

  return scaled(_LUMA_TABLE), scaled(_CHROMA_TABLE)


# Compiled here too, so that a direct call does not run operation by operation.
@functools.partial(jax.jit, static_argnames=("rounding", "subsampling", "arithmetic"))
def jpeg(
  images: chex.Array,
  quality: chex.Numeric,
  *,
  rounding: Rounding = "sin",
  subsampling: str = "4:4:4",
  arithmetic: str = "real",
) -> chex.Array:
  """Compresses and decompresses images.

  Args:
    images: [..., H, W, 3] RGB floats in [0, 1], any H and W: blocks that the image does
      not fill repeat its last row and column.
    quality: 1..100 (clipped), integer or real, broadcast against the leading axes of
      `images`: one number, or one an image. It may be traced; it gets no gradient.
      "libjpeg" takes its integer part.
    rounding: how coefficients are rounded: "round" (zero gradient), "sin", "soft",
      "harmonic", "identity", "soft-codebook" (see `ops/rounding.py`), or a function of
      an array, e.g. `functools.partial(rounding.harmonic, terms=1)` (make it once:
      each new function object compiles anew).
    subsampling: "4:4:4", "4:2:2" or "4:2:0".
    arithmetic: "real", "korus" or "libjpeg". With "libjpeg" the images are rounded to 8
      bits, the result is that of libjpeg whatever the rounding, and `rounding` chooses
      the gradient: that of arithmetic "real".

  Returns:
    [..., H, W, 3] floats in [0, 1] of the images' dtype; multiples of 1/255 for
    "libjpeg", unrounded otherwise.

  Raises:
    AssertionError: images that are not floats [..., H, W, 3], or a quality that does
      not broadcast.
    ValueError: an unknown rounding, subsampling or arithmetic.
  """
  exact, quality, rounding, factors = _prepare(
    images, quality, rounding, subsampling, arithmetic
  )
  if arithmetic == "libjpeg":
    result = _libjpeg(exact, quality, rounding, factors)
  else:
    result = _real(exact, quality, rounding, factors, arithmetic)
  return result.astype(images.dtype)


@functools.partial(jax.jit, static_argnames=("rounding", "subsampling", "arithmetic"))
def coefficients(
  images: chex.Array,
  quality: chex.Numeric,
  *,
  rounding: Rounding = "round",
  subsampling: str = "4:4:4",
  arithmetic: str = "real",
) -> tuple[chex.Array, chex.Array, chex.Array]:
  """Returns the quantised DCT coefficients that a JPEG file of the images holds.

  The arguments are those of `jpeg`; with "libjpeg" there is no gradient here.

  Returns:
    luma, cb, cr: [..., rows, columns, 8, 8] levels of the blocks, vertical frequency
    first, as floats (float32 at least, which holds them exactly).
  """
  images, quality, rounding, factors = _prepare(
    images, quality, rounding, subsampling, arithmetic
  )
  channels = []
  for scan in _scans(quality, factors, arithmetic):
    if arithmetic == "libjpeg":
      levels = _libjpeg_levels(images, scan).astype(images.dtype)
    else:
      levels = _real_levels(images, scan, rounding, arithmetic)
    channels += list(jnp.moveaxis(jnp.swapaxes(levels, -4, -3), -1, 0))
  return tuple(channels)


def _prepare(images, quality, rounding, subsampling, arithmetic):
  """Refuses bad arguments and brings good ones into one form."""
  chex.assert_type(images, float, custom_message="images")
  chex.assert_shape(images, (..., None, None, 3), custom_message="images")
  quality = jnp.asarray(quality, jnp.float32)
  chex.assert_is_broadcastable(
    quality.shape, images.shape[:-3], custom_message="quality"
  )
  _assert_one_of("subsampling", subsampling, chroma.SUBSAMPLING)
  _assert_one_of("arithmetic", arithmetic, ARITHMETICS)
  if not callable(rounding):
    _assert_one_of("rounding", rounding, rounding_modes.MODES)
    rounding = rounding_modes.MODES[rounding]
  images = images.astype(jnp.promote_types(images.dtype, jnp.float32))
  return images, quality, rounding, chroma.SUBSAMPLING[subsampling]


def _assert_one_of(name, value, choices):
  if value not in choices:
    raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


class _Scan(NamedTuple):
  """Channels of YCbCr that are sampled alike."""

  channels: np.ndarray
  factors: tuple[int, int]
  steps: chex.Array  # [..., 1, 8, 1, 8, K]

  def component_size(self, height: int, width: int) -> tuple[int, int]:
    return -(-height // self.factors[0]), -(-width // self.factors[1])


def _scans(quality, factors, arithmetic):
  integer = arithmetic == "libjpeg"
  luma, colour = quantization_tables(quality, integer_scale=integer)
  steps = jnp.stack([luma, colour, colour], axis=-1)[..., None, :, None, :, :]
  if integer:
    steps = steps.astype(jnp.int32)
  if factors == (1, 1):
    return [_Scan(np.arange(3), factors, steps)]
  return [
    _Scan(np.array([0]), (1, 1), steps[..., :1]),
    _Scan(np.array([1, 2]), factors, steps[..., 1:]),
  ]


def _real(images, quality, rounding, factors, arithmetic):
  height, width = images.shape[-3:-1]
  matrix, shift = _REAL[arithmetic]
  result = 0
  # Up-sampling is linear: each scan becomes RGB on its own, and the sum is the image.
  for scan in _scans(quality, factors, arithmetic):
    levels = _real_levels(images, scan, rounding, arithmetic)
    # The DC term alone sees the level shift; here its pixel value is taken back.
    dc = _offsets(scan, shift) / matrix[0, 0] ** 2
    spectrum = levels * scan.steps - _at_dc(dc, images.dtype)
    mix = color.YCBCR_TO_RGB[:, scan.channels] / 255
    rows, columns = scan.component_size(height, width)
    part = block_idct(spectrum, matrix, mix)[..., :rows, :columns, :]
    part = chroma.spread(part, scan.factors) / math.prod(scan.factors) ** 2
    result += part[..., :height, :width, :]
  return clip(result)


def _real_levels(images, scan, rounding, arithmetic):
  matrix, shift = _REAL[arithmetic]
  samples = chroma.sum_cells(images, scan.factors) / math.prod(scan.factors)
  samples = chroma.pad(samples, 8, 8)
  spectrum = block_dct(samples, matrix, 255 * color.RGB_TO_YCBCR[scan.channels])
  dc = _offsets(scan, shift) * np.sum(matrix[0]) ** 2
  return rounding((spectrum + _at_dc(dc, images.dtype)) / scan.steps)


def _offsets(scan, shift):
  """What is added to each channel's zero-based values before the transform."""
  return np.where(scan.channels == 0, 0, 128) - shift


def _at_dc(values, dtype):
  """Places [K] values at the DC term of [8, 1, 8, K] zeros."""
  spectrum = np.zeros((8, 1, 8, len(values)), dtype)
  spectrum[0, 0, 0] = values
  return spectrum


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _libjpeg(images, quality, rounding, factors):
  del rounding  # chooses the gradient only
  height, width = images.shape[-3:-1]
  channels = []
  for scan in _scans(quality, factors, "libjpeg"):
    rows, columns = scan.component_size(height, width)
    samples = libjpeg.dequantise(_libjpeg_levels(images, scan), scan.steps)
    samples = libjpeg.upsample(samples[..., :rows, :columns, :], scan.factors)
    channels.append(samples[..., :height, :width, :])
  rgb = libjpeg.ycbcr_to_rgb(jnp.concatenate(channels, axis=-1))
  return rgb.astype(images.dtype) / 255


@_libjpeg.defjvp
def _libjpeg_jvp(rounding, factors, primals, tangents):
  images, quality = primals
  _, tangent = jax.jvp(
    lambda images: _real(images, quality, rounding, factors, "real"),
    (images,),
    tangents[:1],
  )
  return _libjpeg(images, quality, rounding, factors), tangent


def _libjpeg_levels(images, scan):
  rgb = jnp.round(255 * clip(images)).astype(jnp.int32)
  samples = libjpeg.rgb_to_ycbcr(rgb)[..., scan.channels]
  samples = chroma.pad(libjpeg.downsample(samples, scan.factors), 8, 8)
  return libjpeg.quantise(samples, scan.steps)
