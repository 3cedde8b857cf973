"""Clips of textured blobs before a textured ground, with exact flow and occlusion.

Cut from scikit-image's photographs, under a grain of colours; every layer moves by a
similarity transform, so that the flow of a visible pixel follows from the layer that it
shows.
"""

import functools
from typing import NamedTuple

import numpy as np
import scipy.ndimage

from jaxvision.data import photographs, superpixels
from jaxvision.papers.selflow import hallucination

FRAMES, MIDDLE = 5, 2
_GROUNDS = ("astronaut", "chelsea", "coffee", "rocket")
_GREYS = ("brick", "grass", "gravel")
_REDUCTION = 3  # of the photographs, so that small clips show more than blur
_WAVES = 4  # harmonics of a blob's outline
_LOCAL = 4.0  # pixels over which the contrast of a photograph is evened out
_LARGE, _SMALL = 0.6, 0.08  # of a photograph: what is larger than that, what is smaller
_GRAIN = 0.08  # standard deviation of the grain, which is about a pixel wide


class Layer(NamedTuple):
  """A texture that moves.

  Attributes:
    texture: [h, w, 3].
    origin: [2] (x, y) of the texture at the layer's centre.
    centers: [5, 2] (x, y) of the layer in each frame.
    angles, zooms: [5].
    waves: [_WAVES, 2] height and phase of the outline's harmonics.
    radius: mean radius in pixels; infinite for the ground.
  """

  texture: np.ndarray
  origin: np.ndarray
  centers: np.ndarray
  angles: np.ndarray
  zooms: np.ndarray
  waves: np.ndarray
  radius: float

  def inward(self, points: np.ndarray, frame: int) -> np.ndarray:
    """Returns points [..., 2] of a frame in the layer's own coordinates."""
    rotation = _rotation(self.angles[frame])
    return (points - self.centers[frame]) @ rotation / self.zooms[frame]

  def outward(self, points: np.ndarray, frame: int) -> np.ndarray:
    """Returns points [..., 2] of the layer in the coordinates of a frame."""
    turned = points @ _rotation(self.angles[frame]).T
    return turned * self.zooms[frame] + self.centers[frame]

  def alpha(self, points: np.ndarray) -> np.ndarray:
    """Returns the opacity [...] at points of the layer; half on the outline."""
    if np.isinf(self.radius):
      return np.ones(points.shape[:-1])
    distance = np.hypot(points[..., 0], points[..., 1])
    angle = np.arctan2(points[..., 1], points[..., 0])[..., None]
    orders = np.arange(2, _WAVES + 2)
    outline = self.waves[:, 0] * np.cos(orders * angle + self.waves[:, 1])
    outline = self.radius * (1 + outline.sum(axis=-1))
    return np.clip(outline - distance + 0.5, 0, 1)

  def color(self, points: np.ndarray) -> np.ndarray:
    """Returns the texture [..., 3] at points of the layer."""
    x, y = np.moveaxis(points + self.origin, -1, 0)
    channels = [
      scipy.ndimage.map_coordinates(
        self.texture[..., c], [y, x], order=1, mode="mirror"
      )
      for c in range(3)
    ]
    return np.stack(channels, axis=-1)


def random_layers(
  rng: np.random.Generator,
  height: int,
  width: int,
  *,
  speed: float,
  camera: float = 0.5,
  blobs: tuple[int, int] = (2, 4),
  radii: tuple[float, float] = (0.15, 0.3),
) -> list[Layer]:
  """Returns the ground and some blobs, the nearest last.

  Args:
    rng: of all draws.
    height, width: of the frames.
    speed: largest speed of a blob in pixels a frame.
    camera: largest speed of the camera, as a share of that.
    blobs: fewest and most.
    radii: smallest and largest mean radius of a blob, in heights of the frame.
  """
  size = np.array([width, height], float)
  time = np.arange(FRAMES) - MIDDLE
  textures = _textures()

  def layer(center, velocity, acceleration, angle, zoom, radius):
    texture = textures[rng.integers(len(textures))]
    return Layer(
      texture=texture,
      origin=rng.uniform(0.25, 0.75, 2) * texture.shape[1::-1],
      centers=center
      + time[:, None] * velocity
      + 0.5 * time[:, None] ** 2 * acceleration,
      angles=time * angle,
      zooms=(1 + zoom) ** time,
      waves=np.stack(
        [rng.uniform(0, 0.12, _WAVES), rng.uniform(0, 2 * np.pi, _WAVES)], axis=1
      ),
      radius=radius,
    )

  drift = _in_disc(rng, camera * speed)
  turn, zoom = rng.uniform(-1, 1, 2) * (np.radians(2), 0.03)
  layers = [layer(size / 2, drift, np.zeros(2), turn, zoom, np.inf)]
  for _ in range(rng.integers(blobs[0], blobs[1] + 1)):
    radius = rng.uniform(*radii) * height
    center = rng.uniform(0.1 * size, 0.9 * size)
    velocity, acceleration = _in_disc(rng, speed), _in_disc(rng, speed / 16)
    layers.append(layer(center, velocity, acceleration, 0.0, 0.0, radius))
  return layers


def render(layers: list[Layer], height: int, width: int) -> np.ndarray:
  """Returns the frames [5, H, W, 3] in [0, 1]."""
  grid = _grid(height, width)
  frames = []
  for frame in range(FRAMES):
    image = np.zeros((height, width, 3))
    for layer in layers:
      points = layer.inward(grid, frame)
      alpha = layer.alpha(points)[..., None]
      image = (1 - alpha) * image + alpha * layer.color(points)
    frames.append(image)
  return np.stack(frames)


def true_flow(
  layers: list[Layer], first: int, second: int, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the flow [H, W, 2] of a frame to another, and what is hidden there [H, W].

  A pixel belongs to the nearest layer that covers more than half of it. It is occluded
  where its place in the other frame is outside, or more than half under a nearer layer.
  """
  grid = _grid(height, width)
  owner = np.zeros((height, width), int)
  for number, layer in enumerate(layers):
    owner[layer.alpha(layer.inward(grid, first)) > 0.5] = number
  flow = np.zeros((height, width, 2))
  for number, layer in enumerate(layers):
    moved = layer.outward(layer.inward(grid, first), second) - grid
    flow[owner == number] = moved[owner == number]
  target = grid + flow
  hidden = np.any((target < 0) | (target > (width - 1, height - 1)), axis=-1)
  for number, layer in enumerate(layers):
    covered = layer.alpha(layer.inward(target, second)) > 0.5
    hidden |= covered & (number > owner)
  return flow.astype(np.float32), hidden


def clip(
  rng: np.random.Generator,
  height: int,
  width: int,
  *,
  speed: float = 8.0,
  gain: float = 0.1,
  **options,
) -> dict[str, np.ndarray]:
  """Returns five frames with the flow of the middle one.

  Args:
    rng: of all draws.
    height, width: of the frames in pixels.
    speed: see `random_layers`.
    gain: how far the gain and gamma of each frame are from 1.
    **options: of `random_layers`.

  Returns:
    {"frames": [5, H, W, 3] float32 in [0, 1],
     "flow": [2, H, W, 2] of frame 2 to 3 and to 1, in pixels,
     "back": [2, H, W, 2] of frame 3 to 2 and of frame 1 to 2,
     "occluded": [2, H, W] bool, pixels of frame 2 that 3 and 1 do not show,
     "superpixels": [H, W] int32 of frame 3}.
  """
  layers = random_layers(rng, height, width, speed=speed, **options)
  frames = render(layers, height, width)
  gains, gammas = 1 + rng.uniform(-gain, gain, (2, FRAMES, 1, 1, 1))
  frames = np.clip(gains * frames**gammas, 0, 1).astype(np.float32)
  size = height, width
  ways = [true_flow(layers, MIDDLE, MIDDLE + step, *size) for step in (1, -1)]
  back = [true_flow(layers, MIDDLE + step, MIDDLE, *size)[0] for step in (1, -1)]
  labels = superpixels.slic(frames[MIDDLE + 1], hallucination.segments(*size))
  return {
    "frames": frames,
    "flow": np.stack([flow for flow, _ in ways]),
    "back": np.stack(back),
    "occluded": np.stack([hidden for _, hidden in ways]),
    "superpixels": labels,
  }


def clips(
  seed: int, count: int, height: int, width: int, **options
) -> dict[str, np.ndarray]:
  """Returns {name: [N, ...]} of clips, each from (seed, its number) alone."""
  made = [
    clip(np.random.default_rng((seed, number)), height, width, **options)
    for number in range(count)
  ]
  return {name: np.stack([one[name] for one in made]) for name in made[0]}


@functools.cache
def _textures() -> list[np.ndarray]:
  """Returns textures [h, w, 3] in [0, 1] that nowhere are smooth.

  What moves without texture has no flow that could be seen.
  """
  color, grey = photographs.photographs(), photographs.grey_photographs()
  chosen = [color[name] for name in _GROUNDS]
  chosen += [np.repeat(grey[name], 3, axis=-1) for name in _GREYS]
  return [_textured(image, number) for number, image in enumerate(chosen)]


def _textured(image: np.ndarray, seed: int) -> np.ndarray:
  """Returns a photograph [H, W, 3] uint8, smaller, of even contrast and with grain."""
  small = _blurred(image / 255.0, _REDUCTION / 2)[::_REDUCTION, ::_REDUCTION]
  large = _blurred(small, _LOCAL)
  detail = small - large
  contrast = _blurred(np.square(detail).mean(axis=-1, keepdims=True), _LOCAL)
  detail = detail / (np.sqrt(contrast) + 0.02)
  grain = _blurred(np.random.default_rng(seed).normal(size=small.shape), 1.0)
  texture = 0.5 + _LARGE * (large - 0.5) + _SMALL * detail
  return np.clip(texture + _GRAIN * grain / grain.std(), 0, 1)


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
  return scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0))


def _grid(height: int, width: int) -> np.ndarray:
  """Returns [H, W, 2] (x, y) of the centres of pixels."""
  return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) * 1.0


def _rotation(angle: float) -> np.ndarray:
  return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _in_disc(rng: np.random.Generator, radius: float) -> np.ndarray:
  angle, length = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform())
  return length * np.array([np.cos(angle), np.sin(angle)])
