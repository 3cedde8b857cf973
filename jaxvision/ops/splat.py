"""Trilinear splatting onto a grid and its adjoint, gathering from it.

Points are in voxels: node (i, j, k) of the grid lies at (i, j, k), and a point outside
the grid takes no part.
"""

import itertools

import chex
import jax.numpy as jnp


def splat(
  points: chex.Array, values: chex.Array, shape: tuple[int, int, int]
) -> chex.Array:
  """Adds the points' values to the eight nodes around each of them.

  Args:
    points: [N, 3] in voxels; those outside the grid, or not finite, are left out.
    values: [N, C] what each point carries.
    shape: number of nodes along each axis, at least 2.

  Returns:
    [*shape, C]; its sum is that of the values of the points inside.
  """
  chex.assert_shape(points, (None, 3))
  chex.assert_shape(values, (points.shape[0], None))
  chex.assert_type([points, values], float)
  nodes, weights = _corners(points, shape)
  inside = jnp.any(weights > 0, axis=0)[:, None]
  values = jnp.where(inside, values, 0.0)  # what is not finite outside stays there
  size = shape[0] * shape[1] * shape[2]
  total = jnp.zeros((size, values.shape[1]), values.dtype)
  updates = weights[..., None] * values
  total = total.at[nodes.reshape(-1)].add(updates.reshape(-1, values.shape[1]))
  return total.reshape(*shape, values.shape[1])


def gather(volume: chex.Array, points: chex.Array) -> chex.Array:
  """Returns the trilinear interpolation of a volume; the adjoint of `splat`.

  Args:
    volume: [D, H, W, C] values at the nodes.
    points: [N, 3] in voxels.

  Returns:
    [N, C], zero for points outside the grid.
  """
  chex.assert_rank(volume, 4)
  chex.assert_shape(points, (None, 3))
  chex.assert_type([volume, points], float)
  nodes, weights = _corners(points, volume.shape[:3])
  flat = volume.reshape(-1, volume.shape[3])
  return jnp.sum(weights[..., None] * flat[nodes], axis=0)


def _corners(points, shape):
  """Returns indices and weights, both [8, N], of the nodes around every point."""
  last = jnp.array(shape) - 1
  inside = jnp.all((points >= 0) & (points <= last), axis=-1)  # NaN is not
  points = jnp.where(inside[:, None], points, 0.0)
  low = jnp.minimum(jnp.floor(points), last - 1).astype(jnp.int32)
  part = points - low
  strides = jnp.array([shape[1] * shape[2], shape[2], 1])
  offsets = jnp.array(list(itertools.product((0, 1), repeat=3)))
  nodes = jnp.sum((low + offsets[:, None]) * strides, axis=-1)
  sides = jnp.where(offsets[:, None] == 1, part, 1 - part)
  return nodes, jnp.prod(sides, axis=-1) * inside.astype(points.dtype)
