"""Pyramids of images: the same picture at every scale 1, 1/2, 1/4, ..."""

from collections.abc import Callable

import chex
import jax.numpy as jnp


def average_pyramid(images: chex.Array, levels: int) -> list[chex.Array]:
  """Returns the images averaged over squares of 1, 2, 4, ... pixels.

  Args:
    images: [..., H, W, C] float.
    levels: number of scales.

  Returns:
    levels arrays [..., H // 2^l, W // 2^l, C], finest first; rows and columns that do
    not fill a square are left out.

  Raises:
    ValueError: if the image is smaller than the largest square.
  """
  return _pyramid(images, levels, jnp.mean)


def max_pyramid(images: chex.Array, levels: int) -> list[chex.Array]:
  """Returns the largest values over squares of 1, 2, 4, ... pixels.

  Arguments, result and errors as for `average_pyramid`. Of an inverse depth it keeps
  the surface that is nearest.
  """
  return _pyramid(images, levels, jnp.max)


def _pyramid(images: chex.Array, levels: int, reduce: Callable) -> list[chex.Array]:
  chex.assert_type(images, float)
  chex.assert_scalar_positive(levels)
  *leading, height, width, channels = images.shape
  if min(height, width) < 2 ** (levels - 1):
    raise ValueError(f"{levels} levels of an image of {height} x {width} pixels")
  pyramid = [images]
  for level in range(1, levels):
    size = 2**level
    rows, columns = height // size, width // size
    squares = images[..., : rows * size, : columns * size, :].reshape(
      *leading, rows, size, columns, size, channels
    )
    pyramid.append(reduce(squares, axis=(-4, -2)))
  return pyramid
