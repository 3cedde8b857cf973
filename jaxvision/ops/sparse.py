"""Products with fixed sparse matrices, by gathering rows in both directions.

A matrix of few elements a row is kept as two tables of equal rows, its own and its
transpose's, so that the gradient is a gather too and no scatter.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

_GATHERED_AT_ONCE = 16  # slots of a table


class Rows(NamedTuple):
  """The elements of each row, filled up with zeros at column 0.

  Attributes:
    indices: [R, K] int32 columns.
    weights: [R, K] float values.
  """

  indices: chex.Array
  weights: chex.Array


class SparseMatrix(NamedTuple):
  """A matrix [R, C] as its rows and the rows [C, K'] of its transpose."""

  rows: Rows
  transposed: Rows

  @property
  def shape(self) -> tuple[int, int]:
    return self.rows.indices.shape[0], self.transposed.indices.shape[0]


def from_elements(
  row: np.ndarray,
  column: np.ndarray,
  values: np.ndarray,
  shape: tuple[int, int],
  dtype: np.typing.DTypeLike = np.float32,
) -> SparseMatrix:
  """Returns a matrix of its elements, on the host; those at one place are added.

  Args:
    row: [E] integers.
    column: [E] integers.
    values: [E] numbers.
    shape: (R, C).
    dtype: of the weights.

  Raises:
    ValueError: an element lies outside the shape.
  """
  row, column = np.asarray(row, np.int64), np.asarray(column, np.int64)
  for name, places, length in (("row", row, shape[0]), ("column", column, shape[1])):
    if places.size and not 0 <= places.min() <= places.max() < length:
      raise ValueError(f"elements lie outside the {length} {name}s of a matrix")
  flat, inverse = np.unique(row * shape[1] + column, return_inverse=True)
  summed = np.bincount(inverse.reshape(-1), np.asarray(values, np.float64), len(flat))
  row, column = np.divmod(flat, shape[1])
  return SparseMatrix(
    _table(row, column, summed, shape[0], dtype),
    _table(column, row, summed, shape[1], dtype),
  )


def from_dense(matrix: np.ndarray) -> SparseMatrix:
  """Returns the sparse form of a matrix [R, C], on the host."""
  row, column = np.nonzero(matrix)
  dtype = np.result_type(matrix, np.float32)
  return from_elements(row, column, matrix[row, column], matrix.shape, dtype)


def identity(size: int) -> SparseMatrix:
  """Returns the identity of a size."""
  places = np.arange(size)
  return from_elements(places, places, np.ones(size), (size, size))


def to_dense(matrix: SparseMatrix) -> chex.Array:
  """Returns the matrix [R, C]."""
  rows, columns = matrix.shape
  dense = jnp.zeros((rows, columns), matrix.rows.weights.dtype)
  place = jnp.arange(rows)[:, None], matrix.rows.indices
  return dense.at[place].add(matrix.rows.weights)


@jax.custom_vjp
def matmul(matrix: SparseMatrix, x: chex.Array) -> chex.Array:
  """Returns the product of a fixed matrix with x; its gradient is that of x alone.

  Args:
    matrix: [R, C], whose weights count as constants.
    x: [..., C, F].

  Returns:
    [..., R, F].
  """
  chex.assert_axis_dimension(x, -2, matrix.shape[1])
  return _combine(matrix.rows, x)


def _matmul_forward(matrix, x):
  return matmul(matrix, x), matrix.transposed


def _matmul_backward(transposed, gradient):
  return None, _combine(transposed, gradient)


matmul.defvjp(_matmul_forward, _matmul_backward)


def _combine(rows, x):
  """Returns for each row the weighted sum of the rows of x that it names."""
  count, width = rows.indices.shape
  # A sum over one table of gathered rows is 25 times slower on a CPU than gathers
  # that are fused with the sum, one for each slot of the table. The loop's two or more
  # rounds keep what x is computed from from being fused, and computed again, into each.
  rounds = max(2, -(-width // _GATHERED_AT_ONCE))
  at_once = -(-width // rounds)
  padding = ((0, 0), (0, rounds * at_once - width))
  indices = jnp.pad(rows.indices, padding).T.reshape(rounds, at_once, count)
  weights = jnp.pad(rows.weights, padding).T.reshape(rounds, at_once, count, 1)

  def add(total, slots):
    for index, weight in zip(*slots, strict=True):
      total += jnp.take(x, index, axis=-2, mode="clip") * weight.astype(x.dtype)
    return total, None

  start = jnp.zeros((*x.shape[:-2], count, x.shape[-1]), x.dtype)
  return jax.lax.scan(add, start, (indices, weights))[0]


def _table(row, column, values, count, dtype) -> Rows:
  order = np.argsort(row, kind="stable")
  row, column, values = row[order], column[order], values[order]
  lengths = np.bincount(row, minlength=count)
  width = max(1, int(lengths.max(initial=0)))
  within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
  indices = np.zeros((count, width), np.int32)
  weights = np.zeros((count, width), dtype)
  indices[row, within] = column
  weights[row, within] = values
  return Rows(indices, weights)
