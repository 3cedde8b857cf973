"""Solids with exact occupancy that stand in for ShapeNet: chairs, tables, mugs, tori.

Each is the union of up to six rounded boxes, a tube closed below, and a ring. Its
longest side is 1 and its bounding box is centred at the origin; y points up.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import voxels
from jaxvision.ops.marching_cubes import marching_cubes

_BOXES = 6
_ABSENT = -1e3  # half width of a box that is not there
HALF = 0.55  # of the cube in which points are drawn
_CANDIDATES = 24  # random points for one on the surface
_FOCAL, _DISTANCE = 1.8, 2.0  # of the camera, in sides of the picture and of the cube


class Solid(NamedTuple):
  """One solid, or many with a leading axis.

  Attributes:
    center, half: [6, 3] of boxes, in the cube's unit.
    rounding: [6] radii of their edges.
    tube: [7] centre, outer and inner radius, half height, height of the bottom.
    ring: [8] centre, unit axis, major and minor radius.
  """

  center: chex.Array
  half: chex.Array
  rounding: chex.Array
  tube: chex.Array
  ring: chex.Array


def sample(families: tuple[str, ...], count: int, seed: int) -> Solid:
  """Returns `count` solids, the families in turn, as numpy arrays.

  Args:
    families: keys of `FAMILIES`.
    count: number of solids.
    seed: not negative; another seed gives other solids.
  """
  solids = []
  for index in range(count):
    rng = np.random.default_rng([seed, index])
    solids.append(_normalized(FAMILIES[families[index % len(families)]](rng)))
  return Solid(
    *(np.stack(parts).astype(np.float32) for parts in zip(*solids, strict=True))
  )


def signed_distance(solid: Solid, points: chex.Array) -> chex.Array:
  """Returns [...] distances to a solid's surface, negative inside.

  Exact outside the parts, and a bound where parts overlap or are hollow.

  Args:
    solid: one.
    points: [..., 3].
  """
  chex.assert_shape(solid.center, (_BOXES, 3))
  chex.assert_axis_dimension(points, -1, 3)
  q = jnp.abs(points[..., None, :] - solid.center) - (
    solid.half - solid.rounding[:, None]
  )
  boxes = _length(jnp.maximum(q, 0.0)) + jnp.minimum(jnp.max(q, axis=-1), 0.0)
  distance = jnp.min(boxes - solid.rounding, axis=-1)

  outer, inner, half, bottom = solid.tube[3:]
  local = points - solid.tube[:3]
  radius = _length(local[..., jnp.array([0, 2])])
  solid_cylinder = _cylinder(radius, local[..., 1], outer, half)
  hollow = _cylinder(radius, local[..., 1] - bottom, inner, half)
  distance = jnp.minimum(distance, jnp.maximum(solid_cylinder, -hollow))

  local = points - solid.ring[:3]
  along = jnp.sum(local * solid.ring[3:6], axis=-1)
  across = _length(local - along[..., None] * solid.ring[3:6])
  major, minor = solid.ring[6:]
  ring = jnp.hypot(across - major, along) - minor
  return jnp.minimum(distance, ring)


@jax.jit
def distances(solids: Solid, points: chex.Array) -> chex.Array:
  """Returns [N, M] distances of points [N, M, 3] to N solids, one after the other."""
  return jax.lax.map(lambda one: signed_distance(*one), (solids, points))


@jax.jit
def project(solids: Solid, points: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns nearby points [N, M, 3] moved onto the surfaces, and their unit normals."""

  def one(arguments):
    solid, points = arguments
    gradient = jax.vmap(jax.grad(functools.partial(signed_distance, solid)))

    def step(points, _):
      normals = _unit(gradient(points))
      return points - signed_distance(solid, points)[:, None] * normals, normals

    points, normals = jax.lax.scan(step, points, None, length=3)
    return points, normals[-1]

  return jax.lax.map(one, (solids, points))


def describe(
  solids: Solid,
  seed: int,
  *,
  count: int,
  surface: int,
  grids: tuple[int, ...],
  near: bool = False,
) -> dict[str, np.ndarray]:
  """Returns what is stored of each solid.

  Args:
    solids: N of them.
    seed: of the random points.
    count: points drawn uniformly in the cube [-0.55, 0.55]^3.
    surface: points on the surface, nearly uniform.
    grids: resolutions R of voxel grids over [-0.5, 0.5]^3.
    near: whether also the cloud with noise of deviation 0.1 is described.

  Returns:
    points [N, count, 3] and occupancies [N, count]; cloud and normals [N, surface, 3];
    "voxelsR" [N, R, R, R] booleans of the cells' centres; near_points [N, surface, 3]
    and near_occupancies where wanted.
  """
  number = len(solids.center)
  rng = np.random.default_rng([seed, 1])

  points = rng.uniform(-HALF, HALF, (number, count, 3)).astype(np.float32)
  # The points nearest to the surface fill a thin shell around it evenly.
  many = rng.uniform(-0.51, 0.51, (number, _CANDIDATES * surface, 3))
  many = many.astype(np.float32)
  centers = [voxels.cell_centers(r).reshape(-1, 3) for r in grids]
  parts = [points, many]
  parts += [np.broadcast_to(center, (number, *center.shape)) for center in centers]
  found = np.asarray(distances(solids, np.concatenate(parts, axis=1)))
  ends = np.cumsum([part.shape[1] for part in parts])[:-1]
  of_points, of_many, *of_grids = np.split(found, ends, axis=1)

  nearest = np.argpartition(np.abs(of_many), surface - 1, axis=1)[:, :surface, None]
  cloud, normals = project(solids, np.take_along_axis(many, nearest, axis=1))
  described = {
    "points": points,
    "occupancies": of_points < 0,
    "cloud": np.asarray(cloud),
    "normals": np.asarray(normals),
  }
  for r, values in zip(grids, of_grids, strict=True):
    described[f"voxels{r}"] = (values < 0).reshape(number, r, r, r)
  if near:
    noise = 0.1 * rng.standard_normal(cloud.shape, np.float32)
    described["near_points"] = described["cloud"] + noise
    found = distances(solids, described["near_points"])
    described["near_occupancies"] = np.asarray(found) < 0
  return described


@functools.partial(jax.jit, static_argnames=("size", "steps"))
def photograph(
  solids: Solid, azimuth: chex.Array, *, size: int, steps: int = 48
) -> chex.Array:
  """Returns pictures [N, V, size, size, 3] in [0, 1] on white, from above.

  Args:
    solids: N of them.
    azimuth: [N, V] radians around the vertical axis; 0 looks at the front.
    size: pixels along a side.
    steps: of sphere tracing.
  """
  axis = (jnp.arange(size) + 0.5) / size - 0.5
  u, v = jnp.meshgrid(axis, -axis)
  rays = jnp.stack([u, v, jnp.full_like(u, -_FOCAL)], axis=-1)
  rays /= jnp.linalg.norm(rays, axis=-1, keepdims=True)

  def one(arguments):
    solid, angle = arguments
    field = functools.partial(signed_distance, solid)
    rotation = _look(angle, 0.45)
    directions = rays.reshape(-1, 3) @ rotation
    origin = jnp.array([0.0, 0.0, _DISTANCE]) @ rotation

    def march(depth, _):
      return depth + field(origin + depth[:, None] * directions), None

    depth, _ = jax.lax.scan(march, jnp.ones(size**2), None, length=steps)
    points = origin + depth[:, None] * directions
    hit = (jnp.abs(field(points)) < 5e-3) & (depth < 2 * _DISTANCE)
    normals = _unit(jax.vmap(jax.grad(field))(points))
    light = jnp.array([0.4, 0.6, 1.0]) @ rotation
    shade = 0.25 + 0.7 * jnp.abs(normals @ (light / jnp.linalg.norm(light)))
    color = jnp.where(hit, shade, 1.0)
    return jnp.repeat(color.reshape(size, size, 1), 3, axis=-1)

  flat = jax.tree.map(lambda part: part.repeat(azimuth.shape[1], axis=0), solids)
  pictures = jax.lax.map(one, (flat, azimuth.reshape(-1)))
  return pictures.reshape(*azimuth.shape, size, size, 3)


def _chair(rng):
  """Returns the parts of a chair with thin legs, in any unit: boxes, tube, ring."""
  width, depth = rng.uniform(0.40, 0.55, 2)
  seat, back = rng.uniform(0.38, 0.50), rng.uniform(0.40, 0.60)
  thick, leg = rng.uniform(0.045, 0.085), rng.uniform(0.024, 0.042)
  x, z = width / 2 - leg, depth / 2 - leg
  boxes = [((0, seat, 0), (width / 2, thick / 2, depth / 2))]
  boxes.append(
    ((0, seat + back / 2, -depth / 2 + thick / 2), (width / 2, back / 2, thick / 2))
  )
  for sign_x, sign_z in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
    boxes.append(((sign_x * x, seat / 2, sign_z * z), (leg, seat / 2, leg)))
  return boxes, rng.uniform(0.0, 0.008), None, None


def _table(rng):
  width, depth = rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.7)
  height, thick, leg = rng.uniform(0.35, 0.6), rng.uniform(0.03, 0.06), 0.03
  x, z = width / 2 - leg, depth / 2 - leg
  boxes = [((0, height, 0), (width / 2, thick / 2, depth / 2))]
  for sign_x, sign_z in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
    boxes.append(((sign_x * x, height / 2, sign_z * z), (leg, height / 2, leg)))
  return boxes, rng.uniform(0.0, 0.01), None, None


def _mug(rng):
  radius, half = rng.uniform(0.28, 0.40), rng.uniform(0.35, 0.50)
  wall = rng.uniform(0.04, 0.07)
  tube = (0, 0, 0, radius, radius - wall, half, 2 * wall)
  major, minor = rng.uniform(0.5, 0.7) * half, rng.uniform(0.035, 0.055)
  # The handle starts inside the wall, not inside the mug.
  return [], 0.0, tube, (radius + 0.4 * major, 0, 0, 0, 0, 1, major, minor)


def _torus(rng):
  tilt = rng.normal(size=3)
  axis = tilt / np.linalg.norm(tilt)
  return [], 0.0, None, (0, 0, 0, *axis, 0.35, rng.uniform(0.06, 0.14))


def _box(rng):
  half = rng.uniform(0.15, 0.5, 3)
  return [((0, 0, 0), half)], rng.uniform(0.02, 0.12), None, None


FAMILIES = {
  "chair": _chair,
  "table": _table,
  "mug": _mug,
  "torus": _torus,
  "box": _box,
}


def _normalized(parts):
  """Returns the arrays of a solid whose longest side is 1."""
  boxes, rounding, tube, ring = parts
  center = np.zeros((_BOXES, 3))
  half = np.full((_BOXES, 3), _ABSENT)
  extents = []
  for index, box in enumerate(boxes):
    center[index], half[index] = box
    extents.append((center[index] - half[index], center[index] + half[index]))
  tube_array = np.array([0.0, 0, 0, _ABSENT, _ABSENT, _ABSENT, 0])
  if tube is not None:
    tube_array = np.array(tube, float)
    reach = np.array([tube_array[3], tube_array[5], tube_array[3]])
    extents.append((tube_array[:3] - reach, tube_array[:3] + reach))
  ring_array = np.array([0.0, 0, 0, 0, 0, 1, 0, _ABSENT])
  if ring is not None:
    ring_array = np.array(ring, float)
    across = np.sqrt(np.maximum(0.0, 1 - ring_array[3:6] ** 2))
    reach = ring_array[6] * across + ring_array[7]
    extents.append((ring_array[:3] - reach, ring_array[:3] + reach))
  low = np.min([extent[0] for extent in extents], axis=0)
  high = np.max([extent[1] for extent in extents], axis=0)
  scale, middle = 1 / (high - low).max(), (low + high) / 2

  center = (center - middle) * scale
  half = np.where(half > 0, half * scale, half)
  tube_array[:3] = (tube_array[:3] - middle) * scale
  tube_array[3:] *= np.where(tube_array[3] > 0, scale, 1.0)
  ring_array[:3] = (ring_array[:3] - middle) * scale
  ring_array[6:] *= np.where(ring_array[7] > 0, scale, 1.0)
  return center, half, np.full(_BOXES, rounding * scale), tube_array, ring_array


def _cylinder(radius, height, outer, half):
  """Returns distances to a cylinder from distances to its axis and its middle."""
  q = jnp.stack([radius - outer, jnp.abs(height) - half], axis=-1)
  return jnp.minimum(jnp.max(q, axis=-1), 0.0) + _length(jnp.maximum(q, 0.0))


def _length(vectors):
  """Returns lengths whose gradient at 0 is 0."""
  squares = jnp.sum(jnp.square(vectors), axis=-1)
  is_positive = squares > 0
  return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, squares, 1.0)), 0.0)


def _unit(gradients):
  """Returns them 1 long: where parts meet, they are means of two."""
  return gradients / jnp.maximum(_length(gradients)[..., None], 1e-6)


def _look(azimuth, elevation):
  """Returns the rotation whose rows are a camera's right, up and backward axes."""
  sine, cosine = jnp.sin(azimuth), jnp.cos(azimuth)
  zero, one = jnp.zeros_like(sine), jnp.ones_like(sine)
  turn = jnp.array([[cosine, zero, -sine], [zero, one, zero], [sine, zero, cosine]])
  sine, cosine = np.sin(elevation), np.cos(elevation)
  tilt = jnp.array([[1.0, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
  return tilt @ turn


def mesh(solid: Solid, *, resolution: int = 72) -> tuple[np.ndarray, np.ndarray]:
  """Returns the vertices [V, 3] and faces [F, 3] of one solid.

  Args:
    solid: one.
    resolution: samples along each axis that its surface is taken from.
  """
  axis = np.linspace(-HALF, HALF, resolution, dtype=np.float32)
  grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
  many = jax.tree.map(lambda part: np.asarray(part)[None], solid)
  values = np.asarray(distances(many, grid.reshape(1, -1, 3))).reshape(grid.shape[:3])
  spacing = 2 * HALF / (resolution - 1)
  return marching_cubes(values, 0.0, origin=-HALF, spacing=spacing)
