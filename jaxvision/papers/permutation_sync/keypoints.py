"""Corners of grey images and descriptors of their surroundings.

Points are pixels (x, y), the centre of the first pixel being (0, 0).

Source: Shi and Tomasi, Good features to track, CVPR 1994; Lowe, Distinctive image
  features from scale-invariant keypoints, IJCV 2004, section 6 (upright, one scale).
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import filters, sampling

MARGIN = 10  # pixels at the border without corners: half a descriptor's width
_CELLS, _CELL_WIDTH, _ORIENTATIONS = 4, 4, 8
_LARGEST = 0.2  # of a descriptor's entries, before it is normalised again


def corner_response(image: chex.Array) -> chex.Array:
  """Returns the lesser eigenvalue of the smoothed structure tensor, [H, W].

  Args:
    image: [H, W] in [0, 1].
  """
  chex.assert_rank(image, 2)
  dy, dx = _gradients(image)
  products = jnp.stack([dx * dx, dx * dy, dy * dy], axis=-1)[None]
  kernel = filters.gaussian_kernel(9, 1.5)
  xx, xy, yy = jnp.moveaxis(filters.filter2d(products, kernel)[0], -1, 0)
  half_gap = jnp.sqrt(jnp.square(0.5 * (xx - yy)) + jnp.square(xy))
  return jnp.maximum(0.5 * (xx + yy) - half_gap, 0.0)


def corners(
  image: chex.Array, count: int, *, spacing: int = 5
) -> tuple[chex.Array, chex.Array]:
  """Returns the strongest corners [count, 2] and their responses [count].

  Args:
    image: [H, W] in [0, 1], wider and higher than two margins.
    count: how many.
    spacing: pixels within which a corner is the strongest.

  Returns:
    Points as float (x, y), strongest first. Where the image has fewer, the response of
    those missing is 0.
  """
  response = corner_response(image)
  height, width = response.shape
  window = 2 * spacing + 1
  largest = jax.lax.reduce_window(
    response, -jnp.inf, jax.lax.max, (window, window), (1, 1), "SAME"
  )
  rows, columns = jnp.arange(height)[:, None], jnp.arange(width)
  is_inside = (rows >= MARGIN) & (rows < height - MARGIN)
  is_inside &= (columns >= MARGIN) & (columns < width - MARGIN)
  peaks = jnp.where((response == largest) & is_inside, response, 0.0)
  strengths, index = jax.lax.top_k(peaks.ravel(), count)
  points = jnp.stack([index % width, index // width], axis=-1)
  return points.astype(image.dtype), strengths


def snap(image: chex.Array, points: chex.Array, radius: int = 2) -> chex.Array:
  """Returns points [n, 2] moved to the strongest response within a radius in pixels."""
  response = corner_response(image)
  offsets = np.stack(
    np.mgrid[-radius : radius + 1, -radius : radius + 1][::-1], axis=-1
  )
  offsets = offsets.reshape(-1, 2).astype(np.float32)
  candidates = points[:, None] + offsets
  found = sampling.bilinear(response[..., None], candidates)[..., 0]
  return points + jnp.asarray(offsets)[jnp.argmax(found, axis=1)]


def describe(image: chex.Array, points: chex.Array) -> chex.Array:
  """Returns histograms of gradients around points, [n, 128], of norm 1.

  4 × 4 cells of 4 × 4 pixels, each with 8 orientations. Around a point without any
  gradient all entries are 0.

  Args:
    image: [H, W] in [0, 1].
    points: [n, 2] in pixels.
  """
  chex.assert_rank([image, points], 2)
  dy, dx = _gradients(image)
  side = _CELLS * _CELL_WIDTH
  offsets = jnp.arange(side) - (side - 1) / 2
  grid = jnp.stack(jnp.meshgrid(offsets, offsets), axis=-1)
  where = points[:, None, None] + grid
  sampled = sampling.bilinear(jnp.stack([dx, dy], axis=-1), where)
  falloff = jnp.exp(-0.5 * jnp.sum(jnp.square(grid), axis=-1) / (0.5 * side) ** 2)
  strength = falloff * jnp.linalg.norm(sampled, axis=-1)
  angle = jnp.arctan2(sampled[..., 1], sampled[..., 0])
  turn = angle * (_ORIENTATIONS / (2 * jnp.pi))
  distance = jnp.abs(turn[..., None] - jnp.arange(_ORIENTATIONS))
  distance = jnp.minimum(distance % _ORIENTATIONS, -distance % _ORIENTATIONS)
  votes = strength[..., None] * jnp.maximum(1 - distance, 0.0)
  cells = votes.reshape(-1, _CELLS, _CELL_WIDTH, _CELLS, _CELL_WIDTH, _ORIENTATIONS)
  histogram = jnp.sum(cells, axis=(2, 4)).reshape(len(points), -1)
  return _unit(jnp.minimum(_unit(histogram), _LARGEST))


def _gradients(image):
  padded = jnp.pad(image, 1, mode="edge")
  vertical = 0.5 * (padded[2:, 1:-1] - padded[:-2, 1:-1])
  return vertical, 0.5 * (padded[1:-1, 2:] - padded[1:-1, :-2])


def _unit(vectors):
  norms = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
  return vectors / jnp.maximum(norms, 1e-6)
