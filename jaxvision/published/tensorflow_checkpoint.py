"""TensorFlow's checkpoints without TensorFlow.

V2 is an index (a table of messages that say where each tensor lies) and shards of raw
bytes; V1 is one table, or several, that holds the values too. Variables that were
partitioned over devices are put together.

Source: tensorflow/core/protobuf/tensor_bundle.proto, core/util/saved_tensor_slice.proto
and core/framework/tensor.proto; core/util/saved_tensor_slice_util.cc names the slices.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvision.published import arrays, sstable
from jaxvision.published.crc32c import masked
from jaxvision.published.protobuf import fields, packed_varints, signed

# Numbers of tensorflow/core/framework/types.proto.
_DTYPES = {
  1: np.dtype(np.float32),
  2: np.dtype(np.float64),
  3: np.dtype(np.int32),
  4: np.dtype(np.uint8),
  5: np.dtype(np.int16),
  6: np.dtype(np.int8),
  8: np.dtype(np.complex64),
  9: np.dtype(np.int64),
  10: np.dtype(bool),
  14: arrays.BFLOAT16,
  17: np.dtype(np.uint16),
  18: np.dtype(np.complex128),
  19: np.dtype(np.float16),
  22: np.dtype(np.uint32),
  23: np.dtype(np.uint64),
}
_STRING = 7

_Extent = tuple[int, int]  # start and length; a length of -1 is the whole axis


class _Entry(NamedTuple):
  """Where a tensor of a V2 checkpoint lies: BundleEntryProto."""

  dtype: int
  shape: tuple[int, ...]
  shard: int
  offset: int
  size: int
  checksum: int
  slices: list[tuple[_Extent, ...]]


def read_bundle(prefix: Path) -> dict[str, np.ndarray]:
  """Returns the variables of a V2 checkpoint, e.g. prefix "model.ckpt-1000"."""
  table = dict(sstable.read(Path(f"{prefix}.index").read_bytes()))
  if b"" not in table:
    raise ValueError("an index without a header")
  header = dict(fields(table.pop(b"")))
  bundle = _Bundle(prefix, table, header.get(1, 0), header.get(2, 0) == 1)
  # Keys that start with a zero byte name the slices of other entries.
  return {
    name.decode(): bundle.tensor(name)
    for name in table
    if name[:1] != b"\0" and bundle.entry(name).dtype != _STRING
  }


class _Bundle:
  def __init__(self, prefix, table, shards, big_endian):
    self.prefix, self.table = prefix, table
    self.shards, self.big_endian = shards, big_endian

  def entry(self, key: bytes) -> _Entry:
    if key not in self.table:
      raise ValueError(f"lacks a slice: {key!r}")
    values: dict[int, int | bytes] = {}
    slices = []
    for number, value in fields(self.table[key]):
      if number == 7:
        slices.append(_extents(value))
      else:
        values[number] = value
    numbers = (values.get(number, 0) for number in (3, 4, 5, 6))
    return _Entry(values.get(1, 0), _shape(values.get(2, b"")), *numbers, slices)

  def tensor(self, name: bytes) -> np.ndarray:
    entry = self.entry(name)
    if not entry.slices:
      return self.array(name, entry)
    parts = []
    for extents in entry.slices:
      key = slice_key(name, extents)
      parts.append((extents, self.array(name, self.entry(key))))
    return _assemble(name.decode(), entry.shape, parts)

  def array(self, name: bytes, entry: _Entry) -> np.ndarray:
    path = Path(f"{self.prefix}.data-{entry.shard:05d}-of-{self.shards:05d}")
    if not path.exists():
      raise ValueError(f"lacks its shard {path.name}")
    if entry.offset + entry.size > path.stat().st_size:
      raise ValueError(f"the shard {path.name} is truncated in {name.decode()}")
    with path.open("rb") as file:
      file.seek(entry.offset)
      data = file.read(entry.size)
    if masked(data) != entry.checksum:
      raise ValueError(f"the shard {path.name} is damaged in {name.decode()}")
    return arrays.from_bytes(
      data, _dtype(entry.dtype, name), entry.shape, big_endian=self.big_endian
    )


def read_tables(paths: Iterable[Path]) -> dict[str, np.ndarray]:
  """Returns the variables of a V1 checkpoint, given all files it consists of."""
  shapes: dict[str, tuple[int, ...]] = {}
  dtypes: dict[str, int] = {}
  parts: dict[str, list[tuple[tuple[_Extent, ...], np.ndarray]]] = {}
  for path in paths:
    messages = (
      field for _, value in sstable.read(path.read_bytes()) for field in fields(value)
    )
    for number, message in messages:
      if number == 1:  # SavedTensorSliceMeta, under the table's first key
        for _, meta in filter(lambda field: field[0] == 1, fields(message)):
          values = dict(fields(meta))
          name = values[1].decode()
          shapes[name], dtypes[name] = _shape(values.get(2, b"")), values[3]
      elif number == 2:  # SavedSlice
        values = dict(fields(message))
        name = values[1].decode()
        if name not in shapes:
          raise ValueError(f"holds {name}, which its header does not name")
        if dtypes[name] == _STRING:
          continue
        extents = _extents(values[2])
        shape = _part_shape(shapes[name], extents)
        array = _values(name, dtypes[name], values[3]).reshape(shape)
        parts.setdefault(name, []).append((extents, array))
  return {
    name: _assemble(name, shapes[name], parts.get(name, []))
    for name in shapes
    if dtypes[name] != _STRING
  }


def prefix_in(directory: Path) -> Path:
  """Returns the prefix of the newest checkpoint, as the file `checkpoint` names it."""
  state = directory / "checkpoint"
  if not state.is_file():
    raise ValueError("a directory without a TensorFlow `checkpoint` file")
  found = re.search(
    r'^\s*model_checkpoint_path:\s*"([^"]+)"', state.read_text(), re.MULTILINE
  )
  if not found:
    raise ValueError("its `checkpoint` file names no checkpoint")
  # Checkpoints are moved: an absolute path is the one on the authors' machine. V1
  # names its files by a pattern.
  return directory / re.sub(r"-\?{5}-of-\d{5}$", "", Path(found[1]).name)


def slice_key(name: bytes, extents: Iterable[_Extent]) -> bytes:
  """Returns the key of a part of a variable: TensorFlow's order-preserving code."""
  extents = tuple(extents)
  escapes = {b"\0": b"\0\xff", b"\xff": b"\xff\0"}
  escaped = re.sub(rb"[\0\xff]", lambda match: escapes[match[0]], name)
  key = b"\0" + escaped + b"\0\1" + _ordered(len(extents))
  return key + b"".join(_ordered_signed(number) for pair in extents for number in pair)


def _ordered(number: int) -> bytes:
  size = (number.bit_length() + 7) // 8
  return bytes([size]) + number.to_bytes(size)


def _ordered_signed(number: int) -> bytes:
  """Returns the number big-endian, its length in unary over its first bits."""
  magnitude = ~number if number < 0 else number
  size = magnitude.bit_length() // 7 + 1
  header = ((1 << size) - 1) << (7 * size)
  return (number % (1 << 8 * size) ^ header).to_bytes(size)


def _dtype(number: int, name: bytes | str) -> np.dtype:
  if number not in _DTYPES:
    raise ValueError(f"{name} has TensorFlow's type {number}, which is not read")
  return _DTYPES[number]


def _shape(data: bytes) -> tuple[int, ...]:
  """Reads a TensorShapeProto."""
  return tuple(
    signed(dict(fields(dimension)).get(1, 0))
    for number, dimension in fields(data)
    if number == 2
  )


def _extents(data: bytes) -> tuple[_Extent, ...]:
  """Reads a TensorSliceProto."""
  extents = []
  for number, extent in fields(data):
    if number == 1:
      values = dict(fields(extent))
      extents.append((values.get(1, 0), values.get(2, -1)))
  return tuple(extents)


def _part_shape(shape: tuple[int, ...], extents: tuple[_Extent, ...]):
  if len(shape) != len(extents) or any(
    length >= 0 and start + length > size
    for size, (start, length) in zip(shape, extents, strict=False)
  ):
    raise ValueError(f"a slice {extents} of a variable of shape {shape}")
  return tuple(
    size if length < 0 else length
    for size, (_, length) in zip(shape, extents, strict=True)
  )


def _assemble(name: str, shape: tuple[int, ...], parts: list) -> np.ndarray:
  """Puts the parts of a variable together, which must fill it."""
  for extents, part in parts:
    if part.shape != _part_shape(shape, extents):
      raise ValueError(f"{name} has a slice of shape {part.shape} for {extents}")
  if sum(part.size for _, part in parts) != math.prod(shape):
    raise ValueError(f"lacks a slice of {name}")
  if len(parts) == 1:
    return parts[0][1]
  whole = np.empty(shape, parts[0][1].dtype)
  for extents, part in parts:
    whole[
      tuple(
        slice(None) if length < 0 else slice(start, start + length)
        for start, length in extents
      )
    ] = part
  return whole


# The fields of TensorProto that hold values which are not raw bytes.
_FIXED = {
  5: np.dtype("<f4"),
  6: np.dtype("<f8"),
  9: np.dtype("<c8"),
  12: np.dtype("<c16"),
}
_VARINTS = (7, 10, 11, 16, 17)
_HALVES = 13


def _values(name: str, dtype_number: int, data: bytes) -> np.ndarray:
  """Reads a TensorProto's elements, in one row."""
  dtype = _dtype(dtype_number, name)
  chunks = []
  for number, value in fields(data):
    if number == 4:  # tensor_content
      return np.frombuffer(value, dtype)
    if number in _FIXED:
      chunks.append(np.frombuffer(_packed(value, _FIXED[number]), _FIXED[number]))
    elif number in _VARINTS:
      chunks.append([signed(integer) for integer in packed_varints(value)])
    elif number == _HALVES:
      bits = np.array(packed_varints(value), np.uint16)
      chunks.append(bits.view(dtype))
  return np.concatenate(chunks).astype(dtype) if chunks else np.zeros(0, dtype)


def _packed(value: int | bytes, dtype: np.dtype) -> bytes:
  """Returns the bytes of a repeated field's entry, packed or single."""
  if isinstance(value, bytes):
    return value
  return value.to_bytes(min(dtype.itemsize, 8), "little")
