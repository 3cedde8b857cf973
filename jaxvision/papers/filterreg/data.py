"""Stand-ins for the paper's clouds that need no download; metres throughout."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import scenes
from jaxvision.ops import kinematics, rigid
from jaxvision.papers.filterreg import articulated

SIZE = 0.15  # of the closed surface along its longest side

# The closed surface is an ellipsoid of these semi-axes, with a bump, or a dent, in each
# of the directions below: x, y, z (which need not be unit), height, sharpness.
_SEMI_AXES = np.array([1.1, 0.85, 1.0], np.float32)
_BUMPS = np.array(
  [
    [0.35, 0.15, 1.0, 1.0, 26.0],  # one ear
    [-0.45, -0.25, 0.9, 1.0, 30.0],  # the other, shorter
    [0.9, 0.2, 0.6, 0.45, 6.0],  # head
    [-1.0, -0.3, -0.2, 0.30, 9.0],  # tail
    [1.0, 0.45, -0.7, 0.35, 12.0],  # paws
    [-0.8, 0.65, -0.6, 0.45, 14.0],
    [0.75, -0.7, 0.1, -0.25, 6.0],  # a dent on one side
  ]
)
# A candidate is chosen in proportion to its area, among so many for each point.
_CANDIDATES = 6


class Trial(NamedTuple):
  """A registration problem.

  Attributes:
    model: [M, 3] points that move; those of the surface come first.
    observation: [N, 3].
    truth: [4, 4] of the model onto the observation.
    surface: [count, 3] the model without noise or outliers, to measure errors at.
  """

  model: chex.Array
  observation: chex.Array
  truth: chex.Array
  surface: chex.Array


def sample_surface(key: chex.PRNGKey, count: int) -> tuple[chex.Array, chex.Array]:
  """Returns points [count, 3] and outward normals, uniform on the closed surface."""
  direction_key, choice_key = jax.random.split(key)
  directions = jax.random.normal(direction_key, (_CANDIDATES * count, 3))
  directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
  radius = _radius(directions)
  gradient = jax.vmap(jax.grad(lambda x: jnp.linalg.norm(x) - _radius(x)))
  slopes = gradient(radius[:, None] * directions)
  steepness = jnp.linalg.norm(slopes, axis=1)
  # The area that an element of solid angle has on a star-shaped surface.
  area = jnp.square(radius) * steepness
  keys = jnp.log(area) + jax.random.gumbel(choice_key, area.shape)
  chosen = jax.lax.top_k(keys, count)[1]
  points = (radius[:, None] * directions)[chosen]
  return _scaled(points), slopes[chosen] / steepness[chosen, None]


def _radius(points):
  """Returns the surface's distance from the origin along [..., 3]."""
  axes = _BUMPS[:, :3] / np.linalg.norm(_BUMPS[:, :3], axis=1, keepdims=True)
  length = jnp.linalg.norm(points, axis=-1, keepdims=True)
  cosines = points / length @ axes.T.astype(np.float32)
  heights, sharpness = _BUMPS[:, 3].astype(np.float32), _BUMPS[:, 4].astype(np.float32)
  ellipsoid = 1 / jnp.linalg.norm(points / length / _SEMI_AXES, axis=-1)
  return ellipsoid + jnp.sum(heights * jnp.exp(sharpness * (cosines - 1)), axis=-1)


def _scaled(points):
  # The surface is about 3.1 units high, which is its longest side.
  return (points - jnp.array([0.0, 0.1, 0.35])) * (SIZE / 3.1)


def diameter(points: chex.Array) -> chex.Array:
  """Returns the diagonal of the bounding box of [N, 3]."""
  return jnp.linalg.norm(jnp.max(points, axis=0) - jnp.min(points, axis=0))


def corrupt(
  key: chex.PRNGKey, points: chex.Array, *, outliers: int, noise: chex.Numeric
) -> chex.Array:
  """Returns points with Gaussian noise, then outliers in 1.5 × their bounding box.

  Args:
    key: of the random numbers.
    points: [N, 3].
    outliers: number of them.
    noise: standard deviation in diameters of the cloud.
  """
  noise_key, outlier_key = jax.random.split(key)
  noisy = points + noise * diameter(points) * jax.random.normal(noise_key, points.shape)
  low, high = jnp.min(points, axis=0), jnp.max(points, axis=0)
  places = jax.random.uniform(outlier_key, (outliers, 3), minval=-0.75, maxval=0.75)
  return jnp.concatenate([noisy, (low + high) / 2 + (high - low) * places])


def random_motion(
  key: chex.PRNGKey,
  center: chex.Array,
  *,
  angle: chex.Numeric,
  shift: tuple[float, float],
) -> chex.Array:
  """Returns a turn [4, 4] about a random axis through `center`, and a random shift.

  Args:
    key: of the random numbers.
    center: [3].
    angle: radians.
    shift: shortest and longest way, metres.
  """
  axis_key, way_key, length_key = jax.random.split(key, 3)
  axis, way = (
    vector / jnp.linalg.norm(vector)
    for vector in (jax.random.normal(k, (3,)) for k in (axis_key, way_key))
  )
  rotation = rigid.exp_rotation(angle * axis)
  length = jax.random.uniform(length_key, minval=shift[0], maxval=shift[1])
  return rigid.transform(rotation, center - rotation @ center + length * way)


def rigid_trial(
  key: chex.PRNGKey,
  *,
  count: int = 3000,
  outliers: float = 0.0,
  noise: chex.Numeric = 0.0,
  degrees: float = 50.0,
  shift: tuple[float, float] = (0.02, 0.1),
  surface: chex.Array | None = None,
) -> Trial:
  """Returns two clouds of one surface, sampled independently, the second one moved.

  Args:
    key: of the random numbers.
    count: points of each.
    outliers: number added to both, in parts of `count`.
    noise: added to both, in diameters.
    degrees: of the turn.
    shift: shortest and longest way, metres.
    surface: [K, 3] points that both clouds have, instead of `count` of the built-in
      surface.
  """
  keys = jax.random.split(key, 5)
  if surface is None:
    model, observed = (sample_surface(k, count)[0] for k in keys[:2])
  else:
    model = observed = surface
  truth = random_motion(
    keys[2], jnp.mean(model, axis=0), angle=np.deg2rad(degrees), shift=shift
  )
  extra = round(outliers * model.shape[0])
  return Trial(
    model=corrupt(keys[3], model, outliers=extra, noise=noise),
    observation=corrupt(
      keys[4], rigid.apply(truth, observed), outliers=extra, noise=noise
    ),
    truth=truth,
    surface=model,
  )


def descriptors(
  key: chex.PRNGKey, points: chex.Array, noise: chex.Numeric
) -> chex.Array:
  """Returns unit descriptors [N, 3] of places on the surface, with noise.

  They stand for learned ones: smooth in the model's own frame, not quite unique, and
  not changed by motion.

  Args:
    key: of the noise alone.
    points: [N, 3] in the model's own frame.
    noise: standard deviation before they are made unit again.
  """
  waves = np.array([[21.0, 9.0, -13.0], [-11.0, 24.0, 8.0], [7.0, -15.0, 22.0]])
  smooth = jnp.sin(points @ waves.T.astype(np.float32) + jnp.array([0.3, 1.1, -0.6]))
  noisy = _unit(smooth) + noise * jax.random.normal(key, points.shape)
  return _unit(noisy)


def _unit(vectors):
  length = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
  return vectors / jnp.maximum(length, 1e-6)


def arm(
  key: chex.PRNGKey,
  *,
  joints: int = 7,
  points_per_link: int = 500,
  length: float = 0.12,
  radius: float = 0.02,
) -> articulated.Model:
  """Returns a chain of capsules whose joints turn about z and y by turns.

  Args:
    key: of the points.
    joints: J; each carries a link.
    points_per_link: on each capsule's surface.
    length: of a link, along its x axis.
    radius: of a capsule.
  """
  axes = jnp.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])[jnp.arange(joints) % 2]
  step = jnp.eye(4).at[0, 3].set(length)
  frames = jnp.tile(step, (joints, 1, 1)).at[0].set(jnp.eye(4))
  kinds = jnp.full(joints, kinematics.REVOLUTE, jnp.int32)
  tree = kinematics.serial_chain(kinds, axes, frames)
  bodies = jnp.repeat(jnp.arange(1, joints + 1, dtype=jnp.int32), points_per_link)
  points = _capsules(key, bodies.shape[0], length, radius)
  return articulated.Model(tree, points, bodies)


def _capsules(key, count, length, radius):
  """Returns points [count, 3], each on the surface of a capsule along x."""
  keys = jax.random.split(key, 2)
  directions = _unit(jax.random.normal(keys[0], (count, 3)))
  along = jax.random.uniform(keys[1], (count,), maxval=length + 2 * radius) - radius
  is_side = (along > 0) & (along < length)
  around = _unit(directions * jnp.array([0.0, 1.0, 1.0]))
  side = radius * around + along[:, None] * jnp.array([1.0, 0.0, 0.0])
  outwards = jnp.where(along > 0, 1.0, -1.0) * jnp.abs(directions[:, 0])
  cap = radius * directions.at[:, 0].set(outwards)
  cap = cap.at[:, 0].add(jnp.where(along > 0, length, 0.0))
  return jnp.where(is_side[:, None], side, cap)


def faces_camera(model: articulated.Model, bodies: chex.Array) -> chex.Array:
  """Returns [M] whether a capsule's points look up, to a camera far above.

  Args:
    model: an `arm`.
    bodies: [J + 1, 4, 4] of its bodies.
  """
  middle = model._replace(points=model.points * jnp.array([1.0, 0.0, 0.0]))
  outwards = articulated.place(model, bodies) - articulated.place(middle, bodies)
  return outwards[:, 2] > 0


def arm_sequence(
  key: chex.PRNGKey,
  model: articulated.Model,
  *,
  frames: int,
  step: float = 0.03,
  noise: float = 0.001,
  table: int = 1000,
) -> tuple[chex.Array, chex.Array]:
  """Returns joint positions [T, J] of a smooth motion and the clouds [T, N, 3] seen.

  A camera high above sees the side of the arm that faces it (what it does not see is
  NaN), with noise, and points of the table below.

  Args:
    key: of the random numbers.
    model: the arm; the observed points are drawn anew on the same capsules.
    frames: T.
    step: largest mean step of a joint in a frame, radians.
    noise: standard deviation in metres.
    table: number of points on it.
  """
  joints = model.tree.parents.shape[0]
  start_key, speed_key, frame_key = jax.random.split(key, 3)
  start = jax.random.uniform(start_key, (joints,), minval=-0.5, maxval=0.5)
  speed = jax.random.uniform(speed_key, (joints,), minval=-step, maxval=step)
  swing = jnp.sin(jnp.linspace(0, jnp.pi, frames))[:, None]
  positions = start + speed * jnp.arange(frames)[:, None] + 2 * step * swing

  def see(key, angles):
    keys = jax.random.split(key, 3)
    placed = kinematics.forward(model.tree, angles)
    own = jax.random.permutation(keys[0], model.points.shape[0])
    # Halfway to a neighbour on the same link is a new point of about that capsule.
    is_same = (model.bodies[own] == model.bodies)[:, None]
    fresh = jnp.where(is_same, 0.5 * (model.points[own] + model.points), model.points)
    sampled = model._replace(points=fresh)
    points = articulated.place(sampled, placed)
    points += noise * jax.random.normal(keys[1], points.shape)
    faces = faces_camera(sampled, placed)[:, None]
    places = jax.random.uniform(keys[2], (table, 3), minval=-0.6, maxval=0.8)
    return jnp.concatenate(
      [jnp.where(faces, points, jnp.nan), places.at[:, 2].set(-0.5)]
    )

  clouds = jax.vmap(see)(jax.random.split(frame_key, frames), positions)
  return positions, clouds


def sheet(columns: int = 40, rows: int = 24, spacing: float = 0.01) -> chex.Array:
  """Returns the points [rows · columns, 3] of a flat sheet, metres."""
  grid = jnp.meshgrid(jnp.arange(columns) * spacing, jnp.arange(rows) * spacing)
  flat = jnp.stack(grid, axis=-1).reshape(-1, 2)
  return jnp.concatenate([flat, jnp.zeros_like(flat[:, :1])], axis=1)


def bend(points: chex.Array, amount: chex.Numeric) -> chex.Array:
  """Returns a sheet's points [N, 3] bent to an arc along x and waved along y.

  Args:
    points: of `sheet`.
    amount: curvature of the arc in 1 / m; lengths along x are kept.
  """
  x, y, z = jnp.moveaxis(points, -1, 0)
  curvature = jnp.where(jnp.abs(amount) > 1e-6, amount, 1e-6)
  angle = curvature * (x - jnp.mean(x))
  wave = 0.004 * amount * jnp.sin(14 * y + 5 * x)
  return jnp.stack(
    [
      jnp.mean(x) + jnp.sin(angle) / curvature,
      y,
      z + (1 - jnp.cos(angle)) / curvature + wave,
    ],
    axis=-1,
  )


class View(NamedTuple):
  """What a depth camera sees.

  Attributes:
    points: [N, 3] in the camera's frame.
    normals: [N, 3] towards the camera, estimated from the depth image.
    pose: [4, 4] from the camera to the world.
  """

  points: chex.Array
  normals: chex.Array
  pose: chex.Array


def room_views(
  key: chex.PRNGKey, *, frames: int, count: int = 5000, noise: float = 0.0015
) -> View:
  """Returns views of a room with things in it from a camera on a path, stacked.

  Args:
    key: of the random numbers.
    frames: T.
    count: points kept of each depth image.
    noise: standard deviation of depth, in parts of its square (as triangulation has).
  """
  keys = jax.random.split(key, 4)
  scene = scenes.random_scene(keys[0], 10)
  camera = scenes.front_camera(96, 128, field_of_view=1.1)
  turns, ways = jax.random.normal(keys[1], (2, 3))
  steps = jnp.arange(frames, dtype=jnp.float32)
  sway = jnp.sin(0.35 * steps[:, None] + jnp.arange(3))

  def look(key, index, swing):
    turn = index * 0.06 * _unit(turns) + 0.04 * swing
    moved = scenes.moved_camera(camera, turn, index * 0.1 * _unit(ways) + 0.1 * swing)
    rendered = scenes.render(scene, moved)["depth"]
    noise_key, choice_key = jax.random.split(key)
    error = jax.random.normal(noise_key, rendered.shape)
    depth = rendered + noise * jnp.square(rendered) * error
    points, normals = back_project(depth, moved.intrinsics)
    chosen = jax.random.permutation(choice_key, points.shape[0])[:count]
    rotation, translation = moved.extrinsics[:, :3], moved.extrinsics[:, 3]
    pose = rigid.invert(rigid.transform(rotation, translation))
    return View(points[chosen], normals[chosen], pose)

  return jax.vmap(look)(jax.random.split(keys[2], frames), steps, sway)


def back_project(
  depth: chex.Array, intrinsics: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Returns the points and normals [H W, 3] of a depth image, NaN where there is none.

  Args:
    depth: [H, W] metres; not finite or not positive where nothing was seen.
    intrinsics: [3, 3].
  """
  chex.assert_rank(depth, 2)
  height, width = depth.shape
  column, row = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
  rays = jnp.stack(
    [
      (column - intrinsics[0, 2]) / intrinsics[0, 0],
      (row - intrinsics[1, 2]) / intrinsics[1, 1],
      jnp.ones_like(depth),
    ],
    axis=-1,
  )
  is_seen = jnp.isfinite(depth) & (depth > 0)
  points = rays * jnp.where(is_seen, depth, jnp.nan)[..., None]
  # Differences over four pixels are less noisy than those to the next.
  padded = jnp.pad(points, ((2, 2), (2, 2), (0, 0)), mode="edge")
  across = padded[2:-2, 4:] - padded[2:-2, :-4]
  down = padded[4:, 2:-2] - padded[:-4, 2:-2]
  normals = _unit(jnp.cross(down, across))
  away = jnp.sum(normals * points, axis=-1, keepdims=True) > 0
  normals = jnp.where(away, -normals, normals)
  return points.reshape(-1, 3), normals.reshape(-1, 3)
