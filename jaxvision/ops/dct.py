"""The 8×8 discrete cosine transform of image blocks (type II, orthonormal)."""

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
    mix: [K, C] linear map of the channels; identity when None. It costs nothing.

  Returns:
    [..., H/8, 8, W/8, 8, K] coefficients D B Dᵀ of the blocks B: the axes of 8 are
    the vertical and the horizontal frequency. `jnp.swapaxes(c, -4, -3)` brings the
    blocks together.
  """
  chex.assert_type(images, float)
  chex.assert_shape(images, (..., None, None, None))
  chex.assert_is_divisible(images.shape[-3], 8)
  chex.assert_is_divisible(images.shape[-2], 8)
  *batch, height, width, channels = images.shape
  matrix = dct_matrix() if matrix is None else matrix
  mix = np.eye(channels) if mix is None else mix
  chex.assert_shape(mix, (None, channels))

  # One small matmul on eight neighbouring pixels with all their channels does the
  # horizontal transform and the mixing without a transposition.
  segments = images.reshape(*batch, height, width // 8, 8 * channels)
  rows = _matmul(segments, np.kron(matrix.T, mix.T))
  rows = rows.reshape(*batch, height // 8, 8, -1)
  return _columns(matrix, rows).reshape(*batch, height // 8, 8, width // 8, 8, len(mix))


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
  chex.assert_shape(coefficients, (..., None, 8, None, 8, None))
  *batch, rows, _, columns, _, channels = coefficients.shape
  matrix = dct_matrix() if matrix is None else matrix
  mix = np.eye(channels) if mix is None else mix
  chex.assert_shape(mix, (None, channels))

  pixels = _columns(matrix.T, coefficients.reshape(*batch, rows, 8, -1))
  segments = pixels.reshape(*batch, 8 * rows, columns, 8 * channels)
  images = _matmul(segments, np.kron(matrix, mix.T))
  return images.reshape(*batch, 8 * rows, 8 * columns, len(mix))


def _matmul(segments, matrix):
  matrix = jnp.asarray(matrix, segments.dtype)
  return jnp.matmul(segments, matrix, precision=jax.lax.Precision.HIGHEST)


def _columns(matrix, rows):
  """Multiplies the second last axis of [..., 8, N] rows by a matrix."""
  matrix = jnp.asarray(matrix, rows.dtype)
  return jnp.einsum("uy,...yn->...un", matrix, rows, precision="highest")
