"""The 8×8 discrete cosine transform of image blocks (type II, orthonormal).

Blocks stay where their pixels are: [..., H/8, 8, W/8, 8, C] is the image itself with
two axes split, so that no transform moves data about in memory.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np


def dct_matrix(size: int = 8) -> np.ndarray:
  """Returns the [size, size] orthonormal DCT-II matrix, frequencies in its rows."""
  k = np.arange(size)
  matrix = np.sqrt(2 / size) * np.cos(np.pi * k[:, None] * (2 * k + 1) / (2 * size))
  matrix[0] /= np.sqrt(2)
  return matrix


def block_dct(
  images: chex.Array, matrix: np.ndarray | None = None, mix: np.ndarray | None = None
) -> chex.Array:
  """Transforms every 8×8 block, mixing the channels on the way.

  Args:
    images: [..., H, W, C] floats; H and W multiples of 8.
    matrix: [8, 8] transform D; `dct_matrix()` when None.
    mix: [K, C] linear map of the channels, at no extra cost; identity when None.

  Returns:
    [..., H/8, 8, W/8, 8, K] coefficients D B Dᵀ of the blocks B: the axes of 8 are
    the vertical and the horizontal frequency. `jnp.swapaxes(c, -4, -3)` brings the
    two together.
  """
  chex.assert_type(images, float)
  matrix = dct_matrix() if matrix is None else matrix
  return transform_columns(transform_rows(split_blocks(images), matrix, mix), matrix)


def block_idct(
  coefficients: chex.Array,
  matrix: np.ndarray | None = None,
  mix: np.ndarray | None = None,
) -> chex.Array:
  """Transforms blocks of coefficients back into images.

  Args:
    coefficients: [..., H/8, 8, W/8, 8, K] floats, as `block_dct` returns them.
    matrix: [8, 8] forward transform D; `dct_matrix()` when None.
    mix: [C, K] linear map of the channels; identity when None.

  Returns:
    [..., H, W, C] images of the blocks Dᵀ C D.
  """
  chex.assert_type(coefficients, float)
  matrix = dct_matrix() if matrix is None else matrix
  columns = transform_columns(coefficients, matrix.T)
  return join_blocks(transform_rows(columns, matrix.T, mix))


def split_blocks(images: chex.Array) -> chex.Array:
  """Views [..., H, W, C] as [..., H/8, 8, W/8, 8, C]."""
  chex.assert_shape(images, (..., None, None, None))
  *batch, height, width, channels = images.shape
  chex.assert_is_divisible(height, 8)
  chex.assert_is_divisible(width, 8)
  return images.reshape(*batch, height // 8, 8, width // 8, 8, channels)


def join_blocks(blocks: chex.Array) -> chex.Array:
  """Inverts `split_blocks`."""
  chex.assert_shape(blocks, (..., None, 8, None, 8, None))
  *batch, rows, _, columns, _, channels = blocks.shape
  return blocks.reshape(*batch, 8 * rows, 8 * columns, channels)


def transform_rows(
  blocks: chex.Array, matrix: np.ndarray, mix: np.ndarray | None = None
) -> chex.Array:
  """Multiplies the horizontal axis by [8, 8] and the channels by [K, C].

  Args:
    blocks: [..., H/8, 8, W/8, 8, C] floats, or integers for exact integer sums.
    matrix: [8, 8] transform.
    mix: [K, C] linear map of the channels; identity when None.

  Returns:
    [..., H/8, 8, W/8, 8, K] of the blocks' dtype.
  """
  chex.assert_shape(blocks, (..., None, 8, None, 8, None))
  channels = blocks.shape[-1]
  mix = np.eye(channels) if mix is None else mix
  chex.assert_shape(mix, (None, channels))
  # Eight neighbouring pixels with all their channels are one vector of a matmul.
  joint = jnp.asarray(np.kron(matrix.T, mix.T), blocks.dtype)
  vectors = blocks.reshape(*blocks.shape[:-2], 8 * channels)
  products = jnp.matmul(vectors, joint, precision=jax.lax.Precision.HIGHEST)
  return products.reshape(*blocks.shape[:-1], len(mix))


def transform_columns(blocks: chex.Array, matrix: np.ndarray) -> chex.Array:
  """Multiplies the vertical axis of [..., H/8, 8, W/8, 8, C] blocks by [8, 8]."""
  chex.assert_shape(blocks, (..., None, 8, None, 8, None))
  matrix = jnp.asarray(matrix, blocks.dtype)
  rows = blocks.reshape(*blocks.shape[:-3], -1)
  highest = jax.lax.Precision.HIGHEST
  products = jnp.einsum("uy,...yn->...un", matrix, rows, precision=highest)
  return products.reshape(blocks.shape)
