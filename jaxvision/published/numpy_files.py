"""NumPy's files (.npy, .npz) and numpy's objects in pickles."""

import io
import re
import tokenize
import zipfile
from typing import Any

import numpy as np

from jaxvision.published import pickles
from jaxvision.published.arrays import from_bytes

_DTYPE_NAME = re.compile(r"[<>|=]?[?biufcSUO]\d*")


class _Dtype(pickles.Unresolved):
  """A numpy.dtype, whose byte order follows as its state."""

  def __init__(self, name: str, *_):
    if not _DTYPE_NAME.fullmatch(name):
      raise ValueError(f"holds an array of dtype {name}, which is not read")
    self.dtype = np.dtype(name)

  def set_state(self, state):
    self.dtype = self.dtype.newbyteorder(state[1])

  def value(self):
    return None


class _Array(pickles.Unresolved):
  """A numpy.ndarray, whose contents follow as its state."""

  def __init__(self, *_):
    self.array = None

  def set_state(self, state):
    _, shape, dtype, is_fortran, data = state
    self.array = _array(data, dtype, shape, "F" if is_fortran else "C")

  def value(self):
    if self.array is None:
      raise ValueError("holds an array without contents")
    return self.array


class _Sparse(pickles.Unresolved):
  """A scipy.sparse matrix: its non-zero elements as {row, col, data, shape}."""

  compressed_axis: str | None = None

  def __init__(self, *_):
    self.state = {}

  def set_state(self, state):
    self.state = dict(state)

  def value(self):
    parts = {key: _resolved(value) for key, value in self.state.items()}
    shape = parts["_shape"] if "_shape" in parts else parts["shape"]
    if self.compressed_axis is None:
      # scipy 1.13 and later keep both coordinates in one tuple.
      row, col = parts.get("coords") or (parts["row"], parts["col"])
      row, col = _resolved(row), _resolved(col)
    else:
      lengths = np.diff(parts["indptr"])
      if lengths.sum() != len(parts["indices"]):
        raise ValueError("holds a sparse matrix whose indices do not add up")
      axis = np.repeat(np.arange(len(lengths)), lengths)
      row, col = axis, parts["indices"]
      if self.compressed_axis == "col":
        row, col = col, row
    return {"row": row, "col": col, "data": parts["data"], "shape": np.array(shape)}


class _SparseRows(_Sparse):
  compressed_axis = "row"


class _SparseColumns(_Sparse):
  compressed_axis = "col"


def _resolved(node: Any) -> Any:
  return node.value() if isinstance(node, pickles.Unresolved) else node


def _array(data: Any, dtype: Any, shape: Any, order: str = "C") -> np.ndarray:
  if not isinstance(dtype, _Dtype):
    raise ValueError("holds an array without a dtype")
  if dtype.dtype.hasobject:
    items = np.empty(len(data), object)
    for index, item in enumerate(list(data)):
      items[index] = item
    return items.reshape(shape, order=order)
  return from_bytes(pickles.to_bytes(data), dtype.dtype, tuple(shape), order=order)


_SPARSE = {
  f"scipy.sparse.{module}.{form}_{kind}": build
  for form, build in (("coo", _Sparse), ("csr", _SparseRows), ("csc", _SparseColumns))
  for module in (form, f"_{form}")
  for kind in ("matrix", "array")
}

BUILDERS = {
  **pickles.BUILDERS,
  **_SPARSE,
  "numpy.core.multiarray._reconstruct": _Array,
  "numpy.core.multiarray.scalar": lambda dtype, data: _array(data, dtype, ()),
  "numpy.core.numeric._frombuffer": _array,
  "numpy.dtype": _Dtype,
  "numpy.matrix": pickles.inert,
  "numpy.matrixlib.defmatrix.matrix": pickles.inert,
  "numpy.ndarray": pickles.inert,
}


def read_pickle(data: bytes) -> Any:
  """Returns the object of a pickle of dicts, lists and numpy arrays."""
  return pickles.read_pickle(data, BUILDERS)[0]


def read_npy(data: bytes) -> Any:
  """Returns the array of a .npy file, or the list that an object array holds."""
  file = io.BytesIO(data)
  version = np.lib.format.read_magic(file)
  if version not in ((1, 0), (2, 0)):
    raise ValueError(f"a .npy of version {version}")
  read_header = (
    np.lib.format.read_array_header_1_0
    if version == (1, 0)
    else np.lib.format.read_array_header_2_0
  )
  try:
    shape, is_fortran, dtype = read_header(file)
  except (SyntaxError, tokenize.TokenError) as error:
    raise ValueError("a .npy with a damaged header") from error
  contents = data[file.tell() :]
  if dtype.hasobject:
    return read_pickle(contents)
  return from_bytes(contents, dtype, shape, order="F" if is_fortran else "C")


def read_npz(archive: zipfile.ZipFile) -> dict[str, Any]:
  """Returns the arrays of an .npz by name."""
  names = archive.namelist()
  if len(set(names)) != len(names):
    raise ValueError("holds a member twice")
  return {
    name.removesuffix(".npy"): read_npy(archive.read(name))
    for name in names
    if name.endswith(".npy")
  }
