"""TensorFlow's record files and the examples in them, read without TensorFlow.

A record is its length (8 bytes), a checksum of that, the contents, and a checksum of
these. The contents here are messages `tf.train.Example`: lists of bytes, floats or
integers by name. Files are local; they are opened at each read, so that readers can be
shared by threads and sent to processes.
"""

import struct

import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError
from jaxvision.published import crc32c, protobuf

_HEADER, _FOOTER = 12, 4
_BYTES, _FLOATS, _INTEGERS = 1, 2, 3  # fields of tf.train.Feature


class Records:
  """The records of one file at random access."""

  def __init__(self, path: epath.PathLike):
    """Finds where the records are; their contents are checked when they are read.

    Raises:
      UserError: the file is missing, or ends within a record; names it.
    """
    self._path = epath.Path(path)
    self._places = _places(self._path)

  def __len__(self) -> int:
    return len(self._places)

  def __getitem__(self, index: int) -> bytes:
    """Returns the contents of a record.

    Raises:
      UserError: a checksum is wrong; names the file and the record.
    """
    start, length = self._places[index]
    with self._path.open("rb") as file:
      file.seek(start)
      record = file.read(_HEADER + length + _FOOTER)
    name = f"{self._path}: record {index}"
    if len(record) != _HEADER + length + _FOOTER:
      raise UserError(f"{name} is truncated")
    contents = record[_HEADER:-_FOOTER]
    for what, data, stored in (
      ("length", record[:8], record[8:_HEADER]),
      ("contents", contents, record[-_FOOTER:]),
    ):
      if struct.unpack("<I", stored)[0] != crc32c.masked(data):
        raise UserError(f"{name} is damaged: the checksum of its {what} is wrong")
    return contents


def parse_example(
  contents: bytes, name: epath.PathLike
) -> dict[str, list[bytes] | np.ndarray]:
  """Returns the features of a `tf.train.Example`.

  Args:
    contents: the message.
    name: what errors call it.

  Returns:
    By name: a list of bytes, or an array [N] of float32 or int64.

  Raises:
    UserError: it is no such message.
  """
  with files.decoding(name, "tf.train.Example"):
    features = {}
    for number, message in protobuf.fields(contents):
      if number != 1:
        continue
      for number, entry in protobuf.fields(message):
        if number == 1:
          parts = dict(protobuf.fields(entry))
          features[parts[1].decode()] = _values(parts.get(2, b""))
    return features


def _places(path: epath.Path) -> list[tuple[int, int]]:
  """Returns where each record starts, and the length of its contents."""
  try:
    size = path.stat().length
    file = path.open("rb")
  except FileNotFoundError:
    raise UserError(f"{path}: no such file") from None
  except OSError as error:
    raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
  places, at = [], 0
  with file:
    while at < size:
      file.seek(at)
      header = file.read(8)
      length = struct.unpack("<Q", header)[0] if len(header) == 8 else size
      end = at + _HEADER + length + _FOOTER
      if end > size:
        raise UserError(f"{path}: truncated, or not a TFRecord file, at byte {at}")
      places.append((at, length))
      at = end
  return places


def _values(feature: bytes) -> list[bytes] | np.ndarray:
  """Returns the values of a `tf.train.Feature`; an empty list where it has none."""
  for kind, values in protobuf.fields(feature):
    entries = [entry for number, entry in protobuf.fields(values) if number == 1]
    if kind == _BYTES:
      return entries
    if kind == _INTEGERS:
      found = [i for entry in entries for i in protobuf.packed_varints(entry)]
      return np.array([protobuf.signed(i) for i in found], np.int64)
    if kind == _FLOATS:
      packed = b"".join(
        struct.pack("<I", entry) if isinstance(entry, int) else entry
        for entry in entries
      )
      return np.frombuffer(packed, "<f4")
  return []
