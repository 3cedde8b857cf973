"""Simplifying triangle meshes by collapsing edges under quadric errors, in numpy.

Which edges go depends on values, so this runs on the host; each round collapses many
edges at once whose neighbourhoods do not touch.

Source: Garland and Heckbert, Surface simplification using quadric error metrics,
  SIGGRAPH 1997.
"""

import chex
import numpy as np

_ROUNDS = 100
_SMALLEST_COSINE = 0.2  # between a face's normals before and after


def simplify(
  vertices: np.ndarray,
  faces: np.ndarray,
  target: int,
  *,
  aggressiveness: float = 5.0,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns a mesh of about `target` faces with the same topology.

  A closed mesh stays closed. Edges whose collapse would fold a face over or change the
  topology are kept, so that more faces than wanted may be left.

  Args:
    vertices: [V, 3] of an object about 1 long.
    faces: [F, 3] indices.
    target: number of faces wanted, ≥ 0; a mesh that has no more is returned as it is.
    aggressiveness: round r = 0, 1, ... collapses edges whose squared error is below
      1e-9 (r + 3)^aggressiveness.

  Returns:
    [V', 3] and [F', 3] of the same types, without unused vertices.
  """
  chex.assert_shape([vertices, faces], (None, 3))
  chex.assert_scalar_non_negative(target)
  dtype = vertices.dtype
  vertices, faces = vertices.astype(np.float64), np.array(faces)
  if len(faces) > target:
    quadrics = _vertex_quadrics(vertices, faces)
  for number in range(_ROUNDS):
    if len(faces) <= target:
      break
    threshold = 1e-9 * (number + 3.0) ** aggressiveness
    most = -(-(len(faces) - target) // 2)  # each collapse removes two faces
    faces = _collapse(vertices, faces, quadrics, threshold, most)
  used, faces = np.unique(faces, return_inverse=True)
  return vertices[used].astype(dtype), faces.reshape(-1, 3).astype(np.int32)


def _vertex_quadrics(vertices, faces):
  """Returns [V, 4, 4] sums of the squared distances' forms of adjoining planes."""
  corners = vertices[faces]
  normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
  length = np.linalg.norm(normals, axis=1, keepdims=True)
  normals = normals / np.where(length > 0, length, 1.0)
  offset = -np.sum(normals * corners[:, 0], axis=1, keepdims=True)
  planes = np.concatenate([normals, offset], axis=1)
  forms = planes[:, :, None] * planes[:, None]
  quadrics = np.zeros((len(vertices), 4, 4))
  for corner in range(3):
    np.add.at(quadrics, faces[:, corner], forms)
  return quadrics


def _collapse(vertices, faces, quadrics, threshold, most):
  """Collapses a round's edges in place; returns the faces that are left."""
  sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
  edges, uses = np.unique(sides, axis=0, return_counts=True)
  merged = quadrics[edges[:, 0]] + quadrics[edges[:, 1]]
  places, costs = _best_places(vertices, edges, merged)

  order = np.argsort(costs, kind="stable")
  rank = np.empty(len(edges), int)
  rank[order] = np.arange(len(edges))
  is_inner = np.zeros(len(vertices), bool)
  is_inner[edges.ravel()] = True
  is_inner[edges[uses != 2].ravel()] = False  # the rim of an open mesh stays
  candidates = (costs < threshold) & is_inner[edges].all(axis=1)
  # An edge is taken if it is the cheapest within two edges' reach of both ends.
  rank = np.where(candidates, rank, len(edges))
  first = np.full(len(vertices), len(edges))
  for _ in range(2):
    around = np.minimum(first[edges].min(axis=1), rank)
    for end in (0, 1):
      np.minimum.at(first, edges[:, end], around)
  chosen = np.flatnonzero(
    candidates & (first[edges[:, 0]] == rank) & (first[edges[:, 1]] == rank)
  )
  chosen = chosen[np.argsort(rank[chosen])]
  chosen = chosen[_keeps_topology(edges, chosen, len(vertices))]
  chosen = chosen[_keeps_orientation(vertices, faces, edges[chosen], places[chosen])]
  chosen = chosen[:most]

  kept, removed = edges[chosen].T
  vertices[kept] = places[chosen]
  quadrics[kept] = merged[chosen]
  target = np.arange(len(vertices))
  target[removed] = kept
  faces = target[faces]
  a, b, c = faces.T
  return faces[(a != b) & (b != c) & (c != a)]


def _best_places(vertices, edges, quadrics):
  """Returns the points [E, 3] with the least error, and the errors."""
  matrix, vector = quadrics[:, :3, :3], -quadrics[:, :3, 3]
  # A flat or straight neighbourhood has no single best point.
  solvable = np.abs(np.linalg.det(matrix)) > 1e-6
  matrix = np.where(solvable[:, None, None], matrix, np.eye(3))
  ends = vertices[edges]
  options = [ends[:, 0], ends[:, 1], ends.mean(axis=1)]
  best = np.linalg.solve(matrix, vector[..., None])[..., 0]
  options.append(np.where(solvable[:, None], best, options[2]))
  options = np.stack(options)
  homogeneous = np.concatenate([options, np.ones((*options.shape[:2], 1))], axis=-1)
  errors = np.einsum("kei,eij,kej->ke", homogeneous, quadrics, homogeneous)
  choice = np.argmin(errors, axis=0)
  every = np.arange(len(edges))
  return options[choice, every], np.maximum(errors[choice, every], 0.0)


def _keeps_topology(edges, chosen, count):
  """Returns which collapses join ends that have exactly two common neighbours."""
  owner = np.full((2, count), -1)
  for end in (0, 1):
    owner[end, edges[chosen, end]] = chosen
  touched = np.full((2, count), -1)  # the chosen edge at whose end a vertex is
  for end in (0, 1):
    for one, other in ((0, 1), (1, 0)):
      of = owner[end, edges[:, one]]
      is_near = of >= 0
      touched[end, edges[is_near, other]] = of[is_near]
  both = (touched[0] >= 0) & (touched[0] == touched[1])
  common = np.bincount(touched[0, both], minlength=len(edges))
  return common[chosen] == 2


def _keeps_orientation(vertices, faces, ends, places):
  """Returns which collapses turn no face that remains by much."""
  number = np.full(len(vertices), -1)
  number[ends[:, 0]] = number[ends[:, 1]] = np.arange(len(ends))
  of = number[faces]
  near = np.flatnonzero((of >= 0).sum(axis=1) == 1)  # a face with both ends goes
  of, corners = of[near], vertices[faces[near]]
  moved = np.where((of >= 0)[..., None], places[of], corners)

  def normal(corners):
    n = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)

  cosine = np.sum(normal(corners) * normal(moved), axis=1)
  keeps = np.ones(len(ends), bool)
  keeps[of.max(axis=1)[cosine < _SMALLEST_COSINE]] = False
  return keeps
