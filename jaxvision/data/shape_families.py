"""Parametric families of shapes with holes and thin parts, as exact distance fields.

  TORUS: a tube around an ellipse; its axis is z.
  BLOCK: a rounded box with a cylindrical hole along z.
  TABLE: a slab on four legs along z.

A shape is a family and a vector of PARAMETERS numbers, so that shapes of different
families are one batch. All are centred and scaled so that the farthest point is
1 / 1.03 from the origin, as DeepSDF normalises meshes. Distances are negative inside;
they are exact but for the inside of tables, near the joints, where the border may be
farther than said.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.marching_cubes import marching_cubes

FAMILIES = ("torus", "block", "table")
TORUS, BLOCK, TABLE = range(3)
PARAMETERS = 6
MARGIN = 1.03
# Lowest and highest values, in units that normalisation removes.
#   torus: semi-axes of the ellipse, radius of the tube
#   block: half sizes x, y, z; radius of the hole in parts of the smaller of x and y;
#     radius of the rounded edges
#   table: half sizes x, y of the slab, half the height, half thickness of the slab,
#     half width of the legs, inset of the legs in parts of what is possible
_RANGES = np.array(
  [
    [[0.45, 0.65], [0.45, 0.65], [0.12, 0.25], [0, 0], [0, 0], [0, 0]],
    [[0.35, 0.7], [0.35, 0.7], [0.15, 0.45], [0.35, 0.65], [0.02, 0.08], [0, 0]],
    [[0.4, 0.8], [0.3, 0.6], [0.3, 0.6], [0.04, 0.08], [0.04, 0.08], [0.0, 0.3]],
  ],
  np.float32,
)
_NEWTON_STEPS = 6


class Shapes(NamedTuple):
  """Shapes of any families.

  Attributes:
    family: [...] int32, of FAMILIES.
    parameters: [..., PARAMETERS]; the last ones mean nothing where a family has fewer.
  """

  family: chex.Array
  parameters: chex.Array


def random_shapes(key: chex.PRNGKey, families: chex.Array) -> Shapes:
  """Returns one random shape for each of the families [N] (int32)."""
  families = jnp.asarray(families, jnp.int32)
  low, high = jnp.moveaxis(jnp.asarray(_RANGES), -1, 0)
  draws = jax.random.uniform(key, (*families.shape, PARAMETERS))
  low, high = low[families], high[families]
  return Shapes(families, low + (high - low) * draws)


def ranges(family: int) -> np.ndarray:
  """Returns the lowest and highest value [PARAMETERS, 2] of a family's parameters."""
  return _RANGES[family].copy()


def signed_distance(shape: Shapes, points: chex.Array) -> chex.Array:
  """Returns the distances of points to one normalised shape, negative inside.

  Args:
    shape: one: [] family, [PARAMETERS] parameters; differentiable by them.
    points: [..., 3] in the normalised frame.

  Returns:
    [...].
  """
  chex.assert_shape(shape.parameters, (PARAMETERS,))
  chex.assert_axis_dimension(points, -1, 3)
  unit = MARGIN * _radius(shape)
  scaled = points * unit
  distances = (_torus, _block, _table)
  return jax.lax.switch(shape.family, distances, shape.parameters, scaled) / unit


def normals(shape: Shapes, points: chex.Array) -> chex.Array:
  """Returns the unit gradient [..., 3] of a shape's distance: outward normals."""
  return _distances_and_normals(shape, points)[1]


def sample_surface(
  key: chex.PRNGKey, shape: Shapes, count: int, *, rounds: int = 3, band: float = 0.05
) -> tuple[chex.Array, chex.Array]:
  """Returns points of a shape's surface, nearly uniform, and their normals.

  Random points of a thin shell around the surface are moved onto it.

  Args:
    key: of the draw.
    shape: one shape.
    count: number of points.
    rounds: in each, `8 count` random points are tried.
    band: half of the shell's thickness, in the normalised frame.

  Returns:
    [count, 3] points and [count, 3] outward unit normals. Points repeat where fewer
    were found; with the default of `rounds` that happens for no family.
  """

  def keep(kept, tried):
    points, filled = kept
    is_near = jnp.abs(signed_distance(shape, tried)) <= band
    place = filled + jnp.cumsum(is_near) - 1
    points = points.at[jnp.where(is_near, place, count)].set(tried, mode="drop")
    return (points, jnp.minimum(filled + jnp.sum(is_near), count)), None

  start = jnp.zeros((count, 3)), jnp.zeros((), jnp.int32)
  box = _half_sizes(shape) + band
  tried = jax.random.uniform(key, (rounds, 8 * count, 3), minval=-box, maxval=box)
  (points, filled), _ = jax.lax.scan(keep, start, tried)
  points = points[jnp.arange(count) % jnp.maximum(filled, 1)]

  def project(moved, _):
    points, _ = moved
    distances, normals = _distances_and_normals(shape, points)
    return (points - distances[:, None] * normals, normals), None

  moved, _ = jax.lax.scan(project, (points, points), length=4)
  return moved


def mesh(shape: Shapes, resolution: int = 96) -> tuple[np.ndarray, np.ndarray]:
  """Returns [V, 3] vertices and [F, 3] faces of one shape by marching cubes."""
  values = _grid_distances(shape, resolution)
  return marching_cubes(np.asarray(values), 0.0, -1.0, 2.0 / (resolution - 1))


@functools.partial(jax.jit, static_argnums=1)
def _grid_distances(shape, resolution):
  """Returns the distances [N, N, N] on a grid over [-1, 1]³, a plane at a time."""
  axis = jnp.linspace(-1.0, 1.0, resolution)
  grid = jnp.stack(jnp.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
  return jax.lax.map(functools.partial(signed_distance, shape), grid)


def _distances_and_normals(shape, points):
  def total(points):
    distances = signed_distance(shape, points)
    return jnp.sum(distances), distances

  gradient, distances = jax.grad(total, has_aux=True)(points)
  length = jnp.linalg.norm(gradient, axis=-1, keepdims=True)
  return distances, gradient / jnp.maximum(length, 1e-12)


def _radius(shape):
  """Returns the distance of the farthest point from the origin, before scaling."""
  p = shape.parameters
  torus = jnp.maximum(p[0], p[1]) + p[2]
  rounding = _rounding(p)
  block = jnp.linalg.norm(p[:3] - rounding) + rounding
  table = jnp.linalg.norm(p[:3])
  return jnp.select([shape.family == k for k in range(3)], [torus, block, table])


def _half_sizes(shape):
  """Returns half the sides [3] of the box that bounds a shape, normalised."""
  p = shape.parameters
  torus = jnp.stack([p[0], p[1], jnp.zeros_like(p[2])]) + p[2]
  sizes = jnp.where(shape.family == TORUS, torus, p[:3])
  return sizes / (MARGIN * _radius(shape))


def _torus(p, points):
  flat = _ellipse(points[..., :2], p[0], p[1])
  return _length(flat, points[..., 2]) - p[2]


def _ellipse(points, a, b):
  """Returns the distance of points [..., 2] to an ellipse with semi-axes a and b."""
  x, y = jnp.abs(points[..., 0]), jnp.abs(points[..., 1])

  # How far a minimum is depends on where it lies in second order only: the search
  # itself is not differentiated.
  px, py, pa, pb = jax.lax.stop_gradient((x, y, a, b))

  def turn(_, direction):
    """Moves the point at an angle to the nearest of the circle of curvature."""
    cosine, sine = direction
    center_x = (pa * pa - pb * pb) * cosine**3 / pa
    center_y = (pb * pb - pa * pa) * sine**3 / pb
    reach = _length(pa * cosine - center_x, pb * sine - center_y)
    away_x, away_y = px - center_x, py - center_y
    ratio = reach / jnp.maximum(_length(away_x, away_y), 1e-6)
    cosine = jnp.clip((away_x * ratio + center_x) / pa, 0.0, 1.0)
    sine = jnp.clip((away_y * ratio + center_y) / pb, 0.0, 1.0)
    norm = jnp.maximum(_length(cosine, sine), 1e-6)
    return cosine / norm, sine / norm

  start = (jnp.full_like(px, np.sqrt(0.5)),) * 2
  # A loop, because XLA would compute each step anew for every use of it.
  cosine, sine = jax.lax.fori_loop(0, _NEWTON_STEPS, turn, start)
  return _length(x - a * cosine, y - b * sine)


def _rounding(p):
  """Returns the rounding of a block's edges, at most a third of its smallest half."""
  return jnp.minimum(p[4], jnp.min(p[:3]) / 3)


def _block(p, points):
  rounding = _rounding(p)
  hole = p[3] * jnp.minimum(p[0], p[1]) + rounding
  flat = jnp.abs(points[..., :2]) - (p[:2] - rounding)
  outside = _length(jnp.maximum(flat[..., 0], 0.0), jnp.maximum(flat[..., 1], 0.0))
  plate = outside + jnp.minimum(jnp.maximum(flat[..., 0], flat[..., 1]), 0.0)
  plate = jnp.maximum(plate, hole - _length(points[..., 0], points[..., 1]))
  height = jnp.abs(points[..., 2]) - (p[2] - rounding)
  inside = jnp.minimum(jnp.maximum(plate, height), 0.0)
  outside = _length(jnp.maximum(plate, 0.0), jnp.maximum(height, 0.0))
  return inside + outside - rounding


def _table(p, points):
  x, y, z = jnp.abs(points[..., 0]), jnp.abs(points[..., 1]), points[..., 2]
  slab = _box(x - p[0], y - p[1], jnp.abs(z - (p[2] - p[3])) - p[3])
  inset = p[5] * (p[:2] - 2 * p[4])
  legs = _box(
    jnp.abs(x - (p[0] - p[4] - inset[0])) - p[4],
    jnp.abs(y - (p[1] - p[4] - inset[1])) - p[4],
    jnp.abs(z + p[3]) - (p[2] - p[3]),
  )
  return jnp.minimum(slab, legs)


def _box(x, y, z):
  """Returns the distance to a box from how far each coordinate is beyond it."""
  outside = _length(*(jnp.maximum(beyond, 0.0) for beyond in (x, y, z)))
  return outside + jnp.minimum(jnp.maximum(x, jnp.maximum(y, z)), 0.0)


def _length(*coordinates):
  """Returns the Euclidean length; its gradient at 0 is 0."""
  squares = sum(jnp.square(c) for c in coordinates)
  is_positive = squares > 0
  return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, squares, 1.0)), 0.0)
