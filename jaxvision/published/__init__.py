"""Authors' published weights as plain arrays, read without their frameworks.

    weights = published.load("model.pth")    # {"conv1.weight": array, ...}
    reader = published.Reader(weights, "model.pth")
    kernel = published.conv_kernel(reader.take("conv1.weight", (64, 3, 7, 7)))
    ...
    reader.finish(ignore=["*.num_batches_tracked"])

Nothing in a file is ever executed: pickles are read by a machine of our own that
builds data only, and a pickle that names any global outside a short list is refused.
"""

import glob
import io
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.errors import UserError
from jaxvision.published import (
  arrays,
  matlab,
  numpy_files,
  pickles,
  safetensors,
  sstable,
  tensorflow_checkpoint,
  torch_files,
)
from jaxvision.published.reader import Reader, conv_kernel, entry, linear_kernel

__all__ = ["Reader", "conv_kernel", "entry", "linear_kernel", "load"]

# What a damaged file makes the readers raise, beside the ValueError of their checks.
_DAMAGES = (
  ArithmeticError,
  AttributeError,
  EOFError,
  LookupError,
  MemoryError,
  RuntimeError,
  TypeError,
  struct.error,
  tarfile.TarError,
  zipfile.BadZipFile,
  zlib.error,
)

_PICKLE_SUFFIXES = (".p", ".pickle", ".pk", ".pkl")


def load(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Returns the arrays of a file of published weights by name.

  The format is found from the contents: PyTorch (zip, the stream before 1.6, the older
  tar), .npz and .npy, .safetensors, pickles of numpy data (Python 2 and 3), MATLAB's
  .mat to version 7, and TensorFlow's checkpoints V1 and V2.

  Nested dicts and lists are flattened: {"a": [x, {"b": y}]} gives "a.0" and "a.1.b". A
  list of numbers is one array, a number an array of rank 0, and a list of pairs
  (name, value) a dict. A sparse matrix gives its non-zero elements `row`, `col`, `data`
  and its `shape`. Text, bytes, None, sets, types and integers of more than 64 bits are
  left out. An array that is the whole file has the name "".

  Args:
    path: a file; for TensorFlow also the prefix that a checkpoint's files share
      (model.ckpt-1000), or the directory whose file `checkpoint` names the newest.

  Returns:
    Arrays in the authors' layout and native byte order; bfloat16 and 8-bit floats
    become float32. They may be read-only and share memory, as tied weights do.

  Raises:
    UserError: no such file, an unknown format, a damaged file, or a pickle that names
      a global outside the allow-list.
  """
  path = Path(path)
  try:
    return arrays.flatten(_read(path))
  except OSError as error:
    raise UserError(f"{path}: {error.strerror or error}") from error
  except ValueError as error:
    raise UserError(f"{path}: {_one_line(error)}") from error
  except _DAMAGES as error:
    kind = type(error).__name__
    raise UserError(f"{path}: damaged ({kind}: {_one_line(error)})") from error


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())  # a file's names may hold line breaks


def _read(path: Path) -> Any:
  if path.is_dir():
    path = tensorflow_checkpoint.prefix_in(path)
  if path.suffix == ".index":
    return tensorflow_checkpoint.read_bundle(path.with_suffix(""))
  if path.is_file():
    return _read_contents(path)
  if Path(f"{path}.index").is_file():
    return tensorflow_checkpoint.read_bundle(path)
  tables = sorted(path.parent.glob(f"{glob.escape(path.name)}-?????-of-?????"))
  if tables:
    if tables[-1].name[-5:] != f"{len(tables):05d}":
      raise ValueError(f"only {len(tables)} of the files of {tables[-1].name}")
    return tensorflow_checkpoint.read_tables(tables)
  raise ValueError("no such file, nor a TensorFlow checkpoint of that prefix")


def _read_contents(path: Path) -> Any:
  data = path.read_bytes()
  if data[:4] == b"PK\3\4":
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
      if torch_files.is_torch_zip(archive):
        return torch_files.read_zip(archive)
      return numpy_files.read_npz(archive)
  if data[:6] == b"\x93NUMPY":
    return numpy_files.read_npy(data)
  if data[:8] == b"\x89HDF\r\n\x1a\n" or data[:10] == b"MATLAB 7.3":
    raise ValueError("an HDF5 file (MATLAB 7.3, Keras): read it with h5py")
  if data[:10] == b"MATLAB 5.0" or path.suffix == ".mat":
    return matlab.read(data)
  if data[257:262] == b"ustar":
    return torch_files.read_tar(data)
  if sstable.is_table(data):
    return tensorflow_checkpoint.read_tables([path])
  if safetensors.is_safetensors(data):
    return safetensors.read(data)
  if data[:1] == b"\x80" or path.suffix in _PICKLE_SUFFIXES:
    return _read_pickle(data)
  raise ValueError("not a format that published weights come in")


def _read_pickle(data: bytes) -> Any:
  """Reads a pickle, or PyTorch's stream of pickles, which a magic number announces."""
  tree, end = pickles.read_pickle(data, numpy_files.BUILDERS)
  if isinstance(tree, int) and tree == torch_files.MAGIC_NUMBER:
    return torch_files.read_stream(data, end)
  if end != len(data):
    raise ValueError(f"a pickle that ends at byte {end} of {len(data)}")
  return tree
