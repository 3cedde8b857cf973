"""Pictures of meshes through the weak-perspective camera, with a z-buffer."""

from typing import NamedTuple

import chex
import numpy as np

from jaxvision.data import mesh_pictures


class Rendered(NamedTuple):
  """What each pixel shows.

  Attributes:
    face: [H, W] index of the front face; -1 for none.
    normals: [H, W, 3] unit normals of the faces, towards the viewer having z < 0; 0
      where there is none.
  """

  face: np.ndarray
  normals: np.ndarray

  @property
  def mask(self) -> np.ndarray:
    return self.face >= 0


def project(vertices: np.ndarray, camera: np.ndarray, size: int) -> np.ndarray:
  """Returns positions [V, 2] (column, row) in pixels of a square picture."""
  scale, *shift = camera
  return (scale * (vertices[:, :2] + shift) + 1) * (size / 2)


def uncropped(
  camera: np.ndarray, center: np.ndarray, side: float, size: int
) -> np.ndarray:
  """Returns the camera of the whole picture that a crop's camera stands for.

  Args:
    camera: (s, tx, ty) over the crop.
    center: (x, y) of the crop's box, in the picture's pixels.
    side: of the box, in the same.
    size: of a square that begins where the picture does and holds it.
  """
  scale = camera[0] * side / size
  offset = 2 * np.asarray(center) / size - 1
  return np.array([scale, *(camera[1:] + offset / scale)])


def render(
  vertices: np.ndarray, faces: np.ndarray, camera: np.ndarray, size: int
) -> Rendered:
  """Draws one mesh.

  Args:
    vertices: [V, 3], x to the right, y downwards, z away.
    faces: [F, 3].
    camera: (s, tx, ty).
    size: pixels along each side.
  """
  chex.assert_shape([vertices, faces], (None, 3))
  places = project(vertices, camera, size)
  if not (np.all(np.isfinite(places)) and np.abs(places).max() < 1e6):
    empty = np.full((size, size), -1)
    return Rendered(empty, np.zeros((size, size, 3), np.float32))
  corners = places[faces]
  owner = mesh_pictures.rasterize(corners, -vertices[faces, 2], size)
  owner = owner.reshape(size, size)
  triangles = vertices[faces]
  normals = np.cross(
    triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
  )
  length = np.linalg.norm(normals, axis=1, keepdims=True)
  normals = normals / np.where(length > 0, length, 1)
  normals *= np.where(normals[:, 2:] > 0, -1, 1)
  seen = normals[owner] * (owner >= 0)[..., None]
  return Rendered(owner, seen.astype(np.float32))


def render_closed(
  vertices: np.ndarray, faces: np.ndarray, camera: np.ndarray, size: int
) -> Rendered:
  """Draws a closed mesh of faces turned outwards as `render`, in half the time."""
  a, b, c = (vertices[faces[:, corner], :2] for corner in range(3))
  turn = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
  front = np.flatnonzero(turn < 0)
  rendered = render(vertices, faces[front], camera, size)
  face = np.where(rendered.mask, front[rendered.face], -1)
  return rendered._replace(face=face)


def part_labels(rendered: Rendered, parts: np.ndarray) -> np.ndarray:
  """Returns the part [H, W] that each pixel shows, 0 for the background.

  Args:
    rendered: a mesh.
    parts: [F] of each face, 1 to 6.
  """
  return np.where(rendered.mask, parts[rendered.face], 0).astype(np.int32)


def shade(
  rendered: Rendered, color: tuple[float, float, float] = (0.65, 0.75, 0.9)
) -> np.ndarray:
  """Returns a lit picture [H, W, 3] in [0, 1], black where nothing is."""
  light = np.array([0.35, -0.5, -0.8])
  light /= np.linalg.norm(light)
  strength = 0.3 + 0.7 * np.clip(rendered.normals @ light, 0, 1)
  return (strength * rendered.mask)[..., None] * np.array(color)


def overlay(
  image: np.ndarray,
  vertices: np.ndarray,
  faces: np.ndarray,
  camera: np.ndarray,
  opacity: float = 0.85,
) -> np.ndarray:
  """Returns a square picture [S, S, 3] in [0, 1] with the mesh drawn over it."""
  rendered = render(vertices, faces, camera, len(image))
  share = opacity * rendered.mask[..., None]
  return (1 - share) * image + share * shade(rendered)
