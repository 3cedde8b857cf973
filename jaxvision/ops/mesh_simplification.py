"""Simplifying triangle meshes by collapsing edges under quadric errors, in numpy.

Which edges go depends on values, so this runs on the host; each round collapses many
edges at once whose neighbourhoods do not touch.

Source: Garland and Heckbert, Surface simplification using quadric error metrics,
  SIGGRAPH 1997.
"""

import chex
import numpy as np

_ROUNDS = 100
_MEMORY = 10  # rounds after which edges that could not go are tried again
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
  refused = np.zeros(0, np.int64)
  for number in range(_ROUNDS):
    if len(faces) <= target:
      break
    threshold = 1e-9 * (number + 3.0) ** aggressiveness
    most = -(-(len(faces) - target) // 2)  # each collapse removes two faces
    if number % _MEMORY == 0:
      refused = refused[:0]
    faces, more = _collapse(vertices, faces, quadrics, threshold, most, refused)
    refused = np.concatenate([refused, more])
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


def _collapse(vertices, faces, quadrics, threshold, most, refused):
  """Collapses a round's edges in place.

  Returns the faces that are left, and the keys of edges that must not go now. Left in
  the race, such edges would keep their neighbours from going for ever.
  """
  sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
  keys = sides[:, 0].astype(np.int64) * len(vertices) + sides[:, 1]
  keys, uses = np.unique(keys, return_counts=True)
  edges = np.stack(np.divmod(keys, len(vertices)), axis=1)
  merged = quadrics[edges[:, 0]] + quadrics[edges[:, 1]]
  places, costs = _best_places(vertices, edges, merged)

  is_inner = np.zeros(len(vertices), bool)
  is_inner[edges.ravel()] = True
  is_inner[edges[uses != 2].ravel()] = False  # the rim of an open mesh stays
  candidates = (costs < threshold) & is_inner[edges].all(axis=1)
  candidates &= ~np.isin(keys, refused)
  rank = np.empty(len(edges), int)
  # Equal costs, as on flat parts, in random order: in that of the edges, each would
  # wait for the one before.
  lot = np.random.default_rng(len(edges)).random(len(edges))
  rank[np.lexsort((lot, np.where(candidates, costs, np.inf)))] = np.arange(len(edges))
  rank[~candidates] = len(edges)
  # An edge is taken if it is the cheapest within two edges' reach of both ends, so
  # that no face touches two of them.
  first = np.full(len(vertices), len(edges))
  for _ in range(2):
    around = np.minimum(first[edges].min(axis=1), rank)
    for end in (0, 1):
      np.minimum.at(first, edges[:, end], around)
  taken = candidates & (first[edges] == rank[:, None]).all(axis=1)
  chosen = np.flatnonzero(taken)
  chosen = chosen[np.argsort(rank[chosen])]
  is_good, is_alone = _keeps_topology(edges, chosen, len(vertices))
  is_good &= _keeps_orientation(vertices, faces, edges[chosen], places[chosen])
  refused, chosen = keys[chosen[~is_good]], chosen[is_good & is_alone][:most]

  kept, removed = edges[chosen].T
  vertices[kept] = places[chosen]
  quadrics[kept] = merged[chosen]
  target = np.arange(len(vertices))
  target[removed] = kept
  faces = target[faces]
  a, b, c = faces.T
  return faces[(a != b) & (b != c) & (c != a)], refused


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
  forms = np.einsum("kei,eij->kej", options, quadrics[:, :3, :3])
  errors = np.sum((forms + 2 * quadrics[:, :3, 3]) * options, axis=-1)
  errors += quadrics[:, 3, 3]
  choice = np.argmin(errors, axis=0)
  every = np.arange(len(edges))
  return options[choice, every], np.maximum(errors[choice, every], 0.0)


def _keeps_topology(edges, chosen, count):
  """Returns which chosen edges' ends have two common neighbours, not those of a better.

  Two collapses beside one vertex could leave it with two faces only.

  Args:
    edges: [E, 2].
    chosen: indices of edges, the best first; no two of them touch or are neighbours.
    count: number of vertices.

  Returns:
    Two arrays of booleans.
  """
  near = []  # (chosen edge, vertex) for all neighbours of either end
  for end in (0, 1):
    owner = np.full(count, -1)
    owner[edges[chosen, end]] = np.arange(len(chosen))
    pairs = []
    for one, other in ((0, 1), (1, 0)):
      of = owner[edges[:, one]]
      pairs.append(of[of >= 0] * count + edges[of >= 0, other])
    near.append(np.concatenate(pairs))
  of, vertex = np.divmod(np.intersect1d(*near), count)
  first = np.full(count, len(chosen))
  np.minimum.at(first, vertex, of)
  is_alone = np.ones(len(chosen), bool)
  is_alone[of[first[vertex] < of]] = False
  return np.bincount(of, minlength=len(chosen)) == 2, is_alone


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
