"""Chroma subsampling of JPEG: padding to blocks, cells of samples, triangle filter.

Works on [..., H, W, K] arrays of floats or integers alike; whoever calls divides and
rounds. `factors` are (vertical, horizontal): (1, 1), (1, 2) or (2, 2).
"""

import chex
import jax
import jax.numpy as jnp

SUBSAMPLING = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}


def pad(images: chex.Array, rows: int, columns: int) -> chex.Array:
  """Repeats the last row and column until H and W are multiples of the two numbers."""
  *batch, height, width, _ = images.shape
  if height % rows == 0 and width % columns == 0:
    return images
  widths = [(0, 0)] * len(batch) + [(0, -height % rows), (0, -width % columns), (0, 0)]
  return jnp.pad(images, widths, mode="edge")


def sum_cells(images: chex.Array, factors: tuple[int, int]) -> chex.Array:
  """Sums cells of v × h samples: [..., H, W, K] to [..., ceil(H/v), W', K].

  W' is ceil(W/h) raised to a multiple of 8. What fills it up repeats the last column
  of the image, not the last sum: so libjpeg pads.
  """
  vertical, horizontal = factors
  images = pad(images, vertical, 8 * horizontal)
  *batch, height, width, channels = images.shape
  cells = images.reshape(
    *batch, height // vertical, vertical, width // horizontal, horizontal, channels
  )
  return jnp.sum(cells, axis=(-4, -2), dtype=images.dtype)


def spread(samples: chex.Array, factors: tuple[int, int]) -> chex.Array:
  """Doubles the axes whose factor is 2 by the triangle filter 3 nearer + 1 farther.

  Samples beyond the border repeat the last one. The result is not normalised: it is 4
  times too large for each doubled axis.
  """
  for axis, factor in zip((-3, -2), factors, strict=True):
    if factor == 1:
      continue
    size = samples.shape[axis]
    first, last = (jax.lax.index_in_dim(samples, i, axis) for i in (0, -1))
    most, rest = (
      jax.lax.slice_in_dim(samples, start, start + size - 1, axis=axis)
      for start in (0, 1)
    )
    before = jnp.concatenate([first, most], axis)
    after = jnp.concatenate([rest, last], axis)
    pairs = jnp.stack([3 * samples + before, 3 * samples + after], axis)
    shape = list(samples.shape)
    shape[axis] = 2 * size
    samples = pairs.reshape(shape)
  return samples
