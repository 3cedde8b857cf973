"""Normals of point clouds: fitted planes, and which of their two sides is out."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops.nearest import k_nearest


class Normals(NamedTuple):
  """Planes fitted to the neighbourhood of every point.

  Attributes:
    normals: [N, 3] unit vectors of either sign; z where not valid.
    variation: [N] the smallest eigenvalue's share of their sum, in [0, 1/3]; 0 in a
      plane.
    valid: [N] whether the neighbourhood determines a plane.
    neighbors: [N, k] int32 indices of the points, the point itself among them.
  """

  normals: chex.Array
  variation: chex.Array
  valid: chex.Array
  neighbors: chex.Array


def estimate_normals(points: chex.Array, k: int = 16) -> Normals:
  """Returns the direction in which each point's k nearest ones vary least.

  Args:
    points: [N, 3], any unit; points that are not finite are nobody's neighbours.
    k: neighbours, the point itself among them, 3 to N.

  Source: Hoppe et al., Surface reconstruction from unorganized points, 1992, 2.1.
  """
  chex.assert_shape(points, (None, 3))
  chex.assert_type(points, float)
  if k < 3:
    raise ValueError(f"{k} points determine no plane")
  points = jnp.asarray(points)
  neighbors, distances = k_nearest(points, points, k)
  present = jnp.isfinite(distances)[..., None]
  number = jnp.maximum(jnp.sum(present, axis=1), 1)
  offsets = jnp.where(present, points[neighbors] - points[:, None], 0.0)
  mean = jnp.sum(offsets, axis=1) / number
  offsets = jnp.where(present, offsets - mean[:, None], 0.0)
  reach = jnp.max(jnp.abs(offsets), axis=(1, 2), keepdims=True)
  offsets = offsets / jnp.where(reach > 0, reach, 1.0)
  highest = jax.lax.Precision.HIGHEST
  covariance = jnp.einsum("nki,nkj->nij", offsets, offsets, precision=highest)
  values, vectors = jnp.linalg.eigh(covariance)
  # Three points on a line, or in one place, have two smallest directions.
  enough = jnp.finfo(points.dtype).eps * 100
  valid = (number[:, 0] >= 3) & (values[:, 1] > enough * values[:, 2])
  valid &= jnp.isfinite(points).all(axis=1)
  up = jnp.array([0.0, 0.0, 1.0], points.dtype)
  total = jnp.sum(values, axis=1)
  share = values[:, 0] / jnp.where(total > 0, total, 1.0)
  return Normals(
    normals=jnp.where(valid[:, None], vectors[..., 0], up),
    variation=jnp.where(valid, jnp.maximum(share, 0.0), 0.0),
    valid=valid,
    neighbors=neighbors,
  )


def orient_towards(
  points: chex.Array, normals: chex.Array, viewpoint: chex.Array
) -> chex.Array:
  """Returns normals [N, 3] turned to the side where the viewpoint lies.

  Args:
    points: [N, 3].
    normals: [N, 3].
    viewpoint: [3], such as a scanner's position.
  """
  chex.assert_equal_shape([points, normals])
  chex.assert_shape(viewpoint, (3,))
  side = jnp.sum(normals * (viewpoint - points), axis=1, keepdims=True)
  return jnp.where(side < 0, -normals, normals)


def orient_consistently(
  points: chex.Array, normals: chex.Array, neighbors: chex.Array
) -> chex.Array:
  """Returns normals of one sign over each connected part, outward for closed surfaces.

  The sign spreads from the point that is farthest from the centre, where it points
  away from it, along the edges between the most parallel neighbours: a minimum
  spanning tree. O(N²) work in N steps.

  Args:
    points: [N, 3].
    normals: [N, 3] unit vectors of any sign.
    neighbors: [N, k] int indices; an edge is followed from either of its ends.

  Source: Hoppe et al., 1992, 2.2.
  """
  chex.assert_equal_shape([points, normals])
  chex.assert_rank(neighbors, 2)
  size = len(points)
  chex.assert_equal(size, len(neighbors))
  points, normals = jnp.asarray(points), jnp.asarray(normals)
  neighbors = jnp.asarray(neighbors)
  finite = jnp.all(jnp.isfinite(points), axis=1, keepdims=True)
  centre = jnp.sum(jnp.where(finite, points, 0.0), axis=0) / jnp.maximum(
    jnp.sum(finite), 1
  )
  outward = jnp.where(finite, points - centre, 0.0)
  distance = jnp.sum(jnp.square(outward), axis=1)
  numbers = jnp.arange(size)
  # A part that nothing connects starts by itself, its farthest point first, after
  # everything that is connected: costs of edges are at most 1.
  start = 2.0 - distance / (jnp.max(distance) + 1.0)

  # Edges j -> i besides i -> j: a point that is many points' neighbour lists only k.
  def back_edges(point):
    return jnp.any(neighbors == point, axis=1)

  def add(carry, _):
    done, costs, signs = carry
    point = jnp.argmin(jnp.where(done, jnp.inf, costs))
    alone = costs[point] > 1.0
    out = jnp.where(jnp.sum(normals[point] * outward[point]) < 0, -1.0, 1.0)
    sign = jnp.where(alone, out, signs[point])
    cosines = normals @ normals[point]
    linked = back_edges(point).at[neighbors[point]].set(True)
    cost = 1.0 - jnp.abs(cosines)
    better = linked & (cost < costs) & ~done & (numbers != point)
    signs = jnp.where(better, sign * jnp.where(cosines < 0, -1.0, 1.0), signs)
    signs = signs.at[point].set(sign)
    return (done.at[point].set(True), jnp.where(better, cost, costs), signs), None

  carry = jnp.zeros(size, bool), start, jnp.ones(size, normals.dtype)
  (_, _, signs), _ = jax.lax.scan(add, carry, None, length=size)
  return normals * signs[:, None]
