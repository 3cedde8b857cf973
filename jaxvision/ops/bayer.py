"""Colour filter arrays: sampling, packing and unpacking Bayer mosaics.

A pattern names the 2 x 2 cell of filters row by row, e.g. "GBRG" has green and
blue in the first row. Packed mosaics are [..., h, w, 4] with the planes always in
the order R, G, G, B (the greens in reading order), whatever the pattern: pixel
[y, x] of a plane lies in cell [y, x] of the sensor.
"""

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.space_to_depth import depth_to_space, space_to_depth

PATTERNS = ("RGGB", "BGGR", "GBRG", "GRBG")


def sites(pattern: str) -> tuple[int, int, int, int]:
  """Returns where the planes R, G, G, B lie in a cell, as 2 row + column."""
  if pattern not in PATTERNS:
    raise ValueError(f"pattern is {pattern!r}, not one of {', '.join(PATTERNS)}")
  first, second = (site for site in range(4) if pattern[site] == "G")
  return pattern.index("R"), first, second, pattern.index("B")


def pack(mosaic: chex.Array, pattern: str) -> chex.Array:
  """Returns the four colour planes of a sensor image.

  Args:
    mosaic: [..., H, W], H and W even.
    pattern: one of PATTERNS.

  Returns:
    [..., H/2, W/2, 4] planes R, G, G, B.
  """
  return space_to_depth(mosaic[..., None], 2)[..., np.array(sites(pattern))]


def unpack(planes: chex.Array, pattern: str) -> chex.Array:
  """Returns the sensor image of four colour planes: the inverse of `pack`.

  Args:
    planes: [..., h, w, 4] planes R, G, G, B.
    pattern: one of PATTERNS.

  Returns:
    [..., 2h, 2w].
  """
  chex.assert_axis_dimension(planes, -1, 4)
  return depth_to_space(planes[..., np.argsort(sites(pattern))], 2)[..., 0]


def sample(rgb: chex.Array, pattern: str) -> chex.Array:
  """Returns what a sensor under the filters sees of an image.

  Args:
    rgb: [..., H, W, 3] camera RGB, H and W even.
    pattern: one of PATTERNS.

  Returns:
    [..., H/2, W/2, 4] planes R, G, G, B.
  """
  chex.assert_axis_dimension(rgb, -1, 3)
  channels = 3 * np.array(sites(pattern)) + np.array([0, 1, 1, 2])
  return space_to_depth(rgb, 2)[..., channels]


def scatter_kernel(pattern: str) -> np.ndarray:
  """Returns the [4, 12] one-hot matrix that puts planes where `sample` took them.

  Column 3 site + channel; depth_to_space(planes @ matrix, 2) is the zero-filled RGB
  image of twice the size.
  """
  kernel = np.zeros((4, 12), np.float32)
  kernel[np.arange(4), 3 * np.array(sites(pattern)) + np.array([0, 1, 1, 2])] = 1
  return kernel


def scatter(planes: chex.Array, pattern: str) -> chex.Array:
  """Returns the zero-filled RGB image of a packed mosaic.

  Args:
    planes: [..., h, w, 4] planes R, G, G, B.
    pattern: one of PATTERNS.

  Returns:
    [..., 2h, 2w, 3] with each sample at its pixel in its channel, 0 elsewhere.
  """
  chex.assert_axis_dimension(planes, -1, 4)
  kernel = jnp.asarray(scatter_kernel(pattern), planes.dtype)
  return depth_to_space(jnp.matmul(planes, kernel, precision="highest"), 2)
