"""A surface through oriented points by Poisson's equation (A7)."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import UserError
from jaxvision.ops import poisson, splat


class Volume(NamedTuple):
  """An implicit surface χ = level on a cubic grid.

  Attributes:
    values: [R, R, R] χ at the nodes, growing along the normals.
    level: of the surface.
    origin: [3] of node (0, 0, 0), cm.
    spacing: of the nodes, cm.
  """

  values: chex.Array
  level: chex.Array
  origin: chex.Array
  spacing: chex.Array


class Surface(NamedTuple):
  """Triangles of a surface that turn counter-clockwise around their normals.

  Attributes:
    vertices: [V, 3] cm.
    faces: [F, 3] indices.
  """

  vertices: np.ndarray
  faces: np.ndarray


@functools.partial(jax.jit, static_argnames=("resolution", "smoothing", "cg_steps"))
def solve_volume(
  points: chex.Array,
  normals: chex.Array,
  *,
  resolution: int = 64,
  smoothing: float = 1.25,
  screening: float = 0.1,
  cg_steps: int = 8,
) -> Volume:
  """Returns χ whose gradient is nearest to the normals, spread over the volume.

  Args:
    points: [N, 3] cm; rows that are not finite are left out.
    normals: [N, 3] unit.
    resolution: nodes along each side of the cube, typically 64 to 128. About one
      node per distance between points is right.
    smoothing: standard deviation of the Gaussian that spreads normals, nodes.
    screening: α, how strongly χ is held to one level at the points; 0 not at all.
    cg_steps: of conjugate gradients for the screened equation.

  Source: A7; Kazhdan and Hoppe, Screened Poisson Surface Reconstruction, 2013.
  """
  chex.assert_shape([points, normals], (None, 3))
  chex.assert_type([points, normals], float)
  known = jnp.all(jnp.isfinite(points) & jnp.isfinite(normals), axis=1)
  normals = jnp.where(known[:, None], normals, 0.0)
  low = jnp.min(jnp.where(known[:, None], points, jnp.inf), axis=0)
  high = jnp.max(jnp.where(known[:, None], points, -jnp.inf), axis=0)
  middle, side = 0.5 * (low + high), 1.3 * jnp.max(high - low)
  side = jnp.where(jnp.isfinite(side) & (side > 0), side, 1.0)
  spacing = side / (resolution - 1)
  origin = jnp.where(jnp.isfinite(middle), middle, 0.0) - side / 2
  nodes = (points - origin) / spacing
  shape = (resolution,) * 3
  ones = known.astype(points.dtype)[:, None]

  def smooth(volume):
    return _smooth(volume, smoothing)

  # Where points are dense each counts less.
  density = splat.gather(smooth(splat.splat(nodes, ones, shape)), nodes)
  share = jnp.where(known[:, None], 1 / jnp.maximum(density, 1e-6), 0.0)
  field = smooth(splat.splat(nodes, share * normals, shape))
  right = poisson.divergence(field)
  values = poisson.solve(right)

  def level_of(values):
    found = splat.gather(values[..., None], nodes)
    return jnp.sum(found * share) / jnp.maximum(jnp.sum(share), 1e-12)

  if cg_steps > 0:
    values = values - level_of(values)

    def screened(values):
      at_points = splat.gather(values[..., None], nodes) * share
      held = splat.splat(nodes, screening * at_points, shape)[..., 0]
      return held - poisson.laplacian(values)

    average = screening * jnp.sum(share) / resolution**3
    values, _ = jax.scipy.sparse.linalg.cg(
      screened,
      -right,
      x0=values,
      maxiter=cg_steps,
      M=lambda r: -poisson.solve(r, jnp.maximum(average, 1e-6)),
    )
  return Volume(values, level_of(values), origin, spacing)


def extract(volume: Volume, points: np.ndarray, reach: float) -> Surface:
  """Returns the volume's surface near the points, by marching cubes.

  Args:
    volume: as solved.
    points: [N, 3] that the surface was fitted to, cm.
    reach: triangles with a corner further than this from all points are left out,
      cm; two to three distances between points is right.

  Raises:
    UserError: scikit-image is not installed.
  """
  try:
    from skimage import measure
  except ImportError as error:
    raise UserError(
      "surfaces need scikit-image, which is not installed: pip install "
      "'jaxvision[demo]'"
    ) from error
  from scipy import spatial

  values, level, origin, spacing = jax.device_get(volume)
  empty = Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
  if not len(points) or not values.min() < level < values.max():
    return empty
  vertices, faces, _, _ = measure.marching_cubes(
    np.array(values), float(level), gradient_direction="descent"
  )
  vertices = vertices * spacing + origin
  distances, _ = spatial.cKDTree(points).query(vertices)
  faces = faces[np.all(distances[faces] <= reach, axis=1)]
  used, faces = np.unique(faces, return_inverse=True)
  if not len(used):
    return empty
  return Surface(vertices[used], faces.reshape(-1, 3).astype(np.int32))


def point_spacing(points: np.ndarray) -> float:
  """Returns the median distance of a point to its fourth neighbour, cm."""
  from scipy import spatial

  if len(points) < 5:
    return 0.0
  distances, _ = spatial.cKDTree(points).query(points, k=5)
  return float(np.median(distances[:, -1]))


def fit_surface(
  points: np.ndarray, normals: np.ndarray, *, resolution: int | None = None
) -> Surface:
  """Returns a triangle mesh through oriented points.

  Args:
    points: [N, 3] cm.
    normals: [N, 3] unit.
    resolution: nodes along the cube's side; about one and a half per distance
      between points, and at most 128, when None.

  Source: A7.
  """
  chex.assert_shape([points, normals], (None, 3))
  spacing = point_spacing(points)
  if spacing == 0:
    return Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
  if resolution is None:
    side = 1.3 * np.max(np.ptp(points, axis=0))
    # Multiples of 16, so that similar clouds share a compilation.
    resolution = int(np.clip(16 * round(1.5 * side / spacing / 16), 32, 128))
  points, normals = np.asarray(points, np.float32), np.asarray(normals, np.float32)
  padding = -len(points) % 1024
  padded = [
    np.pad(part, ((0, padding), (0, 0)), constant_values=np.nan)
    for part in (points, normals)
  ]
  volume = solve_volume(*map(jnp.asarray, padded), resolution=resolution)
  return extract(volume, points, 2.5 * spacing)


def _smooth(volume, sigma):
  """Blurs the first three axes of [R, R, R, C], zeros beyond the border."""
  reach = int(np.ceil(3 * sigma))
  taps = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
  taps /= taps.sum()
  for axis in range(3):
    size = volume.shape[axis]
    widths = [(reach, reach) if a == axis else (0, 0) for a in range(4)]
    padded = jnp.pad(volume, widths)
    volume = sum(
      float(tap) * jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
      for start, tap in enumerate(taps)
    )
  return volume
