"""Point clouds in PLY files, ascii and binary, without any other package.

Meshes, with their faces, are read by jaxvision.data.meshes.
"""

from collections.abc import Mapping

import chex
import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError

_TYPES = {
  "char": "i1",
  "uchar": "u1",
  "short": "i2",
  "ushort": "u2",
  "int": "i4",
  "uint": "u4",
  "float": "f4",
  "double": "f8",
}
_TYPES |= {
  f"{kind}{8 * size}": f"{letter}{size}"
  for kind, letter, sizes in (
    ("int", "i", (1, 2, 4)),
    ("uint", "u", (1, 2, 4)),
    ("float", "f", (4, 8)),
  )
  for size in sizes
}
_NAMES = {"f4": "float", "f8": "double", "u1": "uchar", "i4": "int", "u4": "uint"}


def read_ply_vertices(path: epath.PathLike) -> dict[str, np.ndarray]:
  """Returns {property: [N]} of a PLY file's vertices, in the file's types.

  Raises:
    UserError: missing, truncated, without vertices first, or not a PLY file.
  """
  content = files.read_bytes(path)
  if not content.startswith(b"ply"):
    raise UserError(f"{path}: not a PLY file")
  with files.decoding(path, "PLY file"):
    end = content.index(b"end_header")
    body = content[content.index(b"\n", end) + 1 :]
    storage, count, members = _parse_header(content[:end].decode("ascii"))
    if storage == "ascii":
      words = np.array(body.split()[: count * len(members)])
      columns = words.reshape(count, len(members)).T
      return {
        name: column.astype(kind)
        for (name, kind), column in zip(members, columns, strict=True)
      }
    order = {"binary_little_endian": "<", "binary_big_endian": ">"}[storage]
    record = np.dtype([(name, order + kind) for name, kind in members])
    records = np.frombuffer(body, record, count)
    return {
      name: records[name].astype(records[name].dtype.newbyteorder("="))
      for name, _ in members
    }


def write_ply_vertices(
  path: epath.PathLike, vertices: Mapping[str, np.ndarray]
) -> None:
  """Writes {property: [N]} as a binary PLY cloud, its properties in their order.

  Args:
    path: where to; an existing file is replaced.
    vertices: float32, float64, uint8, int32 or uint32 columns, e.g. x, y, z.
  """
  columns = {name: np.asarray(column) for name, column in vertices.items()}
  chex.assert_equal_shape(list(columns.values()))
  chex.assert_rank(list(columns.values()), 1)
  kinds = {name: column.dtype.str[1:] for name, column in columns.items()}
  count = len(next(iter(columns.values())))
  records = np.empty(count, [(name, "<" + kind) for name, kind in kinds.items()])
  for name, column in columns.items():
    records[name] = column
  header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
  header += [f"property {_NAMES[kind]} {name}" for name, kind in kinds.items()]
  text = "\n".join([*header, "end_header\n"])
  files.write_bytes(path, text.encode() + records.tobytes())


def _parse_header(header: str) -> tuple[str, int, list[tuple[str, str]]]:
  """Returns the storage, the number of vertices and their (name, type)."""
  storage, count, members, element = "", -1, [], None
  for words in map(str.split, header.splitlines()):
    if words[:1] == ["format"]:
      storage = words[1]
    elif words[:1] == ["element"]:
      if element is None and words[1] != "vertex":
        raise ValueError("its vertices do not come first")
      element = words[1]
      if element == "vertex":
        count = int(words[2])
    elif words[:1] == ["property"] and element == "vertex":
      if words[1] == "list":
        raise ValueError("a vertex has a list")
      members.append((words[2], _TYPES[words[1]]))
  if count < 0:
    raise ValueError("it has no vertices")
  return storage, count, members
