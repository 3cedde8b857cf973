"""Rectified stereo pairs of slanted planes, with exact disparity, made on the host.

A scene is a background and some ellipses and polygons, each a plane in disparity,
d = a + b x + c y over left pixels. Both views are evaluated from the same continuous
masks and textures, the nearest surface (of largest disparity) in front, so that the
right view is exact between pixels and occlusions are those of the geometry. Some
surfaces have almost no texture: there a disparity follows from the surroundings only.
"""

from collections.abc import Sequence

import chex
import numpy as np

NOISE = 2 / 255  # standard deviation of each view's pixels
GAIN = 0.02  # largest photometric difference of the views, as a share
FAINT = 0.5 / 255  # contrast of a textureless surface
EDGE_RADIUS = 3  # pixels
_OCTAVES = (12.0, 5.0, 2.5)  # pixels to a lattice cell
_LATTICE = 32
_SIDES = 6  # of the polygons
_LEAST_DISPARITY = 1.0


def random_pairs(
  seed: int,
  count: int,
  height: int,
  width: int,
  max_disp: int,
  *,
  objects: Sequence[int] = (3, 6),
  half_axes: Sequence[float] = (15.0, 45.0),
  textureless: Sequence[float] = (0.25, 0.4),
  slant: float = 0.12,
  rim: float = 0.0,
) -> dict[str, np.ndarray]:
  """Returns pairs and all that is known of them.

  Args:
    seed: of the scenes, not negative.
    count: N.
    height: of the views, pixels.
    width: of the views, pixels.
    max_disp: disparities lie between 1 and this, pixels.
    objects: fewest and most of them.
    half_axes: smallest and largest, pixels.
    textureless: range of a scene's share of surfaces that have almost no texture.
    slant: largest change of disparity from the middle of an object along its longer
      half-axis, as a share of max_disp.
    rim: width of the part along a textureless surface's outline that has texture,
      pixels; of the background, an ellipse has none then. Without a rim nothing tells
      how far away some are: outlines are those of what lies in front.

  Returns:
    left and right [N, H, W, 3] float32 in [0, 1]; of the left view disparity
    [N, H, W] float32 and, [N, H, W] bool, occluded (not seen in the right view),
    textureless, and edge (within three pixels of a border between surfaces).
  """
  chex.assert_scalar_positive(count)
  chex.assert_scalar_positive(max_disp)
  scenes = [
    _scene(
      np.random.default_rng((seed, number)),
      (height, width),
      max_disp,
      objects,
      half_axes,
      textureless,
      slant,
      rim,
    )
    for number in range(count)
  ]
  return {name: np.stack([scene[name] for scene in scenes]) for name in scenes[0]}


def _scene(rng, shape, max_disp, objects, half_axes, textureless, slant, rim):
  height, width = shape
  surfaces = 1 + int(rng.integers(objects[0], objects[1] + 1))
  center = rng.uniform((0, 0), (width, height), (surfaces, 2))
  axes = rng.uniform(*half_axes, (surfaces, 2))
  angle = rng.uniform(0, np.pi, surfaces)
  # Radii of a polygon's sides; an ellipse has none.
  sides = rng.uniform(0.6, 1.0, (surfaces, _SIDES))
  sides[rng.random(surfaces) < 0.5] = np.inf
  middle = rng.uniform(0.35, 0.85, surfaces) * max_disp
  middle[0] = rng.uniform(0.12, 0.25) * max_disp
  center[0] = width / 2, height / 2
  slope = rng.uniform(-1, 1, (surfaces, 2)) * slant * max_disp / axes.max(1)[:, None]
  slope[0] = rng.uniform(-1, 1, 2) * 0.1 * max_disp / np.array([width, height])
  plane = np.column_stack([middle - (slope * center).sum(1), slope])
  share = rng.uniform(*textureless)
  faint = rng.random(surfaces) < share
  color = rng.uniform(0.25, 0.75, (surfaces, 3))
  contrast = rng.uniform(0.15, 0.25, surfaces)
  lattice = rng.standard_normal((surfaces, len(_OCTAVES), _LATTICE, _LATTICE, 3))
  parts = plane, center, axes, angle, sides, max_disp, rim

  def color_at(owner, x, y, is_core):
    noise = _texture(lattice, owner, x, y)
    strength = np.where(faint[owner] & is_core, FAINT, contrast[owner])
    return color[owner] + strength[..., None] * noise

  y, x = np.mgrid[:height, :width].astype(np.float64)
  owner, disparity, _, is_core = _nearest(x, y, *parts, from_right=False)
  left = color_at(owner, x, y, is_core)
  owner_right, _, *seen = _nearest(x, y, *parts, from_right=True)
  right = color_at(owner_right, seen[0], y, seen[1])
  right = right * (1 + rng.uniform(-GAIN, GAIN))
  there, *_ = _nearest(x - disparity, y, *parts, from_right=True)
  left, right = (
    np.clip(view + NOISE * rng.standard_normal(view.shape), 0, 1).astype(np.float32)
    for view in (left, right)
  )
  return {
    "left": left,
    "right": right,
    "disparity": disparity.astype(np.float32),
    "occluded": (there != owner) | (x - disparity < 0),
    "textureless": faint[owner] & is_core,
    "edge": _near_edges(owner),
  }


def _nearest(x, y, plane, center, axes, angle, sides, max_disp, rim, *, from_right):
  """Returns what is seen at points of a view: surface, disparity, left x, if in core.

  The core of a surface is what lies within its rim.
  """
  a, b, c = (term[:, None, None] for term in plane.T)
  where = (
    (x + a + c * y) / (1 - b) if from_right else np.broadcast_to(x, (len(a), *x.shape))
  )
  # A plane that left its range would change its shape: it is cut there instead.
  disparity = a + b * where + c * y
  u, v = where - center[:, 0, None, None], y - center[:, 1, None, None]
  cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
  u, v = (
    (cosine * u + sine * v) / axes[:, 0, None, None],
    (cosine * v - sine * u) / axes[:, 1, None, None],
  )
  # How far a point is on its way from the middle, 0, to the outline, 1.
  reached = np.sqrt(u * u + v * v)
  for side in range(_SIDES):
    turn = 2 * np.pi * side / _SIDES
    beyond = np.cos(turn) * u + np.sin(turn) * v - sides[:, side, None, None]
    reached = np.maximum(reached, 1 + beyond)
  core = (reached < 1 - rim / axes.min(1)[:, None, None]) | (rim == 0)
  inside = reached < 1
  inside &= (disparity > _LEAST_DISPARITY) & (disparity < max_disp)
  inside[0] = True
  owner = np.argmax(np.where(inside, disparity, -np.inf), axis=0)
  pick = owner[None]
  return (
    owner,
    np.take_along_axis(disparity, pick, 0)[0],
    np.take_along_axis(where, pick, 0)[0],
    np.take_along_axis(core, pick, 0)[0],
  )


def _texture(lattice, owner, x, y):
  """Returns noise of unit deviation or so, [H, W, 3], smooth between lattice points."""
  total = 0.0
  for number, cell in enumerate(_OCTAVES):
    u, v = x / cell, y / cell
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    u, v = u - column, v - row
    u, v = (w * w * (3 - 2 * w) for w in (u[..., None], v[..., None]))
    rows = [(row + k) % _LATTICE for k in (0, 1)]
    columns = [(column + k) % _LATTICE for k in (0, 1)]
    corner = [[lattice[owner, number, r, k] for k in columns] for r in rows]
    upper = corner[0][0] + u * (corner[0][1] - corner[0][0])
    lower = corner[1][0] + u * (corner[1][1] - corner[1][0])
    total = total + upper + v * (lower - upper)
  return total / len(_OCTAVES) ** 0.5


def _near_edges(owner):
  """Returns which pixels lie within EDGE_RADIUS of another surface's pixel."""
  size = 2 * EDGE_RADIUS + 1
  windows = np.lib.stride_tricks.sliding_window_view(
    np.pad(owner, EDGE_RADIUS, mode="edge"), (size, size)
  )
  return (windows != owner[..., None, None]).any((2, 3))
