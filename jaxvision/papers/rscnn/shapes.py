"""Procedural shapes in ten classes: points, normals and part labels.

Every class is a mesh of random proportions, stretched along its axes and turned about
the vertical; points are sampled evenly over its area. What a class is follows from
local geometry more than from the statistics of all points.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

# Each class with its parts, numbered through as ShapeNet-Part's are.
PARTS = {
  "sphere": ("sphere",),
  "cube": ("cube",),
  "cylinder": ("cylinder",),
  "cone": ("cone",),
  "torus": ("torus",),
  "pyramid": ("pyramid",),
  "mug": ("body", "handle"),
  "table": ("top", "legs"),
  "chair": ("seat", "back", "legs"),
  "helix": ("helix",),
}
CLASSES = tuple(PARTS)
WITH_PARTS = tuple(name for name, parts in PARTS.items() if len(parts) > 1)

Pieces = list[tuple[np.ndarray, np.ndarray, int]]  # vertices, faces, part


def part_numbers(classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
  """Returns the numbers of each class's parts, counted through the classes."""
  numbers, first = {}, 0
  for name in classes:
    numbers[name] = tuple(range(first, first + len(PARTS[name])))
    first += len(PARTS[name])
  return numbers


def draw(
  name: str, rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns points of a random shape in the unit sphere, in random order.

  Args:
    name: one of CLASSES.
    rng: source of randomness.
    count: number of points.

  Returns:
    [count, 3] points and outward unit normals, float32; [count] int32 parts from 0.
  """
  stretch = rng.uniform(0.7, 1.3, 3)
  angle = rng.uniform(0, 2 * np.pi)
  turn = np.array(
    [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
  )
  triangles, parts = [], []
  for vertices, faces, part in _MAKERS[name](rng):
    triangles.append((vertices * stretch @ turn.T)[faces])
    parts.append(np.full(len(faces), part))
  triangles, parts = np.concatenate(triangles), np.concatenate(parts)
  cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
  areas = np.linalg.norm(cross, axis=1)
  chosen = rng.choice(len(areas), count, p=areas / areas.sum())
  root, v = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
  a, b, c = np.moveaxis(triangles[chosen], 1, 0)
  points = (1 - root) * a + root * (1 - v) * b + root * v * c
  points -= points.mean(axis=0)
  points /= np.linalg.norm(points, axis=1).max()
  normals = cross[chosen] / areas[chosen, None]
  return (
    points.astype(np.float32),
    normals.astype(np.float32),
    parts[chosen].astype(np.int32),
  )


def draw_set(
  classes: Sequence[str], each: int, count: int, seed: int, noise: float = 0.0
) -> dict[str, np.ndarray]:
  """Returns `each` shapes of every class.

  Args:
    classes: of CLASSES.
    each: shapes a class.
    count: points a shape.
    seed: of everything.
    noise: standard deviation of Gaussian noise on the coordinates.

  Returns:
    "points" and "normals" [N, count, 3] float32, "parts" [N, count] int32 as
    `part_numbers` counts them, "label" [N] int32 indices into `classes`.
  """
  numbers = part_numbers(classes)
  arrays = {"points": [], "normals": [], "parts": [], "label": []}
  for label, name in enumerate(classes):
    for index in range(each):
      rng = np.random.default_rng([seed, CLASSES.index(name), index])
      points, normals, parts = draw(name, rng, count)
      points += noise * rng.standard_normal(points.shape).astype(np.float32)
      arrays["points"].append(points)
      arrays["normals"].append(normals)
      arrays["parts"].append(parts + numbers[name][0])
      arrays["label"].append(label)
  stacked = {name: np.stack(values) for name, values in arrays.items()}
  return stacked | {"label": stacked["label"].astype(np.int32)}


def _grid(surface: Callable, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mesh of (u, v) in [0, 1]² -> [..., 3], normals along ∂u × ∂v."""
  u, v = np.meshgrid(
    np.linspace(0, 1, rows + 1), np.linspace(0, 1, columns + 1), indexing="ij"
  )
  vertices = surface(u, v).reshape(-1, 3)
  first = np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)
  a, b = first, first + columns + 1
  halves = [np.stack([a, b, b + 1], -1), np.stack([a, b + 1, a + 1], -1)]
  return vertices, np.stack(halves).reshape(-1, 3)


def _revolve(profile: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the surface that a profile of (radius, z), going up, makes round z."""
  profile = np.asarray(profile, float)
  knots = np.linspace(0, 1, len(profile))

  def surface(u, v):
    radius, z = (np.interp(v, knots, column) for column in profile.T)
    angle = 2 * np.pi * u
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=-1)

  return _grid(surface, 32, len(profile) - 1)


def _tube(path: Callable, radius: float, rows: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns a round tube along a path u in [0, 1] -> [..., 3]."""

  def surface(u, v):
    step = 1e-4
    tangent = path(u + step) - path(u - step)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    # Any direction that is never along the path.
    side = np.cross(tangent, [0.3, 0.2, 1.0])
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    angle = -2 * np.pi * v[..., None]  # normals point outward
    around = np.cos(angle) * side + np.sin(angle) * np.cross(tangent, side)
    return path(u) + radius * around

  return _grid(surface, rows, 12)


def _box(low: Sequence[float], high: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
  corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, 8).T
  vertices = np.asarray(low) + corners * (np.asarray(high) - np.asarray(low))
  quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4]]
  quads = np.array([*quads, [1, 5, 7, 3]])
  return vertices, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _sphere(rng) -> Pieces:
  angles = np.linspace(-np.pi / 2, np.pi / 2, 17)
  return [(*_revolve(np.stack([np.cos(angles), np.sin(angles)], 1)), 0)]


def _cube(rng) -> Pieces:
  return [(*_box([-1, -1, -1], [1, 1, 1]), 0)]


def _cylinder(rng) -> Pieces:
  return [(*_revolve([(0, -1), (1, -1), (1, 1), (0, 1)]), 0)]


def _cone(rng) -> Pieces:
  return [(*_revolve([(0, -1), (1, -1), (0, 1)]), 0)]


def _torus(rng) -> Pieces:
  thin = rng.uniform(0.25, 0.45)
  return [(*_tube(functools.partial(_circle, height=0.0), thin, 36), 0)]


def _pyramid(rng) -> Pieces:
  vertices = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [0, 0, 1.8]])
  faces = [[0, 2, 1], [0, 3, 2], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
  return [(vertices, np.array(faces), 0)]


def _mug(rng) -> Pieces:
  height, reach = rng.uniform(0.8, 1.2), rng.uniform(0.5, 0.75)
  thick = rng.uniform(0.14, 0.2)
  body = [(0, -height), (1, -height), (1, height), (0.9, height)]
  body += [(0.9, 0.1 - height), (0, 0.1 - height)]

  def arc(u):
    angle = np.pi * (u - 0.5)
    return np.stack(
      [1 + reach * np.cos(angle), 0 * u, 0.55 * height * np.sin(angle)], axis=-1
    )

  return [(*_revolve(body), 0), (*_tube(arc, thick, 20), 1)]


def _table(rng) -> Pieces:
  thick, leg = rng.uniform(0.08, 0.16), rng.uniform(0.1, 0.18)
  inset, height = rng.uniform(0.0, 0.2), rng.uniform(0.8, 1.3)
  pieces = [(*_box([-1, -1, 0], [1, 1, thick]), 0)]
  return pieces + _legs(1 - inset, leg, -height, 0.0, 1)


def _chair(rng) -> Pieces:
  thick, leg = rng.uniform(0.08, 0.16), rng.uniform(0.1, 0.18)
  height, back = rng.uniform(0.8, 1.1), rng.uniform(0.9, 1.5)
  pieces = [
    (*_box([-0.8, -0.8, 0], [0.8, 0.8, thick]), 0),
    (*_box([-0.8, 0.8 - thick, thick], [0.8, 0.8, back]), 1),
  ]
  return pieces + _legs(0.8, leg, -height, 0.0, 2)


def _helix(rng) -> Pieces:
  turns, thin = rng.uniform(2.0, 3.0), rng.uniform(0.12, 0.2)

  def path(u):
    angle = 2 * np.pi * turns * u
    return np.stack([np.cos(angle), np.sin(angle), 2.4 * u - 1.2], axis=-1)

  return [(*_tube(path, thin, 90), 0)]


def _legs(reach, width, low, high, part) -> Pieces:
  pieces = []
  for x in (-1, 1):
    for y in (-1, 1):
      corner = np.array([x, y]) * (reach - width / 2)
      bottom = [*(corner - width / 2), low]
      pieces.append((*_box(bottom, [*(corner + width / 2), high]), part))
  return pieces


def _circle(u, height):
  angle = 2 * np.pi * u
  return np.stack([np.cos(angle), np.sin(angle), height + 0 * u], axis=-1)


_MAKERS: dict[str, Callable[[np.random.Generator], Pieces]] = {
  "sphere": _sphere,
  "cube": _cube,
  "cylinder": _cylinder,
  "cone": _cone,
  "torus": _torus,
  "pyramid": _pyramid,
  "mug": _mug,
  "table": _table,
  "chair": _chair,
  "helix": _helix,
}
