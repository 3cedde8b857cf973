"""Archives of named arrays: NPZ and MATLAB's MAT. Nothing in them is ever executed."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError

_ZIP_SIGNATURE = b"PK"
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAT_HEADER_BYTES = 512  # of a MATLAB 7.3 file, before HDF5 begins


def read_npz(path: epath.PathLike) -> dict[str, np.ndarray]:
  """Returns the arrays of an NPZ archive.

  Raises:
    UserError: missing, damaged or not an NPZ file, or one with Python objects, which
      are never unpickled; names the path.
  """
  content = files.read_bytes(path)
  if not content.startswith(_ZIP_SIGNATURE):
    raise UserError(f"{path}: not an NPZ archive")
  with files.decoding(path, "NPZ archive"):
    return dict(np.load(io.BytesIO(content), allow_pickle=False))


def write_npz(path: epath.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays, none of Python objects, as a compressed NPZ archive."""
  objects = [
    name for name, array in arrays.items() if np.asarray(array).dtype.hasobject
  ]
  if objects:
    raise AssertionError(f"arrays of Python objects cannot be read again: {objects}")
  stream = io.BytesIO()
  np.savez_compressed(stream, **arrays)
  files.write_bytes(path, stream.getvalue())


def read_mat(path: epath.PathLike, *, simplify: bool = False) -> dict[str, Any]:
  """Returns the variables of a MAT file of MATLAB 4 to 7.2.

  Args:
    path: the file.
    simplify: structs become dicts, cells lists, and axes of length 1 go; else arrays
      keep MATLAB's shapes, of two axes at least, structs are record arrays and cells
      object arrays.

  Raises:
    UserError: missing, damaged or not a MAT file, or one of MATLAB 7.3; names the path.
  """
  from scipy import io as scipy_io  # a second to import, and few need it

  content = files.read_bytes(path)
  if content[_MAT_HEADER_BYTES:].startswith(_HDF5_SIGNATURE):
    raise UserError(
      f"{path}: a MAT file of MATLAB 7.3, which is HDF5: read it with h5py, or save it "
      "with MATLAB's option -v7"
    )
  with files.decoding(path, "MAT file"):
    variables = scipy_io.loadmat(io.BytesIO(content), simplify_cells=simplify)
    return {k: v for k, v in variables.items() if not k.startswith("__")}


def write_mat(path: epath.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays as a compressed MAT file of MATLAB 5."""
  from scipy import io as scipy_io

  stream = io.BytesIO()
  scipy_io.savemat(stream, dict(arrays), do_compression=True)
  files.write_bytes(path, stream.getvalue())
