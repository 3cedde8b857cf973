"""Oriented points and surfaces as PLY files."""

import numpy as np
from etils import epath

from jaxvision.data import files

_COORDINATES, _NORMALS = ("x", "y", "z"), ("nx", "ny", "nz")


def write_points(path: epath.PathLike, points: np.ndarray, normals: np.ndarray) -> None:
  """Writes points [N, 3] in cm with their unit normals as a binary PLY file.

  Raises:
    UserError: the file cannot be written.
  """
  names = (*_COORDINATES, *_NORMALS)
  rows = np.concatenate([points, normals], axis=1).astype("<f4")
  properties = [f"property float {name}" for name in names]
  header = _header([f"element vertex {len(points)}", *properties])
  files.write_bytes(path, header + rows.tobytes())


def write_surface(
  path: epath.PathLike, vertices: np.ndarray, faces: np.ndarray
) -> None:
  """Writes triangles [F, 3] between vertices [V, 3] in cm as a binary PLY file.

  Raises:
    UserError: the file cannot be written.
  """
  properties = [f"property float {name}" for name in _COORDINATES]
  header = _header(
    [
      f"element vertex {len(vertices)}",
      *properties,
      f"element face {len(faces)}",
      "property list uchar int vertex_indices",
    ]
  )
  records = np.zeros(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
  records["count"], records["corners"] = 3, faces
  body = np.asarray(vertices, "<f4").tobytes() + records.tobytes()
  files.write_bytes(path, header + body)


def _header(lines):
  text = ["ply", "format binary_little_endian 1.0", "comment lengths in cm", *lines]
  return ("\n".join([*text, "end_header"]) + "\n").encode()
