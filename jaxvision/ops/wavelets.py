"""Separable biorthogonal wavelets of images of any size, with reflecting boundaries.

Images are [..., H, W, C]. Each level filters rows and columns with a low-pass and a
high-pass filter and keeps every second sample, so that n samples stay n coefficients
and reconstruction is exact. A level is one product with an [n, n] matrix a side:
XLA's gradient of a strided filter is ten times slower.

Source: Cohen, Daubechies, Feauveau, Biorthogonal bases of compactly supported
  wavelets, 1992; Barron, A General and Adaptive Robust Loss Function, CVPR 2019.
"""

import functools
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

# Low-pass and high-pass analysis filters, from their centre outwards.
_HALF_FILTERS = {
  "cdf97": (
    (0.852698679009, 0.377402855613, -0.110624404418, -0.023849465020, 0.037828455507),
    (0.788485616406, -0.418092273222, -0.040689417609, 0.064538882629),
  ),
  "legall53": (
    tuple(tap * math.sqrt(2) for tap in (0.75, 0.25, -0.125)),
    tuple(tap / math.sqrt(2) for tap in (1.0, -0.5)),
  ),
}
WAVELETS = tuple(_HALF_FILTERS)


class Pyramid(NamedTuple):
  """The wavelet coefficients of images.

  Attributes:
    bands: a triple of [..., h, w, C] a level, finest first: details in both
      directions, along the width only, along the height only.
    residual: [..., h, w, C] low-pass image left after the last level.
  """

  bands: tuple[tuple[chex.Array, chex.Array, chex.Array], ...]
  residual: chex.Array


def max_levels(height: int, width: int) -> int:
  """Returns how many levels an image has before its shorter side is one pixel."""
  return math.ceil(math.log2(min(height, width)))


def decompose(images: chex.Array, levels: int, wavelet: str = "cdf97") -> Pyramid:
  """Returns the wavelet coefficients of images.

  Args:
    images: [..., H, W, C].
    levels: at most `max_levels(H, W)`.
    wavelet: "cdf97" (Cohen-Daubechies-Feauveau 9/7) or "legall53" (LeGall 5/3).

  Raises:
    ValueError: too many levels, or an unknown wavelet.
  """
  chex.assert_type(images, float)
  chex.assert_shape(images, (..., None, None, None))
  height, width = images.shape[-3:-1]
  most = max_levels(height, width)
  if not 0 <= levels <= most:
    raise ValueError(f"{height} × {width} pixels have 0 to {most} levels, not {levels}")
  bands = []
  for _ in range(levels):
    images = _separable(images, _analysis, wavelet)
    height, width = (math.ceil(side / 2) for side in images.shape[-3:-1])
    low, high = images[..., :height, :, :], images[..., height:, :, :]
    bands.append((high[..., width:, :], low[..., width:, :], high[..., :width, :]))
    images = low[..., :width, :]
  return Pyramid(tuple(bands), images)


def reconstruct(pyramid: Pyramid, wavelet: str = "cdf97") -> chex.Array:
  """Returns the images [..., H, W, C] of a pyramid: the inverse of `decompose`."""
  images = pyramid.residual
  for bands in reversed(pyramid.bands):
    images = _separable(_mosaic(images, bands), _synthesis, wavelet)
  return images


def rescale(pyramid: Pyramid, base: float) -> Pyramid:
  """Multiplies level d by base^d, and the residual of L levels by base^L."""
  levels = enumerate(pyramid.bands)
  bands = tuple(tuple(band * base**level for band in three) for level, three in levels)
  return Pyramid(bands, pyramid.residual * base ** len(bands))


def flatten(pyramid: Pyramid) -> chex.Array:
  """Returns all coefficients as images [..., H, W, C], coarse ones in the corner."""
  images = pyramid.residual
  for bands in reversed(pyramid.bands):
    images = _mosaic(images, bands)
  return images


def visualize(pyramid: Pyramid, percentile: float = 99.0) -> chex.Array:
  """Returns the coefficients as an image to look at, [..., H, W, C] around [0, 1].

  Args:
    pyramid: of any images; a leading axis is treated as one picture.
    percentile: of a band's magnitudes that becomes black or white, in [0, 100]; 0 is
      mid-grey. The residual is stretched from its minimum to its maximum.
  """

  def show(band):
    most = jnp.percentile(jnp.abs(band), percentile) if band.size else 1.0
    return 0.5 + 0.5 * band / jnp.maximum(most, jnp.finfo(band.dtype).tiny)

  low, high = jnp.min(pyramid.residual), jnp.max(pyramid.residual)
  span = jnp.maximum(high - low, jnp.finfo(low.dtype).tiny)
  bands = tuple(tuple(show(band) for band in three) for three in pyramid.bands)
  return flatten(Pyramid(bands, (pyramid.residual - low) / span))


def _mosaic(low, bands):
  both, along_width, along_height = bands
  top = jnp.concatenate([low, along_width], axis=-2)
  bottom = jnp.concatenate([along_height, both], axis=-2)
  return jnp.concatenate([top, bottom], axis=-3)


def _separable(images, matrix, wavelet):
  """Multiplies both spatial axes by `matrix(size, wavelet)`."""
  height, width = images.shape[-3:-1]
  rows = jnp.asarray(matrix(height, wavelet), images.dtype)
  columns = jnp.asarray(matrix(width, wavelet), images.dtype)
  return jnp.einsum(
    "ij,...jwc,kw->...ikc", rows, images, columns, precision=jax.lax.Precision.HIGHEST
  )


@functools.lru_cache(maxsize=256)
def _analysis(size: int, wavelet: str) -> np.ndarray:
  """Returns [size, size]: low-pass coefficients first, then the high-pass ones."""
  low, high = _filters(wavelet)
  return np.concatenate([_filtering(size, low)[0::2], _filtering(size, high)[1::2]])


@functools.lru_cache(maxsize=256)
def _synthesis(size: int, wavelet: str) -> np.ndarray:
  """Returns the inverse of `_analysis`, from the other filter with signs alternated."""
  low, high = (
    taps * (-1.0) ** np.arange(-(taps.size // 2), taps.size // 2 + 1)
    for taps in _filters(wavelet)[::-1]
  )
  return np.concatenate(
    [_filtering(size, low)[:, 0::2], _filtering(size, high)[:, 1::2]], axis=1
  )


def _filters(wavelet):
  if wavelet not in _HALF_FILTERS:
    raise ValueError(f"wavelet {wavelet!r} is none of {', '.join(WAVELETS)}")
  halves = [np.array(half) for half in _HALF_FILTERS[wavelet]]
  return [np.concatenate([half[:0:-1], half]) for half in halves]


def _filtering(size: int, taps: np.ndarray) -> np.ndarray:
  """Returns the [size, size] matrix that filters a signal reflected without end."""
  offsets = np.arange(taps.size) - taps.size // 2
  period = max(1, 2 * (size - 1))
  position = (np.arange(size)[:, None] + offsets) % period
  matrix = np.zeros((size, size))
  rows = np.broadcast_to(np.arange(size)[:, None], position.shape)
  np.add.at(
    matrix,
    (rows, np.minimum(position, period - position)),
    np.broadcast_to(taps, position.shape),
  )
  return matrix
