"""Procedural scenes with exact ground truth, by casting rays at closed-form surfaces.

Boxes, ellipsoids and rectangles float in a room that holds the cameras too. Each has a
solid texture that moves with it, and shading painted on, so that a point keeps its
colour wherever it goes. Everything is a pure function of arrays: it jits, and it vmaps
over scenes and cameras.

World and camera axes are x right, y down, z forward, in metres. The centre of pixel
[row, column] is at (x, y) = (column, row).
"""

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxvision.data import textures

ROOM, RECTANGLE, BOX, ELLIPSOID = range(4)  # kinds, which are also the categories

_NEAREST = 1e-3  # metres in front of the camera
_HIDDEN = 1e-3  # relative difference of depths that makes a point hidden


@flax.struct.dataclass
class Scene:
  """N solids; the first is the room, which is seen from inside.

  Attributes:
    kind: [N] int32, ROOM, RECTANGLE, BOX or ELLIPSOID.
    half_size: [N, 3] half of the extent along the solid's axes (semi-axes of an
      ellipsoid; a rectangle has its first two).
    rotation: [N, 3, 3] from the solid's frame to the world's.
    center: [N, 3] in the world.
    light: [N, 3] unit vector towards the light (for the room, away from it), in the
      solid's frame.
    colors: [N, 2, 3] RGB in [0, 1], between which the texture mixes.
    family, frequency, direction, seed: of the texture, see `textures.solid_texture`.
  """

  kind: jax.Array
  half_size: jax.Array
  rotation: jax.Array
  center: jax.Array
  light: jax.Array
  colors: jax.Array
  family: jax.Array
  frequency: jax.Array
  direction: jax.Array
  seed: jax.Array


@flax.struct.dataclass
class Camera:
  """A pinhole camera.

  Attributes:
    intrinsics: [3, 3] with focal lengths and principal point in pixels.
    extrinsics: [3, 4] from world to camera: x_camera = R x_world + t.
    height, width: of the image in pixels.
  """

  intrinsics: jax.Array
  extrinsics: jax.Array
  height: int = flax.struct.field(pytree_node=False)
  width: int = flax.struct.field(pytree_node=False)


def front_camera(height: int, width: int, *, field_of_view: float = 0.9) -> Camera:
  """Returns a camera at the origin that looks along z.

  Args:
    height: of the image in pixels.
    width: of the image in pixels.
    field_of_view: horizontal angle in radians.
  """
  focal = width / 2 / jnp.tan(field_of_view / 2)
  intrinsics = jnp.array(
    [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
  )
  return Camera(
    intrinsics=intrinsics, extrinsics=jnp.eye(3, 4), height=height, width=width
  )


def moved_camera(camera: Camera, turn: chex.Array, shift: chex.Array) -> Camera:
  """Returns the camera after a motion given in its own frame.

  Args:
    camera: where it was.
    turn: [3] rotation vector, small angles in radians.
    shift: [3] metres; (b, 0, 0) gives the right camera of a stereo pair of baseline b.
  """
  chex.assert_shape([turn, shift], (3,))
  old_from_new = _rotation(turn)
  shifted = camera.extrinsics.at[:, 3].add(-shift)
  return camera.replace(extrinsics=old_from_new.T @ shifted)


def random_scene(key: chex.PRNGKey, num_objects: int = 8) -> Scene:
  """Returns a room with objects in front of a `front_camera`, 3 to 8 metres away."""
  keys = iter(jax.random.split(key, 16))
  count = num_objects + 1

  def uniform(low, high, *shape):
    return jax.random.uniform(next(keys), (count, *shape), minval=low, maxval=high)

  def room_or(room, objects):
    return objects.at[0].set(jnp.array(room, objects.dtype))

  kind = jax.random.randint(next(keys), (count,), RECTANGLE, ELLIPSOID + 1)
  depth = uniform(3.0, 8.0)
  # Spread over a frustum a little wider than the camera's.
  sideways = uniform(-0.5, 0.5, 2) * depth[:, None] * jnp.array([1.0, 0.75])
  rotation = room_or(jnp.eye(3), jax.vmap(_rotation)(uniform(-0.9, 0.9, 3)))
  hue, other_hue = uniform(0.0, 1.0), uniform(0.3, 0.7)
  bright, dark = uniform(0.7, 1.0), uniform(0.15, 0.5)
  vivid = room_or(0.25, uniform(0.4, 0.95))
  colors = jnp.stack(
    [_color(hue, vivid, bright), _color(hue + other_hue, vivid, dark)], axis=1
  )
  direction = jax.random.normal(next(keys), (count, 3))
  # From the upper left behind the camera; the room's normals point outwards.
  light = (jnp.array([-0.48, -0.64, -0.6]) @ rotation).at[0].multiply(-1.0)
  return Scene(
    kind=room_or(ROOM, kind),
    half_size=room_or([6.0, 4.0, 8.0], uniform(0.35, 1.0, 3)),
    rotation=rotation,
    center=room_or([0.0, 0.0, 4.0], jnp.concatenate([sideways, depth[:, None]], 1)),
    light=light,
    colors=colors,
    family=jax.random.randint(next(keys), (count,), 0, textures.FAMILIES),
    frequency=room_or(0.8, uniform(1.5, 5.0)),
    direction=direction / jnp.linalg.norm(direction, axis=-1, keepdims=True),
    seed=jax.random.bits(next(keys), (count,), jnp.uint32),
  )


def random_motion(
  key: chex.PRNGKey, scene: Scene, *, turn: float = 0.1, shift: float = 0.15
) -> Scene:
  """Returns the scene after each object, but not the room, has moved rigidly.

  Args:
    key: of the random numbers.
    scene: where the objects were.
    turn: largest rotation about each axis in radians.
    shift: largest translation along each axis in metres.
  """
  turns, shifts = jax.random.uniform(key, (2, *scene.center.shape), minval=-1.0)
  moves = (scene.kind != ROOM)[:, None]
  rotations = jax.vmap(_rotation)(moves * turn * turns)
  return scene.replace(
    rotation=rotations @ scene.rotation, center=scene.center + moves * shift * shifts
  )


def render(
  scene: Scene, camera: Camera, *, supersampling: int = 1
) -> dict[str, jax.Array]:
  """Returns the image of a scene with its ground truth at the centres of pixels.

  Args:
    scene: what is seen.
    camera: what sees it.
    supersampling: rays along each side of a pixel that the image averages; the ground
      truth always belongs to the one through the centre.

  Returns:
    see `trace`, with [H, W] in front.
  """
  pixels = _pixels(camera)
  truth = trace(scene, camera, pixels)
  if supersampling > 1:
    steps = (jnp.arange(supersampling) + 0.5) / supersampling - 0.5
    offsets = jnp.stack(jnp.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    samples = jax.lax.map(
      lambda offset: trace(scene, camera, pixels + offset)["image"], offsets
    )
    truth["image"] = samples.mean(axis=0)
  return truth


def trace(scene: Scene, camera: Camera, pixels: chex.Array) -> dict[str, jax.Array]:
  """Returns what is seen through points of the image plane.

  Args:
    scene: what is seen.
    camera: what sees it.
    pixels: [..., 2] x and y in pixels, inside the image or not.

  Returns:
    "image": [..., 3] RGB in [0, 1].
    "depth": [...] z in the camera's frame, in metres.
    "normal": [..., 3] unit normal in the world, towards the camera.
    "instance": [...] int32 index of the solid, 0 for the room.
    "category": [...] int32 kind of the solid.
  """
  chex.assert_axis_dimension(pixels, -1, 2)
  chex.assert_type(pixels, float)
  rotation, translation = camera.extrinsics[:, :3], camera.extrinsics[:, 3]
  origin = -translation @ rotation
  direction = _unproject(camera, pixels) @ rotation

  depths = jax.vmap(_depth, in_axes=(0, 0, 0, 0, None, None))(
    scene.kind, scene.half_size, scene.rotation, scene.center, origin, direction
  )
  instance = jnp.argmin(depths, axis=0).astype(jnp.int32)
  depth = jnp.min(depths, axis=0)
  solid = jax.tree.map(lambda leaf: leaf[instance], scene)

  point = _to_solid(solid, origin + depth[..., None] * direction)
  normal = _normal(solid.kind, solid.half_size, point)
  outwards = jnp.einsum("...ij,...j->...i", solid.rotation, normal)
  away = jnp.sum(outwards * direction, axis=-1, keepdims=True) > 0
  return {
    "image": _shade(solid, point, normal),
    "depth": depth,
    "normal": jnp.where(away, -outwards, outwards),
    "instance": instance,
    "category": solid.kind,
  }


def flow(
  scene_a: Scene, camera_a: Camera, scene_b: Scene, camera_b: Camera
) -> dict[str, jax.Array]:
  """Returns the optical flow from one view to another of the same, moved, solids.

  Returns:
    "flow": [H, W, 2] pixels, right and down, from each centre of a pixel of `camera_a`
      to where `camera_b` would see the same point of the same solid.
    "occluded": [H, W] bool, that point is hidden in b, by another solid or its own.
    "outside": [H, W] bool, it is outside b's image, or behind the camera.
  """
  pixels = _pixels(camera_a)
  seen = trace(scene_a, camera_a, pixels)
  rotation, translation = camera_a.extrinsics[:, :3], camera_a.extrinsics[:, 3]
  in_camera = _unproject(camera_a, pixels) * seen["depth"][..., None]
  in_world = (in_camera - translation) @ rotation

  before = jax.tree.map(lambda leaf: leaf[seen["instance"]], scene_a)
  after = jax.tree.map(lambda leaf: leaf[seen["instance"]], scene_b)
  in_solid = _to_solid(before, in_world)
  in_world = jnp.einsum("...ij,...j->...i", after.rotation, in_solid) + after.center
  in_camera = in_world @ camera_b.extrinsics[:, :3].T + camera_b.extrinsics[:, 3]
  depth = in_camera[..., 2]
  behind = depth < _NEAREST
  projected = in_camera @ camera_b.intrinsics.T
  target = projected[..., :2] / jnp.where(behind, 1.0, depth)[..., None]

  limit = jnp.array([camera_b.width, camera_b.height]) - 0.5
  inside = jnp.all((target >= -0.5) & (target <= limit), axis=-1) & ~behind
  nearest = trace(scene_b, camera_b, target)["depth"]
  return {
    "flow": target - pixels,
    "occluded": ~behind & (nearest < depth * (1 - _HIDDEN)),
    "outside": ~inside,
  }


def disparity(depth: chex.Array, camera: Camera, baseline: float) -> jax.Array:
  """Returns the disparity f·b/z between a camera and one to the right of it.

  Args:
    depth: [...] z in the left camera's frame, in metres.
    camera: the left one; the right one is `moved_camera(camera, zeros, (b, 0, 0))`.
    baseline: b in metres.

  Returns:
    [...] pixels: what the left camera sees at x the right one sees at x - disparity.
  """
  return camera.intrinsics[0, 0] * baseline / depth


def _pixels(camera: Camera) -> jax.Array:
  """Returns [H, W, 2] the centres of pixels as x and y."""
  grid = jnp.meshgrid(jnp.arange(camera.width), jnp.arange(camera.height))
  return jnp.stack(grid, axis=-1).astype(jnp.float32)


def _unproject(camera: Camera, pixels: chex.Array) -> jax.Array:
  """Returns [..., 3] points of depth 1 in the camera's frame."""
  homogeneous = jnp.concatenate([pixels, jnp.ones_like(pixels[..., :1])], axis=-1)
  return homogeneous @ jnp.linalg.inv(camera.intrinsics).T


def _depth(
  kind: chex.Array,
  half_size: chex.Array,
  rotation: chex.Array,
  center: chex.Array,
  origin: chex.Array,
  direction: chex.Array,
) -> jax.Array:
  """Returns how many times `direction` it is to a solid, inf where it is missed."""
  start = (origin - center) @ rotation
  ray = direction @ rotation
  ray = jnp.where(
    jnp.abs(ray) < 1e-9, 1e-9, ray
  )  # parallel to a face: no division by 0

  to_plane = -start[2] / ray[..., 2]
  across = start[:2] + to_plane[..., None] * ray[..., :2]
  rectangle = jnp.where(
    jnp.all(jnp.abs(across) <= half_size[:2], axis=-1), to_plane, jnp.inf
  )

  to_faces = (jnp.stack([-half_size, half_size])[:, None] - start) / ray.reshape(-1, 3)
  to_faces = to_faces.reshape(2, *ray.shape)
  enter = to_faces.min(axis=0).max(axis=-1)
  leave = to_faces.max(axis=0).min(axis=-1)
  box = jnp.where(enter <= leave, enter, jnp.inf)

  # The ellipsoid is the unit sphere of coordinates divided by its semi-axes.
  start, ray = start / half_size, ray / half_size
  squared = jnp.sum(ray * ray, axis=-1)
  along = ray @ start
  discriminant = along**2 - squared * (start @ start - 1)
  root = jnp.sqrt(jnp.maximum(discriminant, 0.0))
  ellipsoid = jnp.where(discriminant > 0, (-along - root) / squared, jnp.inf)

  depth = jnp.stack([leave, rectangle, box, ellipsoid])[kind]
  return jnp.where(depth > _NEAREST, depth, jnp.inf)


def _to_solid(solid: Scene, points: chex.Array) -> jax.Array:
  """Returns [..., 3] points of the world in the frame of the solid of each."""
  return jnp.einsum("...ji,...j->...i", solid.rotation, points - solid.center)


def _normal(kind: chex.Array, half_size: chex.Array, point: chex.Array) -> jax.Array:
  """Returns [..., 3] outward unit normals at points of surfaces, in their frames."""
  front = jnp.broadcast_to(jnp.array([0.0, 0.0, -1.0]), point.shape)
  relative = point / half_size
  face = jax.nn.one_hot(jnp.argmax(jnp.abs(relative), axis=-1), 3)
  gradient = relative / half_size
  ellipsoid = gradient / jnp.linalg.norm(gradient, axis=-1, keepdims=True)
  kind = kind[..., None]
  return jnp.select(
    [kind == RECTANGLE, kind == ELLIPSOID],
    [front, ellipsoid],
    face * jnp.sign(relative),
  )


def _shade(solid: Scene, point: chex.Array, normal: chex.Array) -> jax.Array:
  """Returns [..., 3] RGB of points, of which each has its solid."""
  texture = textures.solid_texture(
    point, solid.family, solid.frequency, solid.direction, solid.seed
  )[..., None]
  albedo = solid.colors[..., 0, :] * texture + solid.colors[..., 1, :] * (1 - texture)
  # Fine grain everywhere: no surface is without structure.
  grain = textures.value_noise(
    point * (4 * solid.frequency)[..., None], solid.seed + jnp.uint32(17)
  )[..., None]
  lit = 0.5 + 0.5 * jnp.sum(normal * solid.light, axis=-1, keepdims=True)
  return jnp.clip(albedo * (0.85 + 0.3 * grain) * (0.5 + 0.6 * lit), 0, 1)


def _rotation(vector: chex.Array) -> jax.Array:
  """Returns [3, 3] the rotation about `vector` by twice atan of half its length."""
  w, (x, y, z) = 2.0, vector
  squared = w * w + x * x + y * y + z * z
  matrix = jnp.array(
    [
      [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
      [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
      [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
  )
  return matrix / squared


def _color(hue: chex.Array, vivid: chex.Array, brightness: chex.Array) -> jax.Array:
  """Returns [..., 3] RGB from hue in turns, saturation and brightness in [0, 1]."""
  phase = 2 * jnp.pi * (hue[..., None] + jnp.arange(3) / 3)
  wheel = 0.5 + 0.5 * jnp.cos(phase)
  return brightness[..., None] * (1 - vivid[..., None] * (1 - wheel))
