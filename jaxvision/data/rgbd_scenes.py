"""Pairs of rendered RGB-D views with the camera's exact motion between them.

Noisy sensors look at a textured wall with spheres and boxes before it, some of which
move by themselves. Everything is a pure function of a key; see `scenes` for what is
rendered, in which axes and units.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import scenes, textures
from jaxvision.ops import hsv, rigid

FIELD_OF_VIEW = 1.095  # radians, horizontal: focal length 0.82 times the width
MOST_OBJECTS = 4
LARGEST_TURN = 6 * np.pi / 180  # radians, of the camera
LARGEST_SHIFT = 0.12  # metres, of the camera
OBJECT_TURN, OBJECT_SHIFT = 0.1, 0.1  # about and along each axis
LEAST_MOTION = 0.3  # of the largest
SUPERSAMPLING = 2

_CHUNK = 8


def random_scene(key: chex.PRNGKey) -> scenes.Scene:
  """Returns a wall 3 to 4.5 metres away with two to four objects before it."""
  count = MOST_OBJECTS + 1
  # One draw for everything: every further one would take longer to compile.
  uniform = iter(jax.random.uniform(key, (24, count)))

  def between(low, high, columns=None):
    """Returns [count] numbers, or [count, columns]."""
    if columns is None:
      return low + (high - low) * next(uniform)
    return jnp.stack([between(low, high) for _ in range(columns)], axis=-1)

  def wall_or(wall, objects):
    return objects.at[0].set(jnp.asarray(wall, objects.dtype))

  kind = jnp.where(between(0, 1) < 0.5, scenes.BOX, scenes.ELLIPSOID)
  objects = jnp.floor(between(2, count)[0])
  depth = between(1.2, 2.5)
  sideways = between(-0.45, 0.45, 2) * depth[:, None] * jnp.array([1.0, 0.75])
  # What should not be seen is behind the camera, beyond the room.
  depth = jnp.where(jnp.arange(count) <= objects, depth, -50.0)
  center = jnp.concatenate([sideways, depth[:, None]], axis=1)
  radius = between(0.2, 0.45)[:, None] * jnp.ones(3)
  rotation = wall_or(jnp.eye(3), rigid.exp_rotation(between(-0.9, 0.9, 3)))
  hue = between(0, 1)
  bright, dark = between(0.7, 1), between(0.15, 0.5)
  vivid = wall_or(0.25, between(0.4, 0.95))
  other = (hue + between(0.3, 0.7)) % 1.0
  colors = jnp.stack(
    [jnp.stack([hue, vivid, bright], -1), jnp.stack([other, vivid, dark], -1)], axis=1
  )
  # From the upper left behind the camera; the room's normals point outwards.
  light = (jnp.array([-0.48, -0.64, -0.6]) @ rotation).at[0].multiply(-1.0)
  return scenes.Scene(
    kind=wall_or(scenes.ROOM, kind.astype(jnp.int32)),
    half_size=wall_or([6.0, 4.0, 6.0], radius),
    rotation=rotation,
    center=wall_or(jnp.array([0.0, 0.0, 1.0]) * (between(3, 4.5)[0] - 6.0), center),
    light=light,
    colors=hsv.hsv_to_rgb(colors),
    family=jnp.full((count,), textures.NOISE),
    frequency=wall_or(between(1, 2)[0], between(1.5, 5)),
    direction=rotation[:, 2],
    seed=(between(0, 1) * 2**24).astype(jnp.uint32),
  )


def random_pair(
  key: chex.PRNGKey, height: int, width: int, **options
) -> dict[str, jax.Array]:
  """Returns two views of a random scene by a moving camera.

  The same key gives the same scene, motion and sensor noise, whatever else is chosen.

  Args:
    key: of all that is random.
    height: of the views in pixels.
    width: of the views in pixels.
    options: of `random_motion` and `sense`.

  Returns:
    "image0", "image1": [H, W, 3] in [0, 1]; "depth0", "depth1": [H, W] metres;
    "intrinsics": [4] fx, fy, cx, cy in pixels; "pose": [4, 4] from the first camera to
    the second, X_1 = R X_0 + t.
  """
  moving = options.pop("moving", True)
  motion_key, sensor_key = jax.random.split(key)
  views = random_motion(motion_key, height, width, moving=moving)
  return _sense_pair(sensor_key, views, jax.lax.map(_render, views), options)


def random_pairs(
  seed: int, count: int, height: int, width: int, **options
) -> dict[str, np.ndarray]:
  """Returns [count, ...] arrays of `random_pair`, in memory.

  Args:
    seed: of the pairs; pair i depends on (seed, i) alone.
    count: number of pairs.
    height: of the views in pixels.
    width: of the views in pixels.
    options: of `random_motion` and `sense`.
  """
  moving = options.pop("moving", True)
  options = {"lighting": True, "depth_noise": 0.01, "missing": 0.05} | options
  draw, sense_pairs = _compiled(height, width)
  root = jax.random.key(seed)
  keys = jax.vmap(functools.partial(jax.random.fold_in, root))(
    jnp.arange(-(-count // _CHUNK) * _CHUNK)
  )
  motion_keys, sensor_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
  chunks = []
  for start in range(0, count, _CHUNK):  # one compilation for any count
    chunk = slice(start, start + _CHUNK)
    views = draw(motion_keys[chunk], float(moving))
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), views)
    seen = jax.tree.map(
      lambda leaf: leaf.reshape(_CHUNK, 2, *leaf.shape[1:]), _render_all(flat)
    )
    pairs = sense_pairs(sensor_keys[chunk], views, seen, options)
    chunks.append(jax.device_get(pairs))
  return {
    name: np.concatenate([chunk[name] for chunk in chunks])[:count]
    for name in chunks[0]
  }


def random_motion(
  key: chex.PRNGKey, height: int, width: int, *, moving: bool = True
) -> tuple[scenes.Scene, scenes.Camera]:
  """Returns a scene and the camera before it, before and after both have moved.

  Args:
    key: of all that is random.
    height: of the views in pixels.
    width: of the views in pixels.
    moving: whether every other object moves by itself.

  Returns:
    a Scene and a Camera with a leading axis of 2.
  """
  scene_key, move_key, who_key, size_key, way_key = jax.random.split(key, 5)
  scene = random_scene(scene_key)
  camera = scenes.front_camera(height, width, field_of_view=FIELD_OF_VIEW)
  sizes = jax.random.uniform(size_key, (2, 1), minval=LEAST_MOTION)
  ways = jax.random.normal(way_key, (2, 3))
  ways /= jnp.linalg.norm(ways, axis=-1, keepdims=True)
  turn, shift = ways * sizes * jnp.array([[LARGEST_TURN], [LARGEST_SHIFT]])
  moved_camera = scenes.moved_camera(camera, turn, shift)
  moved = scenes.random_motion(move_key, scene, turn=OBJECT_TURN, shift=OBJECT_SHIFT)
  moves = jax.random.bernoulli(who_key, 0.5 * moving, scene.kind.shape)

  def choose(new, old):
    return jnp.where(moves.reshape(-1, *[1] * (old.ndim - 1)), new, old)

  moved = jax.tree.map(choose, moved, scene)

  def stack(*leaves):
    return jnp.stack(leaves)

  return jax.tree.map(stack, scene, moved), jax.tree.map(stack, camera, moved_camera)


def sense(
  key: chex.PRNGKey,
  images: chex.Array,
  depths: chex.Array,
  *,
  lighting: bool = True,
  depth_noise: float = 0.01,
  missing: float = 0.05,
) -> tuple[jax.Array, jax.Array]:
  """Returns what an RGB-D sensor makes of two views.

  Args:
    key: of all that is random.
    images: [2, H, W, 3] in [0, 1].
    depths: [2, H, W] metres.
    lighting: whether gamma and the gain of each colour change between the views.
    depth_noise: deviation of a measured depth, as a share of it.
    missing: share of the depths that are not measured, and given as 0.

  Returns:
    images [2, H, W, 3] and depths [2, H, W].
  """
  light_key, noise_key, missing_key = jax.random.split(key, 3)
  gamma, *gains = lighting * jax.random.uniform(light_key, (4,), minval=-1.0)
  second = images[1] ** (1.25**gamma) * (1 + 0.15 * jnp.stack(gains))
  noise = jax.random.normal(noise_key, depths.shape)
  lost = jax.random.bernoulli(missing_key, missing, depths.shape)
  depths = jnp.where(lost, 0.0, depths * (1 + depth_noise * noise))
  return jnp.stack([images[0], jnp.clip(second, 0, 1)]), depths


def _render(view):
  truth = scenes.render(*view, supersampling=SUPERSAMPLING)
  return truth["image"], truth["depth"]


def _sense_pair(key, views, seen, options):
  """Returns the pair that a sensor makes of what is seen of two views."""
  images, depths = sense(key, *seen, **options)
  extrinsics, matrix = views[1].extrinsics[1], views[1].intrinsics[0]
  last = jnp.array([[0.0, 0.0, 0.0, 1.0]])
  return {
    "image0": images[0],
    "image1": images[1],
    "depth0": depths[0],
    "depth1": depths[1],
    "intrinsics": matrix[jnp.array([0, 1, 0, 1]), jnp.array([0, 1, 2, 2])],
    "pose": jnp.concatenate([extrinsics, last]),
  }


@functools.cache
def _compiled(height, width):
  """Returns what comes before and after rendering, for many pairs at once.

  Random numbers compile slowly and are drawn once: it is not worth optimising them.
  """

  def draw(key, moving):
    return random_motion(key, height, width, moving=moving)

  is_cpu = jax.default_backend() == "cpu"
  quick = {"xla_backend_optimization_level": 0} if is_cpu else {}
  return (
    jax.jit(jax.vmap(draw, in_axes=(0, None)), compiler_options=quick),
    jax.jit(jax.vmap(_sense_pair, in_axes=(0, 0, 0, None)), compiler_options=quick),
  )


@jax.jit
def _render_all(views):
  return jax.lax.map(_render, views)
