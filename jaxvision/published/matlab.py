"""MATLAB's .mat files up to version 7."""

import io
from typing import Any

import numpy as np


def read(data: bytes) -> dict[str, Any]:
  """Returns the variables of a .mat file, as MATLAB shapes them (rank 2 or more).

  A struct becomes a dict; cells and arrays of structs become lists in MATLAB's order
  (columns first), so that a cell {a, b} is named "0" and "1". Sparse matrices become
  their non-zero elements {row, col, data, shape}. Text and objects are left out.
  """
  import scipy.io

  file = io.BytesIO(data)
  variables = scipy.io.loadmat(file, chars_as_strings=True)
  return {name: _plain(value) for name, value in variables.items() if name[:2] != "__"}


def _plain(value: Any) -> Any:
  if hasattr(value, "tocoo"):
    sparse = value.tocoo()
    return {
      "row": sparse.row,
      "col": sparse.col,
      "data": sparse.data,
      "shape": np.array(sparse.shape),
    }
  if not isinstance(value, np.ndarray | np.void) or value.dtype.kind in "SU":
    return None
  if value.dtype.names and value.size == 1:
    record = value.reshape(-1)[0]
    return {name: _plain(record[name]) for name in value.dtype.names}
  if value.dtype.names or value.dtype.hasobject:
    items = value.reshape(-1, order="F")
    return {str(index): _plain(item) for index, item in enumerate(items)}
  return value
