"""Photographs seen in views warped by known homographies: real errors, exact truth."""

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
  key: chex.PRNGKey, count: int, side: int, *, turn: float = 0.6, tilt: float = 0.5
) -> chex.Array:
  """Returns random maps [count, 3, 3] from the reference's pixels to the views'.

  Args:
    key: of the choice; the first view is the reference itself.
    count: N.
    side: S, of both squares in pixels.
    turn: largest rotation, radians.
    tilt: largest of the plane's two slants: how much nearer an edge is than the
      middle, twice.
  """
  keys = jax.random.split(key, 3)
  first = jnp.arange(count)[:, None] > 0
  angle = turn * _symmetric(keys[0], (count, 1)) * first
  slants = tilt * _symmetric(keys[1], (count, 2)) * first
  zoom = jnp.exp(0.25 * _symmetric(keys[2], (count, 1)) * first)
  cosine, sine = jnp.cos(angle[:, 0]) * zoom[:, 0], jnp.sin(angle[:, 0]) * zoom[:, 0]
  zero, one = jnp.zeros(count), jnp.ones(count)
  rows = [cosine, -sine, zero, sine, cosine, zero, slants[:, 0], slants[:, 1], one]
  turned = jnp.stack(rows, axis=-1).reshape(-1, 3, 3)
  half = (side - 1) / 2
  to_unit = jnp.array(
    [[1 / side, 0, -half / side], [0, 1 / side, -half / side], [0, 0, 1]]
  )
  return jnp.linalg.inv(to_unit) @ turned @ to_unit


def _symmetric(key, shape):
  return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


def transform(homography: chex.Array, points: chex.Array) -> chex.Array:
  """Returns points [..., 2] mapped by a homography [3, 3]."""
  ones = jnp.ones_like(points[..., :1])
  mapped = jnp.concatenate([points, ones], axis=-1) @ homography.T
  return mapped[..., :2] / mapped[..., 2:]


def render(
  key: chex.PRNGKey,
  reference: chex.Array,
  homography: chex.Array,
  *,
  noise: float = 0.02,
) -> chex.Array:
  """Returns a view [S, S] of a reference [S, S], with another exposure and noise."""
  side = reference.shape[0]
  pixels = jnp.stack(jnp.meshgrid(jnp.arange(side), jnp.arange(side)), axis=-1)
  source = transform(jnp.linalg.inv(homography), pixels.astype(reference.dtype))
  view = sampling.bilinear(reference[..., None], source)[..., 0]
  gain_key, noise_key = jax.random.split(key)
  gain = jax.random.uniform(gain_key, minval=0.8, maxval=1.2)
  return jnp.clip(gain * view + noise * jax.random.normal(noise_key, view.shape), 0, 1)


def make_views(
  key: chex.PRNGKey,
  reference: chex.Array,
  edges: chex.Array,
  num_nodes: int,
  size: int,
  *,
  turn: float = 0.6,
  tilt: float = 0.5,
) -> tuple[Views, chex.Array]:
  """Returns views of a photograph, and how many of their points were really found.

  The strongest corners of the photograph that all views see are its key points; each
  view finds them again within two pixels of where they are, describes them, and every
  edge matches the descriptors of its two views. It jits, and vmaps over keys.

  Args:
    key: of all that is random.
    reference: [S, S] grey in [0, 1].
    edges: [M, 2] of the graph.
    num_nodes: N.
    size: n.
    turn: of `homographies`.
    tilt: of `homographies`.

  Returns:
    The views, and the number of corners (up to n): below n the views are of no use.
  """
  chex.assert_rank(reference, 2)
  side = reference.shape[0]
  keys = jax.random.split(key, 3)
  maps = homographies(keys[0], num_nodes, side, turn=turn, tilt=tilt)
  images = jax.vmap(render, (0, None, 0))(
    jax.random.split(keys[1], num_nodes), reference, maps
  )
  candidates, strengths = keypoints.corners(reference, _CANDIDATES * size)
  seen_at = jax.vmap(transform, (0, None))(maps, candidates)
  edge = keypoints.MARGIN
  is_inside = jnp.all((seen_at >= edge) & (seen_at <= side - 1 - edge), axis=(0, 2))
  kept, chosen = jax.lax.top_k(jnp.where(is_inside, strengths, 0.0), size)
  located = jax.vmap(keypoints.snap)(images, seen_at[:, chosen])
  truth = data.random_permutations(keys[2], num_nodes, size)
  points = jnp.einsum("nab,nbc->nac", truth, located, precision="highest")
  problem = landmark_problem(images, points, edges)
  return Views(images, points, problem, truth), jnp.sum(kept > 0)


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
