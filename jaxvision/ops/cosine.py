"""Orthonormal discrete cosine transforms of whole axes (types II and III).

For the 8×8 blocks of JPEG see `jaxvision.ops.dct`.
"""

from collections.abc import Sequence

import chex
import jax.numpy as jnp

from jaxvision.ops.dct import dct_matrix


def dct(x: chex.Array, axes: Sequence[int] = (-3, -2)) -> chex.Array:
  """Returns the DCT-II along each of the axes; of NHWC images by default.

  y_k = s_k Σ_n x_n cos(π (2n + 1) k / 2N), s_0 = √(1/N), s_k = √(2/N).
  """
  for axis in axes:
    x = _apply(x, axis, dct_matrix(x.shape[axis]))
  return x


def idct(x: chex.Array, axes: Sequence[int] = (-3, -2)) -> chex.Array:
  """Returns the DCT-III along each of the axes: the inverse of `dct`."""
  for axis in axes:
    x = _apply(x, axis, dct_matrix(x.shape[axis]).T)
  return x


def _apply(x, axis, matrix):
  chex.assert_type(x, float)
  matrix = jnp.asarray(matrix, x.dtype)
  return jnp.moveaxis(
    jnp.tensordot(x, matrix, ((axis,), (1,)), precision="highest"), -1, axis
  )
