"""Centroids, their neighbourhoods, and frames at the centroids (M6, M7, M14)."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops.ball_query import ball_query
from jaxvision.ops.farthest_points import farthest_point_sampling

IGNORED_SQUARE = 1e-3  # |p|² of points that the authors' sampling never takes


class Group(NamedTuple):
  """The neighbourhoods of the centroids, each centroid in its own column 0.

  Attributes:
    indices: [B, M, 1 + n] int32 of the points.
    points: [B, M, 1 + n, 3] coordinates.
    offsets: [B, M, 1 + n, 3] points minus centroid.
  """

  indices: chex.Array
  points: chex.Array
  offsets: chex.Array


def sample_centroids(points: chex.Array, count: int) -> chex.Array:
  """Returns [B, count] int32 indices of points far from each other, 0 the first.

  Args:
    points: [B, N, 3]; those within 0.0316 of the origin are left out, but index 0.
    count: 1 to N.
  """
  chex.assert_shape(points, (None, None, 3))
  sample = functools.partial(
    farthest_point_sampling, count=count, ignored_square=IGNORED_SQUARE
  )
  return jax.vmap(sample)(jax.lax.stop_gradient(points))


def take(values: chex.Array, indices: chex.Array) -> chex.Array:
  """Returns values [B, N, ...] at indices [B, ...] of each example."""
  return jax.vmap(lambda one, chosen: one[chosen])(values, indices)


def neighbourhoods(
  points: chex.Array, centroids: chex.Array, radius: float, count: int
) -> chex.Array:
  """Returns [B, M, 1 + count] indices: the centroid, then what its ball holds.

  The first `count` points of the array in the ball, without those that coincide with
  the centroid; empty slots repeat the centroid.

  Args:
    points: [B, N, 3].
    centroids: [B, M] int32 indices of points.
    radius: of the open ball.
    count: neighbours beside the centroid.
  """
  chex.assert_shape(points, (None, None, 3))
  chex.assert_rank(centroids, 2)

  def query(points, centroids):
    found, _ = ball_query(
      points[centroids], points, radius, count, fill=centroids, skip_coincident=True
    )
    return jnp.concatenate([centroids[:, None], found], axis=1)

  return jax.vmap(query)(jax.lax.stop_gradient(points), centroids)


def gather(points: chex.Array, indices: chex.Array) -> Group:
  """Returns the neighbourhoods that `neighbourhoods` found.

  Args:
    points: [B, N, 3].
    indices: [B, M, 1 + n].
  """
  grouped = take(points, indices)
  return Group(indices, grouped, grouped - grouped[:, :, :1])


def local_frames(offsets: chex.Array, normals: chex.Array) -> chex.Array:
  """Returns rotations [B, M, 3, 3] whose rows are a frame's axes at each centroid.

  z is the normal, x points along the tangential part of the farthest neighbour, y is
  z × x: turning the cloud turns the axes, so that coordinates in the frame stay.

  Args:
    offsets: [B, M, K, 3] neighbours minus centroid.
    normals: [B, M, 3] unit normals of the centroids.

  Source: 4.4, Table 7; the paper does not say how the frame is built.
  """
  chex.assert_rank([offsets, normals], [4, 3])
  farthest = jnp.argmax(jnp.sum(jnp.square(offsets), axis=-1), axis=-1)
  reach = jnp.take_along_axis(offsets, farthest[..., None, None], axis=2)[..., 0, :]
  tangent = reach - jnp.sum(reach * normals, axis=-1, keepdims=True) * normals
  square = jnp.sum(jnp.square(tangent), axis=-1, keepdims=True)
  # A lone centroid has no tangent: all its offsets are 0, in any frame.
  x = jnp.where(square > 0, tangent * jax.lax.rsqrt(jnp.maximum(square, 1e-20)), 0.0)
  return jnp.stack([x, jnp.cross(normals, x), normals], axis=-2)


def to_frames(offsets: chex.Array, frames: chex.Array) -> chex.Array:
  """Returns offsets [B, M, K, 3] in the coordinates of frames [B, M, 3, 3]."""
  highest = jax.lax.Precision.HIGHEST
  return jnp.einsum("bmij,bmkj->bmki", frames, offsets, precision=highest)
