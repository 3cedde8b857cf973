"""Photographs seen in views warped by known homographies: real errors, exact truth."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import photographs
from jaxvision.errors import UserError
from jaxvision.ops import sampling
from jaxvision.papers.permutation_sync import data, keypoints
from jaxvision.papers.permutation_sync.problem import Problem

NAMES = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle", "china")
_CANDIDATES = 6  # corners for each that is kept: it must be seen in all views


class Views(NamedTuple):
  """Views of one plane and its key points.

  Attributes:
    images: [N, S, S] grey in [0, 1].
    points: [N, n, 2] key points of each view, pixels (x, y), in the view's own order.
    problem: its matches.
    truth: [N, n, n] true absolute permutations.
  """

  images: chex.Array
  points: chex.Array
  problem: Problem
  truth: chex.Array


def grey_square(photograph: np.ndarray, side: int) -> np.ndarray:
  """Returns the middle of a photograph [H, W, 3] uint8 as [side, side] in [0, 1]."""
  from PIL import Image

  height, width = photograph.shape[:2]
  length = min(height, width)
  top, left = (height - length) // 2, (width - length) // 2
  middle = Image.fromarray(photograph[top : top + length, left : left + length])
  small = middle.convert("L").resize((side, side), Image.Resampling.LANCZOS)
  return np.asarray(small, np.float32) / 255


def load_photographs(
  side: int, names: tuple[str, ...] = NAMES
) -> dict[str, np.ndarray]:
  """Returns photographs that come with the packages, [side, side] grey in [0, 1]."""
  known = photographs.photographs()
  return {name: grey_square(known[name], side) for name in names}


def homographies(
  rng: np.random.Generator,
  count: int,
  side: int,
  *,
  turn: float = 0.4,
  tilt: float = 0.5,
) -> np.ndarray:
  """Returns random maps [count, 3, 3] from the reference's pixels to the views'.

  Args:
    rng: of the choice; the first view is the reference itself.
    count: N.
    side: S, of both squares in pixels.
    turn: largest rotation, radians.
    tilt: largest of the plane's two slants: an edge's distance differs from the
      middle's by half of it, relatively.
  """
  angle = turn * rng.uniform(-1, 1, count)
  slants = tilt * rng.uniform(-1, 1, (count, 2))
  zoom = np.exp(0.25 * rng.uniform(-1, 1, count))
  angle[0], slants[0], zoom[0] = 0, 0, 1
  turned = np.tile(np.eye(3), (count, 1, 1))
  turned[:, 0, 0] = turned[:, 1, 1] = zoom * np.cos(angle)
  turned[:, 1, 0] = zoom * np.sin(angle)
  turned[:, 0, 1] = -turned[:, 1, 0]
  turned[:, 2, :2] = slants
  half = (side - 1) / 2
  to_unit = np.array([[1, 0, -half], [0, 1, -half], [0, 0, side]]) / side
  maps = np.linalg.inv(to_unit) @ turned @ to_unit
  return maps.astype(np.float32)


def transform(homography: chex.Array, points: chex.Array) -> chex.Array:
  """Returns points [..., 2] mapped by a homography [3, 3]."""
  ones = jnp.ones_like(points[..., :1])
  mapped = jnp.concatenate([points, ones], axis=-1) @ homography.T
  return mapped[..., :2] / mapped[..., 2:]


def render(reference: chex.Array, homography: chex.Array) -> chex.Array:
  """Returns the view [S, S] of a reference [S, S]."""
  side = reference.shape[0]
  pixels = jnp.stack(jnp.meshgrid(jnp.arange(side), jnp.arange(side)), axis=-1)
  source = transform(jnp.linalg.inv(homography), pixels.astype(reference.dtype))
  return sampling.bilinear(reference[..., None], source)[..., 0]


def make_views(
  rng: np.random.Generator,
  reference: np.ndarray,
  edges: np.ndarray,
  num_nodes: int,
  size: int,
  *,
  turn: float = 0.4,
  tilt: float = 0.5,
  noise: float = 0.02,
) -> Views:
  """Returns views of a photograph with another exposure and noise each.

  The strongest corners of the photograph that all views see are its key points; each
  view finds them again within two pixels of where they are, describes them, and every
  edge matches the descriptors of its two views.

  Args:
    rng: of all that is random.
    reference: [S, S] grey in [0, 1].
    edges: [M, 2] of the graph.
    num_nodes: N.
    size: n.
    turn: of `homographies`.
    tilt: of `homographies`.
    noise: standard deviation of a pixel's.

  Raises:
    UserError: the views have fewer than n corners in common.
  """
  chex.assert_rank(reference, 2)
  side = reference.shape[0]
  maps = homographies(rng, num_nodes, side, turn=turn, tilt=tilt)
  gains = rng.uniform(0.8, 1.2, (num_nodes, 1, 1))
  grain = noise * rng.normal(size=(num_nodes, side, side))
  images = np.clip(gains * np.asarray(_render(reference, maps)) + grain, 0, 1)
  images = images.astype(np.float32)
  kept, located = _locate(reference, images, maps, size)
  if np.any(kept <= 0):
    raise UserError(f"{int(np.sum(kept > 0))} corners are in all views, not {size}")
  truth = data.random_permutations(rng, num_nodes, size)
  points = truth @ np.asarray(located)
  return Views(images, points, _landmark_problem(images, points, edges), truth)


_render = jax.jit(jax.vmap(render, (None, 0)))


@functools.partial(jax.jit, static_argnums=3)
def _locate(reference, images, maps, size):
  """Returns the responses [n] of the key points, and where each view sees them."""
  side = reference.shape[0]
  candidates, strengths = keypoints.corners(reference, _CANDIDATES * size)
  seen_at = jax.vmap(transform, (0, None))(maps, candidates)
  edge = keypoints.MARGIN
  is_inside = jnp.all((seen_at >= edge) & (seen_at <= side - 1 - edge), axis=(0, 2))
  kept, chosen = jax.lax.top_k(jnp.where(is_inside, strengths, 0.0), size)
  return kept, jax.vmap(keypoints.snap)(images, seen_at[:, chosen])


def landmark_problem(
  images: chex.Array, points: chex.Array, edges: chex.Array
) -> Problem:
  """Returns the problem of matching described points on each edge.

  Args:
    images: [N, H, W] grey in [0, 1].
    points: [N, n, 2] pixels (x, y).
    edges: [M, 2].
  """
  descriptors = jax.vmap(keypoints.describe)(images, points)
  edges = jnp.asarray(edges, jnp.int32)
  return Problem(edges, data.match_descriptors(descriptors, edges))


_landmark_problem = jax.jit(landmark_problem)


def detect(images: list[np.ndarray], count: int, names: list[str]) -> np.ndarray:
  """Returns the strongest corners [N, count, 2] of a user's grey images.

  Raises:
    UserError: an image is too small, or has too few corners; names it.
  """
  found = []
  for image, name in zip(images, names, strict=True):
    if min(image.shape) <= 2 * keypoints.MARGIN + 1:
      height, width = image.shape
      raise UserError(f"{name}: {width}×{height} pixels are too small for key points")
    points, strengths = jax.jit(keypoints.corners, static_argnums=1)(image, count)
    enough = int(jnp.sum(strengths > 0))
    if enough < count:
      raise UserError(f"{name}: has {enough} corners, not the {count} asked for")
    found.append(np.asarray(points))
  return np.stack(found)


def to_grey(image: np.ndarray) -> np.ndarray:
  """Returns [H, W] float32 in [0, 1] of [H, W, 3] uint8."""
  return np.asarray(image, np.float32) @ np.float32([0.299, 0.587, 0.114]) / 255


def same_size(
  images: list[np.ndarray], points: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns images of different sizes as one array, and their points.

  Each is scaled so that its longer side is `side` and lies at the upper left of a
  square; the rest repeats its last row or column.

  Args:
    images: N of [H, W, 3] uint8.
    points: [N, n, 2] pixels (x, y).
    side: of the square.

  Returns:
    [N, side, side] grey in [0, 1] and [N, n, 2].
  """
  from PIL import Image

  squares, moved = [], []
  for image, mine in zip(images, points, strict=True):
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(scale * length)) for length in image.shape[:2])
    small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    padding = ((0, side - height), (0, side - width))
    squares.append(np.pad(to_grey(np.asarray(small)), padding, mode="edge"))
    # The centres of pixels, not their corners, are whole numbers.
    moved.append((mine + 0.5) * scale - 0.5)
  return np.stack(squares), np.stack(moved).astype(np.float32)
