"""Meshes and point clouds in PLY, OBJ and OFF files, through trimesh (extra `mesh`)."""

import dataclasses
import io
import os
import re
from types import ModuleType

import chex
import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError

_SUFFIXES = ("ply", "obj", "off")
# What each format says of the numbers of vertices and faces; OBJ says nothing.
_COUNTS = {
  "ply": re.compile(
    rb"element\s+vertex\s+(\d+)(?:(?s:.)*?element\s+face\s+(\d+))?(?s:.)*?end_header"
  ),
  "off": re.compile(rb"OFF\s+(?:#.*\s+)*(\d+)\s+(\d+)"),
}
# trimesh makes one mesh of each group and material of an OBJ file, splits vertices by
# their textures, and fails on textured faces whose numbers count back from the last.
_OBJ_OTHER = re.compile(rb"^(g|o|s|usemtl|mtllib|vt|vn|vp)\b.*$", re.MULTILINE)
_OBJ_CORNER = re.compile(rb"(?<=\s)(-?\d+)/\S*")
_OBJ_BACKWARD = re.compile(rb"^f\b.*\s-\d", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Mesh:
  """Triangles, or a cloud when there are none.

  Attributes:
    vertices: [V, 3] floats in the file's order and unit.
    faces: [F, 3] integer indices of vertices, in the file's orientation.
    colors: [V, 3] uint8, or None where the file has none.
  """

  vertices: np.ndarray
  faces: np.ndarray
  colors: np.ndarray | None = None

  def __post_init__(self):
    chex.assert_shape([self.vertices, self.faces], (None, 3))
    chex.assert_type([self.vertices, self.faces], [float, int])
    if self.colors is not None:
      chex.assert_shape(self.colors, self.vertices.shape)
      chex.assert_type(self.colors, np.uint8)


def read_mesh(path: epath.PathLike) -> Mesh:
  """Reads a mesh or cloud; polygons become triangles, vertices are never merged.

  Returns:
    the mesh, with float64 vertices and int32 faces.

  Raises:
    UserError: missing or damaged file, another suffix, or trimesh is not installed.
  """
  trimesh = _import_trimesh()
  suffix = _suffix(path)
  content = files.read_bytes(path)
  with files.decoding(path, f"{suffix.upper()} file"):
    if suffix == "obj":
      content = _plain_obj(content)
    loaded = trimesh.load(
      io.BytesIO(content), file_type=suffix, process=False, maintain_order=True
    )
    if isinstance(loaded, trimesh.Scene) and not loaded.geometry:
      raise ValueError("it holds no vertices")
    if isinstance(loaded, trimesh.PointCloud):
      faces, colors = (), loaded.colors
    else:
      visual = loaded.visual
      faces = loaded.faces
      colors = visual.vertex_colors if visual.kind == "vertex" else ()
    if suffix != "obj":
      _check_counts(content, suffix, len(loaded.vertices), len(faces))
    return Mesh(
      vertices=np.array(loaded.vertices, np.float64),
      faces=np.array(faces, np.int32).reshape(-1, 3),
      colors=np.array(colors[:, :3]) if len(colors) else None,
    )


def write_mesh(path: epath.PathLike, mesh: Mesh) -> None:
  """Writes a mesh or cloud.

  Args:
    path: where to, ending in .ply (binary, float32), .obj or .off (text).
    mesh: what to write; OFF drops colours.

  Raises:
    UserError: another suffix, or trimesh is not installed.
  """
  trimesh = _import_trimesh()
  suffix = _suffix(path)
  # trimesh writes no cloud as OFF, and none that is empty.
  if len(mesh.faces) or suffix == "off" or not len(mesh.vertices):
    shape = trimesh.Trimesh(
      mesh.vertices, mesh.faces, vertex_colors=mesh.colors, process=False
    )
  else:
    shape = trimesh.PointCloud(mesh.vertices, colors=mesh.colors)
  exported = shape.export(file_type=suffix)
  files.write_bytes(path, exported.encode() if isinstance(exported, str) else exported)


def _plain_obj(content: bytes) -> bytes:
  """Returns the vertices and faces of an OBJ file alone, faces by absolute numbers.

  Raises:
    ValueError: a face counts back beyond the first vertex.
  """
  content = _OBJ_CORNER.sub(rb"\1", _OBJ_OTHER.sub(b"", content))
  if not _OBJ_BACKWARD.search(content):
    return content
  lines, count = content.splitlines(), 0
  for place, line in enumerate(lines):
    kind, *words = line.split() or [b""]
    if kind == b"v":
      count += 1
    elif kind == b"f":
      numbers = [int(word) for word in words]
      numbers = [count + 1 + n if n < 0 else n for n in numbers]
      if min(numbers) < 1:
        raise ValueError(f"a face of vertex {min(numbers)}")
      lines[place] = b"f " + b" ".join(b"%d" % n for n in numbers)
  return b"\n".join(lines)


def _check_counts(content: bytes, suffix: str, vertices: int, faces: int) -> None:
  """Raises ValueError unless all is there; a polygon gives at least one triangle."""
  declared = _COUNTS[suffix].search(content)
  if declared is None:
    raise ValueError("its header has no end")
  declared_vertices, declared_faces = (int(count or 0) for count in declared.groups())
  if vertices != declared_vertices or faces < declared_faces:
    raise ValueError(
      f"{vertices} of {declared_vertices} vertices, {faces} triangles of "
      f"{declared_faces} faces"
    )


def _suffix(path: epath.PathLike) -> str:
  suffix = os.path.splitext(os.fspath(path))[1][1:].lower()
  if suffix not in _SUFFIXES:
    raise UserError(f"{path}: meshes are .ply, .obj or .off files")
  return suffix


def _import_trimesh() -> ModuleType:
  try:
    import trimesh
  except ImportError as error:
    raise UserError(
      "meshes need trimesh, which is not installed: pip install 'jaxvision[mesh]'"
    ) from error
  return trimesh
