"""The wire format of protocol buffers, as far as TensorFlow's checkpoints need it."""

import struct
from collections.abc import Iterator


def varint(data: bytes, at: int) -> tuple[int, int]:
  """Returns the unsigned varint at `at`, and the position after it."""
  value = 0
  for shift in range(0, 64, 7):
    byte = data[at]
    at += 1
    value |= (byte & 0x7F) << shift
    if byte < 0x80:
      return value, at
  raise ValueError("a varint of more than 64 bits")


def signed(value: int) -> int:
  """Returns the int64 that an unsigned varint stands for."""
  return value - (1 << 64) if value >> 63 else value


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
  """Yields the number and the value of each field of a message.

  Varints and fixed-width fields come as unsigned integers, the rest as bytes.
  """
  at = 0
  while at < len(data):
    key, at = varint(data, at)
    kind = key & 7
    if kind == 0:
      value, at = varint(data, at)
    elif kind == 1:
      (value,) = struct.unpack_from("<Q", data, at)
      at += 8
    elif kind == 2:
      length, at = varint(data, at)
      value = data[at : at + length]
      if len(value) != length:
        raise ValueError("truncated message")
      at += length
    elif kind == 5:
      (value,) = struct.unpack_from("<I", data, at)
      at += 4
    else:
      raise ValueError(f"a field of wire type {kind}")
    yield key >> 3, value


def packed_varints(value: int | bytes) -> list[int]:
  """Returns the integers of a repeated field's entry, packed or single."""
  if isinstance(value, int):
    return [value]
  integers, at = [], 0
  while at < len(value):
    integer, at = varint(value, at)
    integers.append(integer)
  return integers
