"""Point clouds in the Point Cloud Library's PCD format, version 0.5 to 0.7.

Clouds in PLY, OBJ and OFF files are read by jaxvision.data.meshes.
"""

import struct
from collections.abc import Iterable, Mapping

import chex
import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError

_KINDS = {"F": "f", "I": "i", "U": "u"}
_LETTERS = {"f": "F", "i": "I", "u": "U"}


def read_pcd(path: epath.PathLike) -> dict[str, np.ndarray]:
  """Reads a PCD file: ascii, binary or binary_compressed.

  Returns:
    {field: [N] or, for a field of several values, [N, count]} in the file's types, N
    being the number of points, row by row for an organised cloud. `points` stacks
    coordinates. A packed colour ("rgb") is left packed.

  Raises:
    UserError: missing, truncated or not a PCD file; names the path.

  Source: pointclouds.org, "The PCD (Point Cloud Data) file format".
  """
  content = files.read_bytes(path)
  with files.decoding(path, "PCD file"):
    header, body = _split_header(content, path)
    record = _record_type(header)
    width, height = int(header["WIDTH"][0]), int(header.get("HEIGHT", ["1"])[0])
    count = int(header.get("POINTS", [width * height])[0])
    storage = header["DATA"][0]
    if storage == "ascii":
      columns = _parse_text(body, record, count)
    elif storage == "binary":
      records = np.frombuffer(body, record, count)
      columns = [records[name] for name in record.names]
    elif storage == "binary_compressed":
      columns = _decompress(body, record, count)
    else:
      raise UserError(f"{path}: unknown storage of PCD data: {storage}")
    names = header["FIELDS"]
    # Fields named "_" are padding.
    return {
      name: column.copy()
      for name, column in zip(names, columns, strict=True)
      if name != "_"
    }


def points(
  cloud: Mapping[str, np.ndarray], fields: tuple[str, ...] = ("x", "y", "z")
) -> np.ndarray:
  """Returns [N, len(fields)] coordinates, or normals, of what `read_pcd` returns."""
  return np.stack([cloud[field] for field in fields], axis=-1)


def write_pcd(
  path: epath.PathLike, cloud: Mapping[str, np.ndarray], *, ascii: bool = False
) -> None:
  """Writes a PCD file of version 0.7, binary unless `ascii`.

  Args:
    path: where to; an existing file is replaced.
    cloud: {field: [N] or [N, count]} floats or integers of 1, 2, 4 or 8 bytes.
    ascii: write numbers as text, with the digits that bring the same bits back.
  """
  chex.assert_equal_shape_prefix(list(cloud.values()), 1)
  columns = {
    name: column[:, None] if column.ndim == 1 else column
    for name, column in cloud.items()
  }
  chex.assert_rank(list(columns.values()), 2)
  count = len(next(iter(columns.values())))
  record = np.dtype(
    [
      (name, column.dtype.newbyteorder("<"), column.shape[1:])
      for name, column in columns.items()
    ]
  )
  header = "\n".join(
    [
      "# .PCD v0.7 - Point Cloud Data file format",
      "VERSION 0.7",
      _header_line("FIELDS", columns),
      _header_line("SIZE", [column.dtype.itemsize for column in columns.values()]),
      _header_line("TYPE", [_LETTERS[c.dtype.kind] for c in columns.values()]),
      _header_line("COUNT", [column.shape[1] for column in columns.values()]),
      f"WIDTH {count}",
      "HEIGHT 1",
      "VIEWPOINT 0 0 0 1 0 0 0",
      f"POINTS {count}",
      f"DATA {'ascii' if ascii else 'binary'}\n",
    ]
  )
  if ascii:
    values = [column.astype(str) for column in columns.values()]
    rows = np.concatenate(values, axis=1)
    body = "".join(" ".join(row) + "\n" for row in rows).encode()
  else:
    records = np.empty(count, record)
    for name, column in columns.items():
      records[name] = column
    body = records.tobytes()
  files.write_bytes(path, header.encode() + body)


def _header_line(key: str, values: Iterable[object]) -> str:
  return " ".join([key, *map(str, values)])


def _split_header(
  content: bytes, path: epath.PathLike
) -> tuple[dict[str, list[str]], bytes]:
  """Returns {key: words} of the header and the bytes behind it."""
  header: dict[str, list[str]] = {}
  position = 0
  while "DATA" not in header:
    end = content.find(b"\n", position)
    if end < 0:
      raise UserError(f"{path}: not a PCD file: its header has no end")
    words = content[position:end].decode("ascii").split()
    position = end + 1
    if words and not words[0].startswith("#"):
      header[words[0]] = words[1:]
  return header, content[position:]


def _record_type(header: Mapping[str, list[str]]) -> np.dtype:
  """Returns the packed type of one point, with one member a field."""
  counts = header.get("COUNT", ["1"] * len(header["FIELDS"]))
  members = []
  for index, (size, kind, count) in enumerate(
    zip(header["SIZE"], header["TYPE"], counts, strict=True)
  ):
    shape = () if count == "1" else (int(count),)
    members.append((f"{index}", f"<{_KINDS[kind]}{size}", shape))
  return np.dtype(members)


def _parse_text(body: bytes, record: np.dtype, count: int) -> list[np.ndarray]:
  """Returns the columns of numbers written as text."""
  widths = [int(np.prod(record[name].shape)) for name in record.names]
  words = np.array(body.split()).reshape(count, sum(widths))
  parts = np.split(words, np.cumsum(widths)[:-1], axis=1)
  return [
    part.astype(record[name].base).reshape(count, *record[name].shape)
    for name, part in zip(record.names, parts, strict=True)
  ]


def _decompress(body: bytes, record: np.dtype, count: int) -> list[np.ndarray]:
  """Returns the columns of a compressed body, which holds one field after the other."""
  compressed_size, size = struct.unpack_from("<II", body)
  compressed = body[8 : 8 + compressed_size]
  if len(compressed) != compressed_size:
    raise ValueError(f"{len(compressed)} of {compressed_size} compressed bytes")
  content = decompress_lzf(compressed, size)
  columns, offset = [], 0
  for name in record.names:
    column = np.frombuffer(
      content, (record[name].base, record[name].shape), count, offset
    )
    columns.append(column)
    offset += column.nbytes
  return columns


def decompress_lzf(compressed: bytes, size: int) -> bytes:
  """Returns the `size` bytes that Lehmann's LibLZF compressed.

  Raises:
    ValueError: the data are damaged.
  """
  out = bytearray()
  position = 0
  while position < len(compressed):
    control = compressed[position]
    position += 1
    if control < 32:  # a run of literal bytes
      out += compressed[position : position + control + 1]
      position += control + 1
      continue
    length = control >> 5
    if length == 7:
      length += compressed[position]
      position += 1
    start = len(out) - (((control & 31) << 8) + compressed[position] + 1)
    position += 1
    if start < 0:
      raise ValueError("LZF refers to bytes before the first one")
    length += 2
    pattern = out[start : start + length]
    # A reference that reaches past the end repeats what it has just written.
    out += (pattern * (length // len(pattern) + 1))[:length]
  if len(out) != size:
    raise ValueError(f"LZF gives {len(out)} of {size} bytes")
  return bytes(out)
