"""What is done to clouds before the network sees them: subsets, scales, shifts."""

import math

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops.farthest_points import farthest_point_sampling
from jaxvision.papers.rscnn.grouping import IGNORED_SQUARE, take

SCALES = (2 / 3, 3 / 2)
SEGMENTATION_VOTE_SCALES = (0.87, 1.15)
SHIFT = 0.2
LARGEST_DROPOUT = 0.875


def subset_indices(
  key: chex.PRNGKey, points: chex.Array, count: int, candidates: int = 0
) -> chex.Array:
  """Returns [B, count] int32 indices of a random subset in random order.

  Args:
    key: random key.
    points: [B, N, 3].
    count: points to take; at most the candidates.
    candidates: points far from each other to choose among; 0 chooses among all.

  Source: train_cls.py takes 1,024 of 1,200 of 2,048.
  """
  chex.assert_shape(points, (None, None, 3))
  batch, size, _ = points.shape
  pool = jnp.broadcast_to(jnp.arange(size, dtype=jnp.int32), (batch, size))
  if candidates:
    pool = farthest_subset(points, candidates)
  if not 1 <= count <= pool.shape[1]:
    raise ValueError(f"{count} of {pool.shape[1]} points")
  # The top ones of noise: a sort takes a second to compile.
  _, order = jax.lax.top_k(jax.random.uniform(key, pool.shape), count)
  return take(pool, order)


def farthest_subset(points: chex.Array, count: int) -> chex.Array:
  """Returns [B, count] int32 indices of points far from each other, 0 the first."""

  def sample(one):
    return farthest_point_sampling(one, count, ignored_square=IGNORED_SQUARE)

  return jax.vmap(sample)(points)


def random_scales(
  key: chex.PRNGKey, batch: int, limits: tuple[float, float] = SCALES
) -> chex.Array:
  """Returns [B, 1, 3] factors of the axes, uniform between the limits."""
  low, high = limits
  return jax.random.uniform(key, (batch, 1, 3), minval=low, maxval=high)


def scale_and_shift(
  key: chex.PRNGKey,
  points: chex.Array,
  normals: chex.Array | None = None,
  *,
  limits: tuple[float, float] = SCALES,
  shift: float = SHIFT,
) -> tuple[chex.Array, chex.Array | None]:
  """Returns every cloud stretched along its axes, then moved, and the new normals.

  Args:
    key: random key.
    points: [B, N, 3].
    normals: [B, N, 3] unit normals, which lean as a stretched surface's do.
    limits: of the factors, positive.
    shift: largest along each axis.

  Source: 4.1; data/data_utils.py.
  """
  scale_key, shift_key = jax.random.split(key)
  scales = random_scales(scale_key, len(points), limits)
  shifts = jax.random.uniform(
    shift_key, scales.shape, minval=-shift, maxval=shift, dtype=points.dtype
  )
  if normals is not None:
    normals = normals / scales
    normals = normals / jnp.linalg.norm(normals, axis=-1, keepdims=True)
  return points * scales + shifts, normals


def drop_points(
  key: chex.PRNGKey, points: chex.Array, largest: float = LARGEST_DROPOUT
) -> chex.Array:
  """Returns clouds of which a random share of points repeats the first one.

  Args:
    key: random key.
    points: [B, N, 3].
    largest: the share is uniform up to this, in [0, 1].

  Source: 4.4, Fig. 5; Qi et al., PointNet++, NIPS 2017.
  """
  share_key, point_key = jax.random.split(key)
  shares = largest * jax.random.uniform(share_key, (len(points), 1, 1))
  dropped = jax.random.uniform(point_key, (*points.shape[:2], 1)) <= shares
  return jnp.where(dropped, points[:, :1], points)


def thin(points: chex.Array, count: int) -> chex.Array:
  """Returns clouds [B, N, 3] whose points from `count` on repeat the first one."""
  kept = jnp.arange(points.shape[1])[:, None] < count
  return jnp.where(kept, points, points[:, :1])


def rotation(axis: str, degrees: float) -> chex.Array:
  """Returns the [3, 3] rotation about an axis, R such that p R^T turns points p.

  Args:
    axis: "x", "y" or "z".
    degrees: counter-clockwise, seen from the axis's tip.
  """
  first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
  angle = math.radians(degrees)
  matrix = [[float(i == j) for j in range(3)] for i in range(3)]
  matrix[first][first] = matrix[second][second] = math.cos(angle)
  matrix[first][second], matrix[second][first] = -math.sin(angle), math.sin(angle)
  return jnp.array(matrix)
