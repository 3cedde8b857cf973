"""Procedural scenes of flat textured cards, rendered exactly from any pose.

Cards of several shapes float before an endless background. What a card hides is known,
since each is drawn whole: a ray meets the plane of every card in closed form, and the
hits are composited by their depth. Pure functions of arrays: they jit and vmap.

World and camera axes are x right, y down, z forward. The centre of pixel [row, column]
is at (x, y) = (column, row).
"""

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import photographs, textures
from jaxvision.ops.homography import invert_intrinsics
from jaxvision.ops.sampling import bilinear
from jaxvision.ops.view_synthesis import pixel_grid

ENDLESS, ELLIPSE, POLYGON, FENCE = range(4)  # shapes
GRATING, NOISE, PHOTOGRAPH = range(3)  # textures

TILE = 64  # side of a photograph in an atlas, pixels
TRAINING_PHOTOGRAPHS = ("astronaut", "china", "coffee", "hubble", "tissue")
TEST_PHOTOGRAPHS = ("chelsea", "flower", "motorcycle", "retina", "rocket")


@flax.struct.dataclass
class Scene:
  """L cards; the first is the background.

  Attributes:
    plane: [L, 3] n of the plane n · X = 1, in the world.
    shape: [L] int32, ENDLESS, ELLIPSE, POLYGON or FENCE.
    center: [L, 2] x and y in the world.
    half_size: [L, 2] along the card's own axes, in the unit of the world.
    angle: [L] of these axes, radians.
    sides: [L] int32 of a polygon; bars of a fence.
    texture: [L] int32, GRATING, NOISE or PHOTOGRAPH.
    frequency: [L] cells (of a photograph: pixels) a unit of the world.
    colors: [L, 2, 3] in [0, 1], between which gratings and noise mix.
    seed: [L] uint32; of a photograph it says which.
  """

  plane: jax.Array
  shape: jax.Array
  center: jax.Array
  half_size: jax.Array
  angle: jax.Array
  sides: jax.Array
  texture: jax.Array
  frequency: jax.Array
  colors: jax.Array
  seed: jax.Array


def photograph_atlas(names: tuple[str, ...]) -> np.ndarray:
  """Returns photographs of scikit-image and scikit-learn as [N, TILE, TILE, 3] float32.

  Raises:
    UserError: they are not installed.
  """
  found = photographs.photographs()
  tiles = []
  for name in names:
    image = found[name].astype(np.float32) / 255
    side = min(image.shape[:2]) // TILE * TILE
    top, left = ((n - side) // 2 for n in image.shape[:2])
    crop = image[top : top + side, left : left + side]
    cell = side // TILE
    tiles.append(crop.reshape(TILE, cell, TILE, cell, 3).mean(axis=(1, 3)))
  return np.stack(tiles)


def random_scene(
  key: chex.PRNGKey,
  *,
  cards: int = 5,
  near: float = 2.0,
  far: float = 20.0,
  pixels: float = 1.0,
  aspect: float = 1.0,
  tilt: float = 0.1,
) -> Scene:
  """Returns cards before a camera at the origin, whose field is 1 x aspect at depth 1.

  Args:
    key: random key.
    cards: number of them, beside the background.
    near: depth before which there is nothing.
    far: depth behind which there is nothing, but for the tilt of the background.
    pixels: focal length in pixels, by which textures are as fine as can be seen.
    aspect: height of the field by its width.
    tilt: largest slope of a card's depth.
  """
  keys = iter(jax.random.split(key, 16))
  count = cards + 1

  def uniform(low, high, *shape):
    return jax.random.uniform(next(keys), (count, *shape), minval=low, maxval=high)

  # Uniform in disparity, as planes are; the background is the farthest.
  disparity = uniform(1.15 / far, 0.92 / near)
  disparity = disparity.at[0].set(1.3 / far)
  depth = 1 / disparity
  slope = uniform(-tilt, tilt, 2).at[0].multiply(0.2)
  # 1 / z = d (1 - s · (x, y) / z + ...): a plane through the centre, little tilted.
  center = uniform(-0.6, 0.6, 2) * jnp.array([1.0, aspect]) * depth[:, None]
  normal = jnp.concatenate([-slope, jnp.ones((count, 1))], axis=-1)
  through = jnp.concatenate([center, depth[:, None]], axis=-1)
  plane = normal / jnp.sum(normal * through, axis=-1, keepdims=True)
  shape = jax.random.randint(next(keys), (count,), ELLIPSE, FENCE + 1)
  texture = jax.random.choice(
    next(keys), jnp.array([GRATING, NOISE, PHOTOGRAPH, PHOTOGRAPH]), (count,)
  )
  # Pixels a cell, where the camera is at the origin; a grating's period is longer than
  # what a narrow baseline moves it by, so that two views do not match at many depths.
  bars, cells, magnified = uniform(9.0, 20.0), uniform(4.0, 9.0), uniform(1.0, 2.0)
  fine = 1 / jnp.select(
    [texture == GRATING, texture == NOISE], [bars, cells], magnified
  )
  return Scene(
    plane=plane,
    shape=shape.at[0].set(ENDLESS),
    center=center,
    half_size=uniform(0.15, 0.35, 2) * depth[:, None],
    angle=uniform(-0.6, 0.6),
    sides=jax.random.randint(next(keys), (count,), 3, 7),
    texture=texture,
    frequency=fine * pixels * disparity,
    colors=uniform(0.0, 1.0, 2, 3),
    seed=jax.random.bits(next(keys), (count,), jnp.uint32),
  )


def render(
  scene: Scene,
  pose: chex.Array,
  intrinsics: chex.Array,
  atlas: chex.Array,
  shape: tuple[int, int],
  *,
  samples: int = 2,
) -> tuple[chex.Array, chex.Array]:
  """Returns what a camera sees.

  Args:
    scene: the cards.
    pose: [4, 4] from the world to the camera.
    intrinsics: [3, 3].
    atlas: [N, TILE, TILE, 3], see `photograph_atlas`.
    shape: height and width in pixels.
    samples: rays along each side of a pixel, whose colours are averaged.

  Returns:
    [H, W, 3] in [0, 1], and [H, W] the smallest depth of an opaque card along the ray
    through the pixel's first sample.
  """
  height, width = shape
  offsets = (jnp.arange(samples) + 0.5) / samples - 0.5
  pixels = pixel_grid(height, width)[:, :, None, None]
  pixels = pixels + jnp.stack(jnp.meshgrid(offsets, offsets), axis=-1)
  ones = jnp.ones((*pixels.shape[:-1], 1))
  inverse = pose[:3, :3].T @ invert_intrinsics(intrinsics)
  rays = jnp.concatenate([pixels, ones], axis=-1) @ inverse.T
  origin = -pose[:3, :3].T @ pose[:3, 3]
  colors, alphas, depths = jax.vmap(
    lambda card: _card(card, origin, rays, intrinsics[0, 0], atlas)
  )(scene)
  order = jnp.argsort(-depths, axis=0)
  colors = jnp.take_along_axis(colors, order[..., None], axis=0)
  sorted_alphas = jnp.take_along_axis(alphas, order, axis=0)

  def add(behind, card):
    color, alpha = card
    return color * alpha[..., None] + behind * (1 - alpha[..., None]), None

  image, _ = jax.lax.scan(add, jnp.zeros_like(colors[0]), (colors, sorted_alphas))
  nearest = jnp.min(jnp.where(alphas > 0.5, depths, jnp.inf), axis=0)
  return jnp.clip(jnp.mean(image, axis=(2, 3)), 0, 1), nearest[:, :, 0, 0]


def _card(card, origin, rays, focal, atlas):
  """Returns colours, opacities and depths of one card along rays [..., 3]."""
  approach = jnp.sum(rays * card.plane, axis=-1)
  safe = jnp.where(jnp.abs(approach) < 1e-6, 1e-6, approach)
  depth = (1 - card.plane @ origin) / safe
  is_ahead = depth > 1e-3
  depth = jnp.where(is_ahead, depth, 1e6)
  place = (origin + depth[..., None] * rays)[..., :2] - card.center
  cosine, sine = jnp.cos(card.angle), jnp.sin(card.angle)
  place = place @ jnp.array([[cosine, -sine], [sine, cosine]])
  # The edge is as wide as a sample of a pixel.
  edge = depth / focal / 2
  inside = _inside(card, place)
  alpha = jnp.clip(0.5 + inside / edge, 0, 1)
  alpha = jnp.where(is_ahead, alpha, 0.0)
  return _color(card, place * card.frequency, atlas), alpha, depth


def _inside(card, place):
  """Returns about how far inside a card points are, negative outside."""
  x, y = jnp.moveaxis(place, -1, 0)
  half_x, half_y = card.half_size
  smaller = jnp.minimum(half_x, half_y)
  radius = jnp.sqrt(jnp.square(x / half_x) + jnp.square(y / half_y) + 1e-12)
  ellipse = (1 - radius) * smaller
  wedge = 2 * jnp.pi / card.sides
  around = jnp.mod(jnp.arctan2(y / half_y, x / half_x + 1e-9), wedge) - wedge / 2
  polygon = (jnp.cos(wedge / 2) - radius * jnp.cos(around)) * smaller
  box = jnp.minimum(half_x - jnp.abs(x), half_y - jnp.abs(y))
  gap = 2 * half_x / card.sides
  bar = gap / 4 - jnp.abs(jnp.mod(x + half_x, gap) - gap / 2)
  fence = jnp.minimum(box, bar)
  return jnp.select(
    [card.shape == ELLIPSE, card.shape == POLYGON, card.shape == FENCE],
    [ellipse, polygon, fence],
    jnp.inf,
  )


def _color(card, cells, atlas):
  x, y = jnp.moveaxis(cells, -1, 0)
  grating = 0.5 + 0.5 * jnp.sin(2 * jnp.pi * x)
  flat = jnp.stack([x, y, jnp.zeros_like(x)], axis=-1)
  seed = jnp.broadcast_to(card.seed, x.shape)
  noise = textures.value_noise(flat, seed)
  mixed = jnp.where(card.texture == GRATING, grating, noise)[..., None]
  painted = mixed * card.colors[0] + (1 - mixed) * card.colors[1]
  # Mirrored at its borders, a photograph goes on for ever.
  last = TILE - 1
  folded = last - jnp.abs(jnp.mod(cells + last / 2, 2 * last) - last)
  tile = atlas[card.seed % len(atlas)]
  return jnp.where(card.texture == PHOTOGRAPH, bilinear(tile, folded), painted)
