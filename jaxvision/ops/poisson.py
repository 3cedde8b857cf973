"""Poisson's equation on a grid with Neumann borders, solved by cosine transforms.

The grid's nodes are cell centres; nothing flows through the border. The Laplacian is
the compact one of 2 d + 1 nodes, whose eigenvalues are sums of 2 cos(π k / n) - 2.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import dct


def solve(right: chex.Array, shift: float | chex.Array = 0.0) -> chex.Array:
  """Returns u with laplacian(u) - shift * u = right.

  Args:
    right: [n_1, ..., n_d] the right side. Without a shift only the part without mean
      has a solution: the mean is ignored and that of u is 0.
    shift: screening, not negative, in 1 / node spacing².

  Returns:
    u of the same shape.
  """
  chex.assert_type(right, float)
  eigenvalues = _eigenvalues(right.shape, right.dtype) - shift
  zero = eigenvalues == 0
  spectrum = _transform(right) / jnp.where(zero, 1.0, eigenvalues)
  return _transform(jnp.where(zero, 0.0, spectrum), inverse=True)


def laplacian(values: chex.Array) -> chex.Array:
  """Returns the sum of the differences to all neighbours inside the grid."""
  chex.assert_type(values, float)
  total = jnp.zeros_like(values)
  for axis in range(values.ndim):
    total += jnp.diff(_padded(values, axis, "edge"), n=2, axis=axis)
  return total


def divergence(field: chex.Array) -> chex.Array:
  """Returns the divergence of a vector field that is zero beyond the border.

  The field is averaged onto the faces between nodes, where the differences of the
  compact Laplacian live.

  Args:
    field: [n_1, ..., n_d, d] vectors at the nodes, per node spacing.

  Returns:
    [n_1, ..., n_d]; it sums to zero.
  """
  chex.assert_type(field, float)
  chex.assert_axis_dimension(field, -1, field.ndim - 1)
  total = jnp.zeros(field.shape[:-1], field.dtype)
  for axis in range(field.ndim - 1):
    low = jax.lax.slice_in_dim(field[..., axis], 0, -1, axis=axis)
    high = jax.lax.slice_in_dim(field[..., axis], 1, None, axis=axis)
    faces = _padded(0.5 * (low + high), axis, "constant")  # nothing crosses the border
    total += jnp.diff(faces, axis=axis)
  return total


def _padded(values, axis, mode):
  widths = [(1, 1) if a == axis else (0, 0) for a in range(values.ndim)]
  return jnp.pad(values, widths, mode=mode)


def _eigenvalues(shape, dtype):
  total = np.zeros(shape)
  for axis, size in enumerate(shape):
    along = 2 * np.cos(np.pi * np.arange(size) / size) - 2
    total += along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
  return jnp.asarray(total, dtype)


def _transform(values, inverse=False):
  # At the sizes of volumes a matrix product per axis is faster than XLA's FFT.
  for axis, size in enumerate(values.shape):
    matrix = dct.dct_matrix(size)
    matrix = jnp.asarray(matrix.T if inverse else matrix, values.dtype)
    moved = jnp.tensordot(
      matrix, values, axes=(1, axis), precision=jax.lax.Precision.HIGHEST
    )
    values = jnp.moveaxis(moved, 0, axis)
  return values
