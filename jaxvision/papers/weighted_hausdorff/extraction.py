"""From a saliency map to points: resize, threshold, fit a mixture (M5 and M6)."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import beta_mixture, gaussian_mixture, otsu

OTSU, BETA_MIXTURE = "otsu", "beta mixture"
METHODS = (OTSU, BETA_MIXTURE)

Method = str | float  # one of METHODS, or a fixed threshold in [0, 1]

# Static capacities of the mixture's points and components: each is compiled once.
_FEWEST_POINTS, _FEWEST_COMPONENTS, _GROWTH = 64, 16, 4
_GAUSSIAN_REACH = 4.0  # standard deviations


class Located(NamedTuple):
  """Objects of one image.

  Attributes:
    points: [K, 2] int, (row, column) in pixels of the original image.
    threshold: above which the map counts.
    mask: [h, w] bool, where it does.
    saliency: [h, w], the map at the original size.
  """

  points: np.ndarray
  threshold: float
  mask: np.ndarray
  saliency: np.ndarray


def locate(
  saliency: np.ndarray,
  count: float,
  size: tuple[int, int],
  *,
  method: Method = BETA_MIXTURE,
  seed: int = 0,
  most_points: int | None = None,
) -> Located:
  """Returns the objects that a map and a count tell of.

  Args:
    saliency: [H, W] in [0, 1].
    count: estimated number of objects, rounded here; at least one is looked for.
    size: height and width of the original image.
    method: how the threshold is found.
    seed: of the mixture's start and of the choice among too many pixels.
    most_points: pixels to which the mixture is fitted at most, drawn at random; all
      when None.

  Raises:
    ValueError: an unknown method.
  """
  if np.shape(saliency) != tuple(size):
    saliency = resize_map(saliency, size)
  saliency = np.asarray(saliency, np.float32)
  value, mask = jax.device_get(threshold(saliency, method))
  pixels = np.argwhere(mask)
  if most_points is not None and len(pixels) > most_points:
    chosen = np.random.default_rng(seed).permutation(len(pixels))[:most_points]
    pixels = pixels[np.sort(chosen)]
  points = cluster(pixels, count, seed=seed).astype(int)
  return Located(points, float(value), mask, saliency)


def threshold(saliency: chex.Array, method: Method) -> otsu.Threshold:
  """Returns the threshold of a map, and what is not below it (Otsu: what is above).

  Args:
    saliency: [...] in [0, 1].
    method: "otsu"; "beta mixture", the mean of the distribution of high values; or a
      fixed threshold.

  Raises:
    ValueError: an unknown method.
  """
  if method == OTSU:
    return _otsu(saliency)
  if method == BETA_MIXTURE:
    return _beta(saliency)
  if isinstance(method, str):
    raise ValueError(f"method is {method!r}, not a number or {', '.join(METHODS)}")
  return otsu.Threshold(jnp.asarray(method, jnp.float32), saliency >= method)


_otsu = jax.jit(otsu.otsu)


@jax.jit
def _beta(saliency):
  value = beta_mixture.fit(saliency).means[1]
  return otsu.Threshold(value, saliency >= value)


def cluster(pixels: np.ndarray, count: float, *, seed: int = 0) -> np.ndarray:
  """Returns the means of a Gaussian mixture.

  Args:
    pixels: [P, 2].
    count: of Gaussians, rounded; at least one, and at most P.
    seed: of the start.

  Returns:
    [K, 2] float32, none without pixels.
  """
  if not len(pixels):
    return np.zeros((0, 2), np.float32)
  components = max(min(int(np.round(count)), len(pixels)), 1)
  padded = np.zeros((_capacity(len(pixels), _FEWEST_POINTS), 2), np.float32)
  padded[: len(pixels)] = pixels
  fitted = _fit(_capacity(components, _FEWEST_COMPONENTS))(
    jax.random.key(seed), padded, np.arange(len(padded)) < len(pixels), components
  )
  return np.asarray(fitted)[:components]


@functools.cache
def _fit(capacity):
  @jax.jit
  def fit(key, points, valid, components):
    return gaussian_mixture.fit(key, points, valid, components, capacity=capacity).means

  return fit


def _capacity(count, fewest):
  while fewest < count:
    fewest *= _GROWTH
  return fewest


def resize_map(saliency: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Returns a map resized bilinearly; beyond its border lie zeros.

  What becomes smaller is smoothed first, by (1/scale - 1) / 2 pixels.

  Args:
    saliency: [H, W].
    size: height and width of the result.

  Source: skimage.transform.resize with its defaults of mode and anti-aliasing.
  """
  chex.assert_rank(saliency, 2)
  rows, columns = (
    _resizing(length, wanted)
    for length, wanted in zip(saliency.shape, size, strict=True)
  )
  resized = rows @ np.asarray(saliency, np.float64) @ columns.T
  low, high = np.min(saliency), np.max(saliency)
  return np.clip(resized, min(low, 0.0), high)


@functools.lru_cache(maxsize=16)
def _resizing(length, size):
  """Returns the [size, length] matrix along one axis."""
  position = (np.arange(size) + 0.5) * (length / size) - 0.5
  distance = np.abs(position[:, None] - np.arange(length))
  matrix = np.maximum(1 - distance, 0.0)
  sigma = max((length / size - 1) / 2, 0.0)
  if sigma > 0:
    offset = np.arange(length)[:, None] - np.arange(length)
    reach = int(_GAUSSIAN_REACH * sigma + 0.5)
    taps = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    blur = np.exp(-0.5 * np.square(offset / sigma)) * (np.abs(offset) <= reach)
    matrix = matrix @ (blur / taps.sum())
  return matrix
