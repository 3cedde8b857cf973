"""PyTorch's checkpoints without PyTorch: zip, the stream before 1.6 and the older tar.

All three hold a pickle whose tensors are views (offset, size, stride) of storages, and
the storages' bytes beside it.
"""

import io
import math
import struct
import tarfile
import zipfile
from typing import Any

import numpy as np

from jaxvision.published import arrays, numpy_files, pickles

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C

_DTYPES = {
  "bfloat16": arrays.BFLOAT16,
  "bool": np.dtype(bool),
  "complex64": np.dtype(np.complex64),
  "complex128": np.dtype(np.complex128),
  "float8_e4m3fn": arrays.FLOAT8_E4M3,
  "float8_e5m2": arrays.FLOAT8_E5M2,
  "float16": np.dtype(np.float16),
  "float32": np.dtype(np.float32),
  "float64": np.dtype(np.float64),
  "int8": np.dtype(np.int8),
  "int16": np.dtype(np.int16),
  "int32": np.dtype(np.int32),
  "int64": np.dtype(np.int64),
  "uint8": np.dtype(np.uint8),
  "uint16": np.dtype(np.uint16),
  "uint32": np.dtype(np.uint32),
  "uint64": np.dtype(np.uint64),
}

_STORAGES = {
  "BFloat16Storage": "bfloat16",
  "BoolStorage": "bool",
  "ByteStorage": "uint8",
  "CharStorage": "int8",
  "ComplexDoubleStorage": "complex128",
  "ComplexFloatStorage": "complex64",
  "DoubleStorage": "float64",
  "FloatStorage": "float32",
  "HalfStorage": "float16",
  "IntStorage": "int32",
  "LongStorage": "int64",
  "ShortStorage": "int16",
  "storage.UntypedStorage": "uint8",
}

_STORAGE_DTYPES = {
  f"{module}.{name}": _DTYPES[dtype]
  for module in ("torch", "torch.cuda")
  for name, dtype in _STORAGES.items()
}

_TENSOR_TYPES = {
  name.removesuffix("Storage") + "Tensor": pickles.inert for name in _STORAGE_DTYPES
}


class _Storage:
  """A run of bytes that tensors share."""

  def __init__(self, dtype: np.dtype, length: int, data: bytes | None = None):
    if not isinstance(length, int):
      raise ValueError("holds a storage of no known length")
    self.dtype, self.length, self.data = dtype, length, data
    self.big_endian = False
    self._elements: dict[np.dtype, np.ndarray] = {}

  def elements(self, dtype: np.dtype) -> np.ndarray:
    if self.data is None:
      raise ValueError("names a storage that the file does not hold")
    if dtype not in self._elements:
      length = len(self.data) // dtype.itemsize
      self._elements[dtype] = arrays.from_bytes(
        self.data[: length * dtype.itemsize],
        dtype,
        (length,),
        big_endian=self.big_endian,
      )
    return self._elements[dtype]


class _Tensor(pickles.Unresolved):
  """A strided view of a storage, whose bytes may come later in the file."""

  def __init__(self, storage, offset, size, stride, dtype=None):
    if not isinstance(storage, _Storage | _StorageView):
      raise ValueError("holds a tensor without a storage")
    self.storage, self.offset = storage, offset
    self.size, self.stride = tuple(size), tuple(stride)
    self.dtype = storage.dtype if dtype is None else dtype

  def set_state(self, state):
    """Ignores what is no data: gradient flags and hooks."""

  def value(self) -> np.ndarray:
    elements = self.storage.elements(self.dtype)
    numbers = (self.offset, *self.size, *self.stride)
    if len(self.size) != len(self.stride) or any(
      not isinstance(number, int) or number < 0 for number in numbers
    ):
      raise ValueError("holds a tensor of impossible size or stride")
    if not math.prod(self.size):
      return np.zeros(self.size, elements.dtype)
    last = self.offset + sum(
      (length - 1) * step for length, step in zip(self.size, self.stride, strict=True)
    )
    if last >= len(elements):
      raise ValueError(
        f"holds a tensor that ends at element {last} of a storage of {len(elements)}"
      )
    return np.lib.stride_tricks.as_strided(
      elements[self.offset :],
      self.size,
      [step * elements.itemsize for step in self.stride],
      writeable=False,
    )


class _StorageView:
  """A part of a storage, as files before PyTorch 0.4 know them."""

  def __init__(self, root: _Storage, offset: int, length: int):
    if not 0 <= offset <= offset + length <= root.length:
      raise ValueError(f"holds a view {offset}+{length} of {root.length} elements")
    self.root, self.dtype = root, root.dtype
    self.part = slice(offset, offset + length)

  def elements(self, dtype: np.dtype) -> np.ndarray:
    return self.root.elements(dtype)[self.part]


def _check_flags(metadata: Any):
  if metadata:
    raise ValueError("holds a conjugated or negated tensor")


def _tensor(storage, offset, size, stride, _grad, _hooks, metadata=None):
  """Stands in for torch._utils._rebuild_tensor_v2."""
  _check_flags(metadata)
  return _Tensor(storage, offset, size, stride)


def _typed_tensor(storage, offset, size, stride, _grad, _hooks, dtype, metadata=None):
  """Stands in for torch._utils._rebuild_tensor_v3."""
  _check_flags(metadata)
  if not isinstance(dtype, pickles.Global) or not dtype.name.startswith("torch."):
    raise ValueError("holds a tensor without a dtype")
  return _Tensor(storage, offset, size, stride, _DTYPES[dtype.name[len("torch.") :]])


def _tensor_of_type(rebuild, _kind, arguments, _state):
  """Stands in for torch._tensor._rebuild_from_type_v2."""
  if not isinstance(rebuild, pickles.Global):
    raise ValueError(f"rebuilds a tensor with a {type(rebuild).__name__}")
  return rebuild.build(*arguments)


_BUILDERS = {
  **numpy_files.BUILDERS,
  **dict.fromkeys(_STORAGE_DTYPES, pickles.inert),
  **{f"torch.{name}": pickles.inert for name in _DTYPES},
  "torch.Size": tuple,
  "torch.Tensor": pickles.inert,
  "torch.device": lambda *_: None,
  "torch._tensor._rebuild_from_type_v2": _tensor_of_type,
  "torch._utils._rebuild_parameter": lambda data, *_: data,
  "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
  "torch._utils._rebuild_tensor": _Tensor,
  "torch._utils._rebuild_tensor_v2": _tensor,
  "torch._utils._rebuild_tensor_v3": _typed_tensor,
  "torch.nn.parameter.Parameter": lambda data, *_: data,
}


def _storage_dtype(kind: Any) -> np.dtype:
  if not isinstance(kind, pickles.Global) or kind.name not in _STORAGE_DTYPES:
    raise ValueError("holds a storage of no known type")
  return _STORAGE_DTYPES[kind.name]


def _check_dtype(storage: _Storage, kind: Any):
  if storage.dtype != _storage_dtype(kind):
    raise ValueError("names a storage by two types")


def _check_identifier(identifier: Any, fields: int) -> tuple:
  if not isinstance(identifier, tuple) or identifier[:1] != ("storage",):
    raise ValueError("holds a persistent identifier that is no storage's")
  if len(identifier) != fields + 1 or not isinstance(identifier[2], str):
    raise ValueError("holds a storage's identifier of an unknown form")
  return identifier[1:]


def is_torch_zip(archive: zipfile.ZipFile) -> bool:
  return any(_is_pickle(name) for name in archive.namelist())


def _is_pickle(name: str) -> bool:
  return name == "data.pkl" or name.endswith("/data.pkl")


def read_zip(archive: zipfile.ZipFile) -> Any:
  """Returns the object of a checkpoint of PyTorch 1.6 or later."""
  names = archive.namelist()
  pickle_names = [name for name in names if _is_pickle(name)]
  if len(pickle_names) != 1 or len(set(names)) != len(names):
    raise ValueError("holds a member twice")
  root = pickle_names[0].removesuffix("data.pkl")
  big_endian = (
    f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big"
  )
  storages: dict[str, _Storage] = {}

  def persistent(identifier):
    kind, key, _location, length = _check_identifier(identifier, 4)
    if key not in storages:
      dtype = _storage_dtype(kind)
      member = f"{root}data/{key}"
      if member not in names:
        raise ValueError(f"lacks the storage {member}")
      storages[key] = storage = _Storage(dtype, length, archive.read(member))
      storage.big_endian = big_endian
      if len(storage.data) != length * dtype.itemsize:
        raise ValueError(f"holds {len(storage.data)} bytes of the storage {member}")
    _check_dtype(storages[key], kind)
    return storages[key]

  return pickles.read_pickle(archive.read(pickle_names[0]), _BUILDERS, persistent)[0]


def read_stream(data: bytes, start: int) -> Any:
  """Returns the object of a checkpoint before PyTorch 1.6.

  Args:
    data: the file.
    start: where the pickle after the magic number begins.
  """
  protocol, start = pickles.read_pickle(data, {}, start=start)
  if protocol != 1001:
    raise ValueError("a PyTorch stream of another version than 1001")
  system, start = pickles.read_pickle(data, {}, start=start)
  storages: dict[str, _Storage] = {}
  views: dict[str, _StorageView] = {}

  def persistent(identifier):
    kind, key, _location, length, view = _check_identifier(identifier, 5)
    if key not in storages:
      storages[key] = _Storage(_storage_dtype(kind), length)
    _check_dtype(storages[key], kind)
    if view is None:
      return storages[key]
    view_key, offset, view_length = view
    return views.setdefault(view_key, _StorageView(storages[key], offset, view_length))

  tree, start = pickles.read_pickle(data, _BUILDERS, persistent, start)
  keys, start = pickles.read_pickle(data, {}, start=start)
  for key in keys:
    storage = storages[key]
    storage.big_endian = not system["little_endian"]
    storage.data, start = _stored_bytes(data, start, storage, storage.big_endian)
  return tree


def _stored_bytes(
  data: bytes, start: int, storage: _Storage, big_endian: bool = False
) -> tuple[bytes, int]:
  """Returns a storage's bytes, which follow their number of elements, and their end."""
  (length,) = struct.unpack_from(">q" if big_endian else "<q", data, start)
  start += 8
  end = start + length * storage.dtype.itemsize
  if length != storage.length or not start <= end <= len(data):
    raise ValueError(
      f"truncated: a storage of {storage.length} elements starts at byte {start} of "
      f"{len(data)}"
    )
  return data[start:end], end


def read_tar(data: bytes) -> Any:
  """Returns the object of a checkpoint in the tar format of PyTorch before 0.1.10."""
  with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
    members = {
      name: archive.extractfile(name).read()
      for name in ("storages", "tensors", "pickle")
    }
  objects = _tar_storages(members["storages"])
  objects.update(_tar_tensors(members["tensors"], objects))
  return pickles.read_pickle(
    members["pickle"], _BUILDERS, lambda identifier: objects[int(identifier)]
  )[0]


def _tar_storages(data: bytes) -> dict[int, _Storage | _StorageView]:
  objects = {}
  count, start = pickles.read_pickle(data, {})
  for _ in range(count):
    (key, _location, kind), start = pickles.read_pickle(data, _BUILDERS, start=start)
    (length,) = struct.unpack_from("<q", data, start)
    storage = _Storage(_storage_dtype(kind), length)
    storage.data, start = _stored_bytes(data, start, storage)
    objects[key] = storage
  views, _ = pickles.read_pickle(data, {}, start=start)
  for key, root, offset, length in views:
    objects[key] = _StorageView(objects[root], offset, length)
  return objects


def _tar_tensors(data: bytes, storages: dict) -> dict[int, _Tensor]:
  tensors = {}
  count, start = pickles.read_pickle(data, {})
  for _ in range(count):
    (key, storage, _kind), start = pickles.read_pickle(data, _TENSOR_TYPES, start=start)
    # The rank takes eight bytes, of which the upper four are not always zero.
    (rank,) = struct.unpack_from("<i4x", data, start)
    numbers = struct.unpack_from(f"<{2 * rank + 1}q", data, start + 8)
    start += 8 * (2 * rank + 2)
    tensors[key] = _Tensor(
      storages[storage], numbers[-1], numbers[:rank], numbers[rank:-1]
    )
  return tensors
