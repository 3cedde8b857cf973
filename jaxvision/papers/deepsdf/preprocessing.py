"""From a triangle mesh to samples of its signed distance (M1 to M3), on the host.

Neither closed nor consistently oriented meshes are needed: what cameras all around see
of a mesh is its surface, and the side they see it from is outside.
"""

import dataclasses
from typing import NamedTuple

import chex
import numpy as np

from jaxvision.data import mesh_pictures
from jaxvision.errors import UserError

MARGIN = 1.03
VARIANCE, SECOND_VARIANCE = 0.005, 0.0005  # of the two perturbations in training
TEST_VARIANCE = 0.05  # instead of the first, for files that codes are fitted to
TRAINING_SAMPLES, TEST_SAMPLES = 500_000, 250_000
VOTES = 11
WORST_PIXELS, WORST_TRIANGLES = 0.02, 0.03
_NEAR_SHARE = 47 / 50
_CAMERA_RADIUS = 1.1
_GRAZING = 1e-3


@dataclasses.dataclass(frozen=True)
class Normalization:
  """How a mesh was moved into the unit sphere: v' = (v + offset) scale.

  Attributes:
    offset: [3], minus the centre of the bounding box.
    scale: one over 1.03 times the largest distance from it.
  """

  offset: np.ndarray
  scale: float

  def apply(self, points: np.ndarray) -> np.ndarray:
    return (points + self.offset) * self.scale

  def invert(self, points: np.ndarray) -> np.ndarray:
    return points / self.scale - self.offset


class Shell(NamedTuple):
  """What cameras around a mesh see of it.

  Attributes:
    points: [P, 3] on the surface.
    normals: [P, 3] of the faces, turned towards the camera.
    wrong_pixels: share of the pixels that show a face from the other side than the
      first pixel that showed it.
    bad_triangles: share of the seen faces that are seen from both sides.
  """

  points: np.ndarray
  normals: np.ndarray
  wrong_pixels: float
  bad_triangles: float

  @property
  def is_good(self) -> bool:
    """Whether the paper would keep the mesh."""
    return self.wrong_pixels <= WORST_PIXELS and self.bad_triangles <= WORST_TRIANGLES


class Samples(NamedTuple):
  """Samples of signed distance: [P, 4] and [Q, 4] rows x, y, z, s; s > 0 in `pos`."""

  pos: np.ndarray
  neg: np.ndarray


def normalization(vertices: np.ndarray, faces: np.ndarray) -> Normalization:
  """Returns how a mesh is moved into the unit sphere (M1).

  Args:
    vertices: [V, 3] in any unit; those that no face uses do not count.
    faces: [F, 3] integers.

  Raises:
    UserError: the mesh has no faces, a vertex that is not finite, or no size.
  """
  chex.assert_shape([vertices, faces], (None, 3))
  if not len(faces):
    raise UserError("the mesh has no faces")
  used = np.asarray(vertices, np.float64)[np.unique(faces)]
  if not np.all(np.isfinite(used)):
    raise UserError("the mesh has vertices that are not finite")
  center = (used.min(axis=0) + used.max(axis=0)) / 2
  radius = np.linalg.norm(used - center, axis=1).max()
  if radius <= 0:
    raise UserError("all vertices of the mesh are one point")
  return Normalization(-center, float(1 / (MARGIN * radius)))


def camera_positions(count: int = 100) -> np.ndarray:
  """Returns [count, 3] points of a spiral on the sphere of the cameras (M2)."""
  index = np.arange(count)
  y = -1 + (index + 0.5) * 2 / count
  ring = np.sqrt(1 - y * y)
  angle = (index + 1) * np.pi * (3 - np.sqrt(5))
  circle = [np.cos(angle) * ring, y, np.sin(angle) * ring]
  return _CAMERA_RADIUS * np.stack(circle, axis=-1)


def visible_shell(
  vertices: np.ndarray, faces: np.ndarray, *, cameras: int = 100, size: int = 400
) -> Shell:
  """Returns what orthographic cameras around a normalised mesh see (M2).

  Args:
    vertices: [V, 3] in the unit sphere.
    faces: [F, 3] integers.
    cameras: number of views.
    size: pixels along each side of a view, which shows [-1, 1].

  Raises:
    UserError: nothing is seen.
  """
  corners = np.asarray(vertices, np.float64)[faces]
  edges = corners[:, 1:] - corners[:, :1]
  normals = np.cross(edges[:, 0], edges[:, 1])
  length = np.linalg.norm(normals, axis=1, keepdims=True)
  normals /= np.where(length > 0, length, 1)

  first_side = np.zeros(len(faces))
  is_bad = np.zeros(len(faces), bool)
  points, outward, wrong = [], [], 0
  for position in camera_positions(cameras):
    axes = _look_at_origin(position)
    seen = corners @ axes.T
    pixels = (seen[..., :2] * (1, -1) + 1) * (size / 2)
    owner = mesh_pictures.rasterize(pixels, seen[..., 2], size)
    (place,) = np.nonzero(owner >= 0)
    face = owner[place]
    side = normals[face] @ axes[2]  # towards the camera
    place, face, side = (a[np.abs(side) >= _GRAZING] for a in (place, face, side))
    sign = np.sign(side)

    # The side from which a face is seen first; of several pixels of this view, any.
    is_new = first_side[face] == 0
    first_side[face[is_new]] = sign[is_new]
    is_wrong = sign != first_side[face]
    is_bad[face[is_wrong]] = True
    wrong += int(is_wrong.sum())

    row, column = np.divmod(place, size)
    places = np.stack([column, row], axis=-1) + 0.5
    weights = mesh_pictures.barycentric(places[:, None], pixels[face])[:, 0]
    points.append(np.einsum("nc,ncd->nd", weights, corners[face]))
    outward.append(normals[face] * sign[:, None])
  points, outward = np.concatenate(points), np.concatenate(outward)
  if not len(points):
    raise UserError("no face of the mesh is seen from anywhere")
  return Shell(
    points.astype(np.float32),
    outward.astype(np.float32),
    wrong / len(points),
    is_bad.sum() / max(1, np.count_nonzero(first_side)),
  )


def vote_distances(
  queries: np.ndarray,
  points: np.ndarray,
  normals: np.ndarray,
  *,
  variance: float = VARIANCE,
  votes: int = VOTES,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the signed distances of points by the votes of their neighbours (M3).

  Args:
    queries: [M, 3].
    points: [P, 3] of the surface, P ≥ votes.
    normals: [P, 3] outward.
    variance: whose root is the distance within which the tangent plane of the nearest
      point counts, beyond which the point itself.
    votes: neighbours that must agree on the side.

  Returns:
    [M] distances, and [M] bool: whether all agree; where not, the sign means nothing.

  Raises:
    UserError: there are fewer surface points than votes.
  """
  from scipy import spatial  # half a second to import, and few need it

  chex.assert_equal_shape([points, normals])
  if len(points) < votes:
    raise UserError(f"{len(points)} surface points are fewer than {votes} votes")
  distance, nearest = spatial.cKDTree(points).query(queries, votes, workers=-1)
  away = queries[:, None] - points[nearest]
  heights = np.einsum("mkd,mkd->mk", away, normals[nearest])
  in_front = np.count_nonzero(heights > 0, axis=1)
  is_near = distance[:, 0] < np.sqrt(variance)
  size = np.where(is_near, np.abs(heights[:, 0]), distance[:, 0])
  agreed = (in_front == 0) | (in_front == votes)
  return np.where(in_front == 0, -size, size), agreed


def sample_area(
  rng: np.random.Generator, vertices: np.ndarray, faces: np.ndarray, count: int
) -> np.ndarray:
  """Returns [count, 3] points uniform over a mesh, on the host."""
  corners = np.asarray(vertices, np.float64)[faces]
  edges = corners[:, 1:] - corners[:, :1]
  areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
  if not areas.sum() > 0:
    raise UserError("the mesh has no area")
  chosen = rng.choice(len(areas), count, p=areas / areas.sum())
  shares = rng.random((count, 2, 1))
  shares = np.where(shares.sum(axis=1, keepdims=True) > 1, 1 - shares, shares)
  return corners[chosen, 0] + (shares * edges[chosen]).sum(axis=1)


def query_points(
  rng: np.random.Generator,
  surface: np.ndarray,
  count: int,
  *,
  variances: tuple[float, float] = (VARIANCE, SECOND_VARIANCE),
) -> np.ndarray:
  """Returns [count, 3] points where distances are sampled (M3).

  47 of 50 lie near the surface: every surface point is perturbed twice, with either
  variance of each coordinate. The rest is uniform in [-1, 1]³.

  Args:
    rng: of the draws.
    surface: [S, 3], of which the first are used, again and again if they are few.
    count: number of points.
    variances: of the perturbations.
  """
  near = int(_NEAR_SHARE * count) // 2
  base = surface[np.arange(near) % len(surface)]
  parts = [rng.normal(base, np.sqrt(variance)) for variance in variances]
  parts.append(rng.uniform(-1, 1, (count - 2 * near, 3)))
  return np.concatenate(parts).astype(np.float32)


def sample_mesh(
  seed: int,
  vertices: np.ndarray,
  faces: np.ndarray,
  *,
  count: int = TRAINING_SAMPLES,
  variances: tuple[float, float] = (VARIANCE, SECOND_VARIANCE),
  cameras: int = 100,
  size: int = 400,
) -> tuple[Samples, Normalization, Shell]:
  """Returns signed-distance samples of a mesh in its normalised frame (M1 to M3).

  Args:
    seed: of the draws.
    vertices: [V, 3] in any unit.
    faces: [F, 3] integers.
    count: samples that are drawn; those whose neighbours disagree are dropped.
    variances: of the perturbations; the first is also `vote_distances`'s.
    cameras, size: see `visible_shell`.

  Raises:
    UserError: the mesh is empty, has no size, nothing of it is seen, or it is seen from
      both sides everywhere, as a single triangle is.
  """
  frame = normalization(vertices, faces)
  vertices = frame.apply(np.asarray(vertices, np.float64))
  shell = visible_shell(vertices, faces, cameras=cameras, size=size)
  rng = np.random.default_rng(seed)
  surface = sample_area(rng, vertices, faces, max(1, int(_NEAR_SHARE * count) // 2))
  queries = query_points(rng, surface, count, variances=variances)
  distances, agreed = vote_distances(
    queries, shell.points, shell.normals, variance=variances[0]
  )
  if not agreed.any():
    raise UserError("the mesh has no inside: all of it is seen from both sides")
  return split(queries[agreed], distances[agreed]), frame, shell


def split(points: np.ndarray, distances: np.ndarray) -> Samples:
  """Returns the samples by sign; zero counts as inside, NaN is left out."""
  rows = np.concatenate([points, distances[:, None]], axis=1).astype(np.float32)
  rows = rows[np.isfinite(rows[:, 3])]
  return Samples(rows[rows[:, 3] > 0], rows[~(rows[:, 3] > 0)])


def _look_at_origin(position):
  """Returns the camera's right, up and backward axes [3, 3] as rows."""
  backward = position / np.linalg.norm(position)
  pole = np.array([0.0, 1.0, 0.0])
  if abs(backward @ pole) > 0.999:
    pole = np.array([1.0, 0.0, 0.0])
  right = np.cross(pole, backward)
  right /= np.linalg.norm(right)
  return np.stack([right, np.cross(backward, right), backward])
