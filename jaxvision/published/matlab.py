"""MATLAB's .mat files of versions 5 to 7.

Read here and not by scipy, whose reader a damaged file can crash.

Source: MathWorks, "MAT-File Format", chapter 1.
"""

import math
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

from jaxvision.published.arrays import from_bytes

_ELEMENTS = {
  1: np.dtype(np.int8),
  2: np.dtype(np.uint8),
  3: np.dtype(np.int16),
  4: np.dtype(np.uint16),
  5: np.dtype(np.int32),
  6: np.dtype(np.uint32),
  7: np.dtype(np.float32),
  9: np.dtype(np.float64),
  12: np.dtype(np.int64),
  13: np.dtype(np.uint64),
}
_MATRIX, _COMPRESSED = 14, 15

_CELL, _STRUCT, _OBJECT, _SPARSE = 1, 2, 3, 5
_CLASSES = {
  6: np.dtype(np.float64),
  7: np.dtype(np.float32),
  8: np.dtype(np.int8),
  9: np.dtype(np.uint8),
  10: np.dtype(np.int16),
  11: np.dtype(np.uint16),
  12: np.dtype(np.int32),
  13: np.dtype(np.uint32),
  14: np.dtype(np.int64),
  15: np.dtype(np.uint64),
}
_COMPLEX, _LOGICAL = 0x800, 0x200


class _Element(NamedTuple):
  kind: int
  data: bytes


def read(data: bytes) -> dict[str, Any]:
  """Returns the variables of a .mat file, as MATLAB shapes them (rank 2 or more).

  A struct becomes a dict; cells and arrays of structs become dicts by their index in
  MATLAB's order (columns first), so that the parts of a cell {a, b} are named "0" and
  "1". Sparse matrices become their non-zero elements {row, col, data, shape}. Text,
  functions and objects of classes become None.
  """
  order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
  if order is None:
    raise ValueError("not a .mat of MATLAB 5 to 7")
  variables = {}
  elements = _Elements(data[128:], order)
  while element := elements.next():
    if element.kind == _COMPRESSED:
      element = _Elements(zlib.decompress(element.data), order).take()
    name, value = _matrix(element, order)
    if name:  # MATLAB's own workspace of functions has no name
      variables[name] = value
  return variables


class _Elements:
  """Walks along the elements that follow each other in `data`."""

  def __init__(self, data: bytes, order: str):
    self.data, self.order, self.at = data, order, 0

  def next(self) -> _Element | None:
    return self.take() if self.at < len(self.data) else None

  def take(self) -> _Element:
    kind, size = struct.unpack_from(f"{self.order}2I", self.data, self.at)
    begin = self.at + 8
    if kind >> 16:  # a small element keeps its data in its tag
      kind, size, begin = kind & 0xFFFF, kind >> 16, self.at + 4
      self.at += 8
    else:
      self.at = begin + size
      if kind != _COMPRESSED:
        self.at += -size % 8
    if begin + size > len(self.data):
      raise ValueError(f"truncated: an element of {size} bytes")
    return _Element(kind, self.data[begin : begin + size])

  def numbers(self) -> np.ndarray:
    element = self.take()
    if element.kind not in _ELEMENTS:
      raise ValueError(f"holds numbers of type {element.kind}")
    dtype = _ELEMENTS[element.kind].newbyteorder(self.order)
    return from_bytes(element.data, dtype, (len(element.data) // dtype.itemsize,))


def _matrix(element: _Element, order: str) -> tuple[str, Any]:
  """Returns the name and the value of an array of any class."""
  if element.kind != _MATRIX:
    raise ValueError(f"holds an element of type {element.kind} for an array")
  if not element.data:
    return "", np.zeros((0, 0))
  parts = _Elements(element.data, order)
  flags = int(parts.numbers()[0])
  kind = flags & 0xFF
  if kind not in (_CELL, _STRUCT, _OBJECT, _SPARSE, *_CLASSES):
    return "", None
  shape = tuple(parts.numbers().tolist())
  name = parts.take().data.decode("latin-1")
  if kind == _CELL:
    cells = range(math.prod(shape))
    return name, {str(index): _matrix(parts.take(), order)[1] for index in cells}
  if kind in (_STRUCT, _OBJECT):
    return name, _structs(parts, shape, kind, order)
  if kind == _SPARSE:
    return name, _sparse(parts, shape, flags)
  values = _values(parts, flags)
  dtype = np.dtype(bool) if flags & _LOGICAL else _CLASSES[kind]
  if not np.iscomplexobj(values):
    values = values.astype(dtype)  # whole numbers are stored in fewer bytes
  return name, values.reshape(shape, order="F")


def _values(parts: _Elements, flags: int) -> np.ndarray:
  real = parts.numbers()
  return real + 1j * parts.numbers() if flags & _COMPLEX else real


def _structs(parts: _Elements, shape: tuple, kind: int, order: str) -> dict:
  if kind == _OBJECT:
    parts.take()  # the name of its class
  length = int(parts.numbers()[0])
  names = parts.take().data
  fields = [
    names[at : at + length].split(b"\0")[0].decode("latin-1")
    for at in range(0, len(names), length)
  ]
  count = math.prod(shape) if fields else 0
  structs = [
    {field: _matrix(parts.take(), order)[1] for field in fields} for _ in range(count)
  ]
  if shape == (1, 1) and structs:
    return structs[0]
  return {str(index): one for index, one in enumerate(structs)}


def _sparse(parts: _Elements, shape: tuple, flags: int) -> dict[str, np.ndarray]:
  rows, starts = parts.numbers(), parts.numbers()
  values = _values(parts, flags)
  counts = np.diff(starts)
  total = counts.sum()
  if np.any(counts < 0) or total > min(len(rows), len(values)):
    raise ValueError("holds a sparse matrix whose columns do not add up")
  columns = np.repeat(np.arange(len(counts)), counts)
  return {
    "row": rows[:total],
    "col": columns,
    "data": values[:total],
    "shape": np.array(shape),
  }
