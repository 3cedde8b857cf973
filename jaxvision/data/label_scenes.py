"""Procedural pictures of labelled scenes: a layout, its instances, and a look.

A layout is a label map of landscapes, of Voronoi cells, or one class alone. Each class
has a colour, a gradient and a texture of its own; a look is the light that falls on the
whole picture, so that pictures of one layout differ in style and one style fits all
layouts. Everything is numpy on the host.
"""

import dataclasses

import chex
import numpy as np

CLASSES = ("sky", "ground", "water", "trees", "house", "sun", "road", "mountain")
SKY, GROUND, WATER, TREES, HOUSE, SUN, ROAD, MOUNTAIN = range(len(CLASSES))

# Under white light, RGB in [0, 1]: at the top of the picture and at its bottom.
_COLORS = np.array(
  [
    [[0.35, 0.60, 0.95], [0.75, 0.85, 0.95]],
    [[0.55, 0.70, 0.30], [0.35, 0.55, 0.20]],
    [[0.25, 0.50, 0.70], [0.10, 0.30, 0.55]],
    [[0.15, 0.45, 0.15], [0.08, 0.30, 0.10]],
    [[0.75, 0.35, 0.25], [0.65, 0.30, 0.25]],
    [[1.00, 0.90, 0.45], [1.00, 0.75, 0.30]],
    [[0.55, 0.55, 0.55], [0.40, 0.40, 0.42]],
    [[0.66, 0.50, 0.62], [0.46, 0.32, 0.40]],
  ],
  np.float32,
)
PALETTE = np.uint8(np.round(255 * _COLORS.mean(axis=1)))  # for showing label maps

_UNIFORM, _CELLS = 0.12, 0.3  # shares of layouts that are no landscapes


@dataclasses.dataclass(frozen=True)
class Look:
  """Attributes: gain [3], of red, green and blue; the light of a whole picture."""

  gain: np.ndarray


def random_look(rng: np.random.Generator) -> Look:
  """Returns a light between dark and bright, warm and cold."""
  brightness, warmth = rng.uniform(0.55, 1.05), rng.uniform(-0.35, 0.35)
  return Look(np.array([1 + warmth, 1.0, 1 - warmth], np.float32) * brightness)


def random_layout(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
  """Returns a square layout.

  Args:
    rng: of the draws.
    size: of a side in pixels.

  Returns:
    {"labels": [size, size] uint8 of CLASSES, "instances": [size, size] uint8}; what
    the ground, sky and cells are made of are instances too.
  """
  chex.assert_scalar_positive(size)
  kind = rng.random()
  if kind < _UNIFORM:
    return uniform_layout(int(rng.integers(len(CLASSES))), size)
  if kind < _UNIFORM + _CELLS:
    return _cells(rng, size)
  return _landscape(rng, size)


def uniform_layout(label: int, size: int) -> dict[str, np.ndarray]:
  """Returns a layout that one class fills."""
  labels = np.full((size, size), label, np.uint8)
  return {"labels": labels, "instances": np.zeros_like(labels)}


def render(labels: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
  """Returns a picture of a layout.

  Args:
    labels: [H, W] int of CLASSES.
    look: its light.
    rng: of grain, and of where textures begin.

  Returns:
    [H, W, 3] uint8.
  """
  chex.assert_rank(labels, 2)
  height, width = labels.shape
  y, x = np.mgrid[:height, :width].astype(np.float32)
  across = (y / height)[..., None]
  color = _COLORS[labels, 0] * (1 - across) + _COLORS[labels, 1] * across
  phase = rng.uniform(0, 2 * np.pi, 3)
  grain = rng.uniform(-1, 1, (height, width))
  patterns = np.stack(
    [
      0.1 * np.sin(0.35 * y + phase[0]),  # sky: soft bands
      0.8 * grain,  # ground: speckle
      np.sign(np.sin(1.6 * y + phase[1])),  # water: waves
      np.sin(2.2 * x + phase[0]) * np.sin(2.2 * y + phase[1]),  # trees: leaves
      _bricks(x, y),
      np.zeros_like(x),  # sun
      0.25 * grain,  # road
      np.sign(np.sin(0.8 * (x + y) + phase[2])),  # mountain: slanting strata
    ]
  )
  pattern = np.take_along_axis(patterns, labels[None].astype(int), axis=0)[0]
  picture = (color + 0.16 * pattern[..., None]) * look.gain
  return np.uint8(np.round(255 * np.clip(picture, 0, 1)))


def random_scenes(count: int, size: int, seed: int) -> dict[str, np.ndarray]:
  """Returns pictures, each with a layout and a look of its own.

  Args:
    count: N of them.
    size: of a side in pixels.
    seed: of all draws, not negative.

  Returns:
    {"image": [N, size, size, 3] uint8, "labels", "instances": [N, size, size] uint8,
    "gain": [N, 3] float32 of the looks}.
  """
  chex.assert_scalar_positive(count)
  scenes = []
  for index in range(count):
    rng = np.random.default_rng([seed, index])
    layout, look = random_layout(rng, size), random_look(rng)
    picture = render(layout["labels"], look, rng)
    scenes.append({"image": picture, **layout, "gain": look.gain})
  return {name: np.stack([scene[name] for scene in scenes]) for name in scenes[0]}


def _bricks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns 0 on bricks and -1.5 in the joints between them."""
  row = y // 4
  return -1.5 * ((y % 4 == 3) | ((x + 3 * (row % 2)) % 6 == 5))


def _cells(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
  """Returns Voronoi cells, each of a random class."""
  count = int(rng.integers(3, 7))
  centers = rng.uniform(0, size, (count, 2))
  pixels = np.stack(np.mgrid[:size, :size], axis=-1)
  distances = np.square(pixels[..., None, :] - centers).sum(axis=-1)
  instances = np.uint8(distances.argmin(axis=-1))
  classes = rng.integers(len(CLASSES), size=count).astype(np.uint8)
  return {"labels": classes[instances], "instances": instances}


def _landscape(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
  """Returns ground below a sky, with things in front of each other."""
  y, x = np.mgrid[:size, :size] / size
  horizon = rng.uniform(0.35, 0.65)
  things = [(GROUND, y >= horizon)]

  def add(chance, label, mask):
    if rng.random() < chance:
      things.append((label, mask))

  def uniform(low, high):
    return rng.uniform(low, high)

  radius, left, top = uniform(0.07, 0.14), uniform(0.1, 0.9), uniform(0.1, 0.25)
  add(0.6, SUN, (x - left) ** 2 + (y - top) ** 2 < radius**2)
  peak, height, slope = uniform(0.1, 0.9), uniform(0.15, 0.3), uniform(0.4, 0.9)
  ridge = horizon - height + slope * np.abs(x - peak)
  add(0.6, MOUNTAIN, (y > ridge) & (y < horizon))
  shore = uniform(horizon + 0.05, 0.9)
  add(0.5, WATER, y > shore + 0.05 * np.sin(6 * x + uniform(0, 6)))
  middle, lean, spread = uniform(0.3, 0.7), uniform(-0.3, 0.3), uniform(0.2, 0.5)
  depth = np.maximum(y - horizon, 0)
  road = np.abs(x - middle - lean * depth) < 0.03 + spread * depth
  add(0.6, ROAD, road & (y >= horizon))
  for _ in range(rng.integers(0, 3)):
    left, wide, tall = uniform(0, 0.8), uniform(0.18, 0.32), uniform(0.15, 0.3)
    foot = uniform(horizon + 0.02, horizon + 0.2)
    roof = foot - tall - np.maximum(wide / 2 - np.abs(x - left - wide / 2), 0) * 0.8
    add(0.8, HOUSE, (x > left) & (x < left + wide) & (y > roof) & (y < foot))
  for _ in range(rng.integers(0, 4)):
    radius, left = uniform(0.08, 0.16), uniform(0, 1)
    foot = uniform(horizon, horizon + 0.2)
    crown = (x - left) ** 2 + 0.6 * (y - foot + radius) ** 2 < radius**2
    add(0.9, TREES, crown)

  labels = np.full((size, size), SKY, np.uint8)
  instances = np.zeros_like(labels)
  for number, (label, mask) in enumerate(things, start=1):
    labels[mask], instances[mask] = label, number
  return {"labels": labels, "instances": instances}
