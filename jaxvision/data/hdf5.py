"""Arrays of HDF5 files, through h5py (extra `hdf5`)."""

import io
from collections.abc import Mapping
from types import ModuleType

import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError


def read_hdf5(path: epath.PathLike, names: tuple[str, ...]) -> dict[str, np.ndarray]:
  """Returns the named arrays of an HDF5 file, whole.

  Raises:
    UserError: missing or damaged file, an array that is not there, or h5py is not
      installed; names the path.
  """
  h5py = _import_h5py()
  content = files.read_bytes(path)
  with (
    files.decoding(path, "HDF5 file"),
    h5py.File(io.BytesIO(content), "r") as archive,
  ):
    missing = [name for name in names if name not in archive]
    if missing:
      raise UserError(f"{path}: lacks {', '.join(missing)}")
    return {name: np.asarray(archive[name][...]) for name in names}


def write_hdf5(path: epath.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays by name as a compressed HDF5 file."""
  h5py = _import_h5py()
  stream = io.BytesIO()
  with h5py.File(stream, "w") as archive:
    for name, array in arrays.items():
      archive.create_dataset(name, data=array, compression="gzip")
  files.write_bytes(path, stream.getvalue())


def _import_h5py() -> ModuleType:
  try:
    import h5py
  except ImportError as error:
    raise UserError(
      "HDF5 files need h5py, which is not installed: pip install 'jaxvision[hdf5]'"
    ) from error
  return h5py
