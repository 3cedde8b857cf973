"""What a partial view says of a shape: samples beside its surface, free space (M11).

Everything is in the normalised frame. The paper describes this without code.
"""

from typing import NamedTuple

import chex
import numpy as np

from jaxvision.data import mesh_pictures
from jaxvision.errors import UserError

OFFSET = 0.02  # η: how far from the surface samples are put; ours, of 0.01 to 0.025
_NEIGHBORS = 12


class View(NamedTuple):
  """A depth map's points.

  Attributes:
    points: [N, 3] on the surface.
    normals: [N, 3] unit, towards the camera.
    toward: [3] unit, from the shape to the (orthographic) camera.
  """

  points: np.ndarray
  normals: np.ndarray
  toward: np.ndarray


def depth_view(
  vertices: np.ndarray,
  faces: np.ndarray,
  *,
  azimuth: float,
  elevation: float,
  size: int = 128,
  up: str = "z",
) -> View:
  """Returns what an orthographic depth camera sees of a normalised mesh.

  Normals come from differences of depth between pixels, as of a sensor; pixels at
  jumps of depth are left out.

  Args:
    vertices: [V, 3] in the unit sphere.
    faces: [F, 3] integers.
    azimuth, elevation: of the camera in radians, see `mesh_pictures.camera`.
    size: pixels along each side of [-1, 1].
    up: "y" or "z", the vertical axis.

  Raises:
    UserError: nothing is seen.
  """
  axes = mesh_pictures.camera(azimuth, elevation)
  if up == "z":
    axes = axes[:, (2, 0, 1)]  # of x, y, z in the order y, z, x
  corners = np.asarray(vertices, np.float64)[faces] @ axes.T
  pixels = (corners[..., :2] * (1, -1) + 1) * (size / 2)
  owner = mesh_pictures.rasterize(pixels, corners[..., 2], size)
  depth = np.full(size * size, np.nan)
  (place,) = np.nonzero(owner >= 0)
  if not len(place):
    raise UserError("the camera does not see the mesh")
  row, column = np.divmod(place, size)
  centers = np.stack([column, row], axis=-1) + 0.5
  weights = mesh_pictures.barycentric(centers[:, None], pixels[owner[place]])[:, 0]
  depth[place] = np.sum(weights * corners[owner[place], :, 2], axis=1)
  points, normals = from_depth(depth.reshape(size, size))
  return View(
    (points @ axes).astype(np.float32), (normals @ axes).astype(np.float32), axes[2]
  )


def from_depth(
  depth: np.ndarray, *, largest_slope: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
  """Returns points and normals [N, 3] of an orthographic depth map.

  Args:
    depth: [H, H] along the axis towards the camera, NaN where nothing is; the map shows
      [-1, 1] along both its axes, row 0 at the top.
    largest_slope: of the depth; where it is steeper, the surface is not seen.

  Returns:
    points and unit normals in the camera's axes: right, up, towards the camera.
  """
  chex.assert_rank(depth, 2)
  chex.assert_equal(*depth.shape)
  size = len(depth)
  axis = (np.arange(size) + 0.5) * 2 / size - 1
  # Central differences: NaN at a jump to nothing.
  slope = np.full((2, size, size), np.nan)
  slope[0, :, 1:-1] = (depth[:, 2:] - depth[:, :-2]) * size / 4
  slope[1, 1:-1] = (depth[:-2] - depth[2:]) * size / 4  # up is towards row 0
  keep = np.all(np.abs(slope) <= largest_slope, axis=0) & np.isfinite(depth)
  right, up = np.meshgrid(axis, -axis)
  points = np.stack([right, up, depth], axis=-1)[keep]
  normals = np.concatenate([-slope, np.ones((1, size, size))])[:, keep].T
  return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def observe_surface(
  points: np.ndarray, normals: np.ndarray, *, offset: float = OFFSET
) -> tuple[np.ndarray, np.ndarray]:
  """Returns samples at a distance of η on both sides of surface points.

  Args:
    points: [N, 3].
    normals: [N, 3] unit, outward.
    offset: η; distances are clamped to it.

  Returns:
    [N, 5] rows x, y, z, η, η outside and [N, 5] rows x, y, z, -η, η inside.
  """
  chex.assert_equal_shape([points, normals])
  sides = []
  for sign in (1, -1):
    rows = np.empty((len(points), 5), np.float32)
    rows[:, :3] = points + sign * offset * normals
    rows[:, 3], rows[:, 4] = sign * offset, offset
    sides.append(rows)
  return sides[0], sides[1]


def free_space(
  rng: np.random.Generator,
  points: np.ndarray,
  toward: np.ndarray,
  count: int,
  *,
  offset: float = OFFSET,
) -> np.ndarray:
  """Returns [count, 5] rows of points between the surface and the camera.

  Args:
    rng: of the draws.
    points: [N, 3] of the surface.
    toward: [3] unit, to an orthographic camera, or [N, 3] to one somewhere.
    count: number of points, inside of [-1, 1]³ as far as there are any.
    offset: of the nearest to the surface.

  Returns:
    rows x, y, z, inf, 0: see `inference.Observations`.
  """
  chosen = rng.integers(len(points), size=count)
  rays = np.broadcast_to(toward, points.shape)[chosen]
  base = points[chosen]
  with np.errstate(divide="ignore", invalid="ignore"):
    ends = np.where(np.abs(rays) > 1e-9, (np.sign(rays) - base) / rays, np.inf)
  length = np.maximum(ends.min(axis=1, keepdims=True), offset)
  rows = np.zeros((count, 5), np.float32)
  rows[:, :3] = base + rays * (offset + rng.random((count, 1)) * (length - offset))
  rows[:, 3] = np.inf
  return rows


def estimate_normals(
  points: np.ndarray, viewpoint: np.ndarray | None = None
) -> np.ndarray:
  """Returns unit normals [N, 3] of a cloud: the flattest direction of 12 neighbours.

  Args:
    points: [N, 3].
    viewpoint: [3] position towards which they are turned; away from the cloud's centre
      when None.

  Raises:
    UserError: there are fewer points than neighbours.
  """
  from scipy import spatial  # half a second to import, and few need it

  if len(points) < _NEIGHBORS:
    raise UserError(
      f"{len(points)} points are fewer than the {_NEIGHBORS} that a normal needs"
    )
  _, near = spatial.cKDTree(points).query(points, _NEIGHBORS)
  spread = points[near] - points[near].mean(axis=1, keepdims=True)
  normals = np.linalg.eigh(np.einsum("nki,nkj->nij", spread, spread))[1][:, :, 0]
  if viewpoint is None:
    outward = points - points.mean(axis=0)
  else:
    outward = np.asarray(viewpoint) - points
  sign = np.where(np.sum(normals * outward, axis=1, keepdims=True) < 0, -1, 1)
  return (normals * sign).astype(np.float32)
