"""LevelDB's sorted string table, in which TensorFlow keeps names and small values."""

import struct
from collections.abc import Iterator

from jaxvision.published.crc32c import masked
from jaxvision.published.protobuf import varint

_MAGIC = 0xDB4775248B80FB57
_FOOTER_SIZE = 48


def is_table(data: bytes) -> bool:
  return len(data) >= _FOOTER_SIZE and data[-8:] == struct.pack("<Q", _MAGIC)


def read(data: bytes) -> Iterator[tuple[bytes, bytes]]:
  """Yields the keys and values of a table in its order.

  Raises:
    ValueError: the file is no table, or a block's checksum is wrong.
  """
  if not is_table(data):
    raise ValueError("truncated: no table's footer at its end")
  footer = data[-_FOOTER_SIZE:]
  _, _, at = _handle(footer, 0)
  offset, size, _ = _handle(footer, at)
  for _, handle in _entries(_block(data, offset, size)):
    offset, size, _ = _handle(handle, 0)
    yield from _entries(_block(data, offset, size))


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
  offset, at = varint(data, at)
  size, at = varint(data, at)
  return offset, size, at


def _block(data: bytes, offset: int, size: int) -> bytes:
  """Returns a block's contents; its compression and checksum follow them."""
  end = offset + size
  if end + 5 > len(data):
    raise ValueError(f"truncated: a block ends at byte {end} of {len(data)}")
  (checksum,) = struct.unpack_from("<I", data, end + 1)
  if checksum != masked(data[offset : end + 1]):
    raise ValueError(f"the block at byte {offset} has a wrong checksum")
  contents, compression = data[offset:end], data[end]
  if compression == 0:
    return contents
  if compression == 1:
    return decompress(contents)
  raise ValueError(f"a block of compression {compression}")


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
  (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
  end = len(block) - 4 * (restarts + 1)
  at, key = 0, b""
  while at < end:
    shared, at = varint(block, at)
    added, at = varint(block, at)
    size, at = varint(block, at)
    if shared > len(key) or at + added + size > end:
      raise ValueError("a damaged block")
    key = key[:shared] + block[at : at + added]
    at += added
    yield key, block[at : at + size]
    at += size


def decompress(data: bytes) -> bytes:
  """Returns what snappy compressed.

  Source: google/snappy, format_description.txt.
  """
  size, at = varint(data, 0)
  output = bytearray()
  while at < len(data):
    tag = data[at]
    at += 1
    if tag & 3 == 0:
      length = tag >> 2
      if length >= 60:
        width = length - 59
        length = int.from_bytes(data[at : at + width], "little")
        at += width
      output += data[at : at + length + 1]
      at += length + 1
    else:
      if tag & 3 == 1:
        length, high, width = 4 + (tag >> 2 & 7), tag >> 5, 1
      else:
        length, high, width = 1 + (tag >> 2), 0, 2 if tag & 3 == 2 else 4
      offset = int.from_bytes(data[at : at + width], "little") + (high << 8)
      at += width
      if not 0 < offset <= len(output):
        raise ValueError("a damaged snappy block")
      # A copy may reach into what it writes: it repeats its last `offset` bytes.
      pattern = bytes(output[len(output) - offset :][:length])
      output += (pattern * (length // len(pattern) + 1))[:length]
    if len(output) > size:
      raise ValueError("a damaged snappy block")
  if len(output) != size:
    raise ValueError("a truncated snappy block")
  return bytes(output)
