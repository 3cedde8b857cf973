"""Procedural images of objects to be found and counted, with their centres.

`random_plants`: leaf rosettes and heads on noisy soil with pebbles. `random_eyes`: one
pupil each, among iris, lids, lashes and glints.
"""

import chex
import numpy as np

from jaxvision.ops.resize import weights

MOST_PLANTS = 12


def random_plants(
  count: int, size: int, seed: int, *, most: int = MOST_PLANTS, fewest: int = 0
) -> dict[str, np.ndarray]:
  """Returns plants seen from above; some overlap.

  Args:
    count: how many images; more of them begin with the same ones.
    size: height and width in pixels.
    seed: of all that is random.
    most: plants in an image at most.
    fewest: plants in an image at least.

  Returns:
    image: [count, size, size, 3] uint8.
    points: [count, most, 2] float32, (row, column) of the centres, -1 where none.
    valid: [count, most] bool.
  """
  chex.assert_scalar_positive(size)
  images = np.zeros((count, size, size, 3), np.uint8)
  points = np.full((count, most, 2), -1, np.float32)
  valid = np.zeros((count, most), bool)
  for index in range(count):
    rng = np.random.default_rng([0, seed, index])
    images[index], centers = _plants(rng, size, int(rng.integers(fewest, most + 1)))
    points[index, : len(centers)] = centers
    valid[index, : len(centers)] = True
  return {"image": images, "points": points, "valid": valid}


def random_eyes(count: int, size: int, seed: int) -> dict[str, np.ndarray]:
  """Returns images of one eye each; the point is its pupil's centre.

  Args:
    count: how many images; more of them begin with the same ones.
    size: height and width in pixels.
    seed: of all that is random.

  Returns:
    image: [count, size, size, 3] uint8.
    points: [count, 1, 2] float32, (row, column).
    valid: [count, 1] bool.
  """
  chex.assert_scalar_positive(size)
  images = np.zeros((count, size, size, 3), np.uint8)
  points = np.zeros((count, 1, 2), np.float32)
  for index in range(count):
    images[index], points[index, 0] = _eye(
      np.random.default_rng([1, seed, index]), size
    )
  return {"image": images, "points": points, "valid": np.ones((count, 1), bool)}


def _plants(rng, size, count):
  soil = np.array([0.42, 0.32, 0.23]) * rng.uniform(0.6, 1.3)
  image = soil * (1 + 0.25 * _noise(rng, size, 8)[..., None])
  for _ in range(rng.integers(0, 8)):
    center, radius = rng.uniform(0, size, 2), rng.uniform(0.006, 0.02) * size
    grey = np.full(3, rng.uniform(0.3, 0.8))
    _paint(image, grey, _inside(size, center, radius)[0])
  light = rng.uniform(0.45, 0.95)
  hue = rng.uniform(0.18, 0.45)
  centers: list[np.ndarray] = []
  for _ in range(20 * count):
    margin = 0.04 * size
    center = rng.uniform(margin, size - 1 - margin, 2)
    # Two plants in one place are one to everybody.
    if all(np.hypot(*(center - other)) > 0.07 * size for other in centers):
      centers.append(center)
    if len(centers) == count:
      break
  for center in centers:
    radius = rng.uniform(0.05, 0.1) * size
    coverage, depth = _inside(
      size,
      center,
      radius,
      leaves=int(rng.integers(3, 8)),
      cut=rng.uniform(0.0, 0.5) * rng.integers(0, 2),
      phase=rng.uniform(0, 2 * np.pi),
      squash=rng.uniform(0.75, 1.0),
    )
    color = _color(hue + rng.normal(0, 0.04), rng.uniform(0.5, 0.9), light)
    shade = (1 - 0.45 * depth + 0.1 * _noise(rng, size, 3))[..., None]
    _paint(image, color * shade, coverage)
  image = image + rng.normal(0, 0.03, image.shape)
  return _bytes(image), np.array(centers, np.float32).reshape(-1, 2)


def _eye(rng, size):
  skin = np.array([0.75, 0.56, 0.47]) * rng.uniform(0.4, 1.1)
  image = skin * (1 + 0.15 * _noise(rng, size, 6)[..., None])
  eye = rng.uniform(0.35, 0.65, 2) * size
  width, height = rng.uniform(0.25, 0.34) * size, rng.uniform(0.13, 0.2) * size
  y, x = np.mgrid[:size, :size]
  lids = np.square((y - eye[0]) / height) + np.square((x - eye[1]) / width)
  opened = np.clip((1 - lids) * height / 2 + 0.5, 0, 1)
  white = np.full((size, size, 3), rng.uniform(0.65, 0.95))
  center = eye + rng.uniform(-1, 1, 2) * [0.35 * height, 0.45 * width]
  iris = rng.uniform(0.09, 0.13) * size
  pupil = rng.uniform(0.3, 0.55) * iris
  color = _color(rng.uniform(0, 0.65), rng.uniform(0.2, 0.6), rng.uniform(0.3, 0.7))
  _paint(
    white,
    color * (1 + 0.2 * _noise(rng, size, 3))[..., None],
    _inside(size, center, iris)[0],
  )
  _paint(white, np.full(3, 0.04), _inside(size, center, pupil)[0])
  _paint(image, white, opened)
  for _ in range(rng.integers(4, 12)):  # lashes, dark as the pupil
    angle = rng.uniform(np.pi, 2 * np.pi)
    root = eye + np.array([height * np.sin(angle), width * np.cos(angle)])
    along = np.clip(y - root[0] + 0.1 * size, 0, 0.1 * size)
    bend = root[1] + rng.uniform(-0.5, 0.5) * (0.1 * size - along)
    line = np.clip(1 - np.abs(x - bend), 0, 1)
    line = line * ((y <= root[0]) & (y >= root[0] - 0.1 * size))
    _paint(image, np.full(3, 0.06), line)
  for _ in range(rng.integers(1, 4)):
    place = center + rng.normal(0, 0.7 * iris, 2)
    _paint(image, np.ones(3), _inside(size, place, rng.uniform(0.01, 0.025) * size)[0])
  image = image * rng.uniform(0.6, 1.1) + rng.normal(0, 0.03, image.shape)
  return _bytes(image), center.astype(np.float32)


def _inside(size, center, radius, *, leaves=1, cut=0.0, phase=0.0, squash=1.0):
  """Returns how far pixels are covered, and their distance from the centre, [0, 1]."""
  y, x = np.mgrid[:size, :size]
  down, right = (y - center[0]) / squash, x - center[1]
  distance = np.hypot(down, right)
  rim = 1 + cut * np.cos(leaves * np.arctan2(down, right) + phase)
  rim = radius * rim / (1 + cut)
  coverage = np.clip(rim - distance + 0.5, 0, 1)
  return coverage, np.clip(distance / max(radius, 1e-6), 0, 1)


def _noise(rng, size, cells):
  """Returns [size, size] smooth noise in about [-1, 1]."""
  cells = max(size // cells, 2)
  coarse = rng.uniform(-1, 1, (cells, cells))
  spread = weights(cells, size, "bilinear", "half_pixel")
  return spread @ coarse @ spread.T


def _paint(image, color, coverage):
  image += coverage[..., None] * (color - image)


def _color(hue, saturation, value):
  """Returns the RGB of a hue in turns."""
  wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
  return value * (1 + saturation * (wheel - 1))


def _bytes(image):
  return np.uint8(np.round(255 * np.clip(image, 0, 1)))
