"""Iterative closest points on depth alone: what the paper compares with (M14).

Correspondences are projective: a point of the first view meets the nearest of the
points that the second view shows around the pixel where it falls.

Source: Chen and Medioni, 1991; Newcombe et al., KinectFusion, 2011.
"""

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import rigid
from jaxvision.papers.inverse_compositional import geometry

ITERATIONS = 20
WINDOW = 5  # pixels, the side of the square in which the nearest point is looked for
LARGEST_DISTANCE = 0.3  # metres, beyond which points do not correspond
LARGEST_STEP = 0.1  # metres between neighbouring pixels of one surface
FLOOR = 1e-6  # of the trace, added to the diagonal of the normal equations


def icp(
  depth0: chex.Array,
  depth1: chex.Array,
  intrinsics: chex.Array,
  valid0: chex.Array,
  valid1: chex.Array,
  *,
  point_to_plane: bool = True,
  iterations: int = ITERATIONS,
) -> chex.Array:
  """Returns the motion from the first view's camera to the second's.

  Args:
    depth0: [B, H, W] metres.
    depth1: [B, H, W] metres.
    intrinsics: [B, 4] in pixels.
    valid0: [B, H, W] bool, where depth0 counts.
    valid1: [B, H, W] bool.
    point_to_plane: whether distances are taken along the second view's normals.
    iterations: number of them.

  Returns:
    [B, 4, 4]; the identity where no points correspond.
  """
  chex.assert_equal_shape([depth0, depth1, valid0, valid1])
  depth0, depth1 = jnp.where(valid0, depth0, 1.0), jnp.where(valid1, depth1, 1.0)
  source = geometry.unproject(depth0, intrinsics).reshape(len(depth0), -1, 3)
  target = geometry.unproject(depth1, intrinsics)
  normal, has_normal = normals(target, valid1)
  usable = has_normal if point_to_plane else valid1

  def align(source, target, normal, usable, valid, intrinsics):
    def iterate(pose, _):
      moved = rigid.apply(pose, source)
      index, found = _nearest(moved, target, usable, intrinsics)
      matched = target.reshape(-1, 3)[index]
      near = jnp.linalg.norm(matched - moved, axis=-1) < LARGEST_DISTANCE
      counts = found & near & valid
      weights = counts.astype(source.dtype)
      if point_to_plane:
        step = _to_planes(moved, matched, normal.reshape(-1, 3)[index], weights)
        return step @ pose, None
      fitted = rigid.fit(source, matched, weights)
      return jnp.where(jnp.sum(weights) >= 3, fitted, pose), None

    identity = jnp.eye(4, dtype=source.dtype)
    return jax.lax.scan(iterate, identity, length=iterations)[0]

  valid = valid0.reshape(len(valid0), -1)
  return jax.vmap(align)(source, target, normal, usable, valid, intrinsics)


def normals(points: chex.Array, valid: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns the normals of an organised cloud, and where there is one.

  Args:
    points: [B, H, W, 3].
    valid: [B, H, W] bool.

  Returns:
    unit normals [B, H, W, 3], towards the camera; bool [B, H, W]: not at the border, at
    points that are not valid or beside one, nor across a step of depth.
  """
  chex.assert_equal_shape([points[..., 0], valid])

  def neighbours(array):
    return [jnp.roll(array, shift, axis) for axis in (2, 1) for shift in (-1, 1)]

  right, left, below, above = neighbours(points)
  normal = jnp.cross(below - above, right - left)
  length = jnp.linalg.norm(normal, axis=-1, keepdims=True)
  normal = normal / jnp.where(length > 0, length, 1.0)
  whole = valid & (length[..., 0] > 0)
  for neighbour, counts in zip(neighbours(points), neighbours(valid), strict=True):
    step = jnp.abs(neighbour[..., 2] - points[..., 2])
    whole &= counts & (step < LARGEST_STEP)
  height, width = valid.shape[1:]
  rows, columns = jnp.arange(height)[:, None], jnp.arange(width)
  whole &= (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
  return normal, whole


def _nearest(points, target, usable, intrinsics):
  """Returns the flat index of the usable target point nearest to each; if any.

  Args:
    points: [N, 3].
    target: [H, W, 3].
    usable: [H, W] bool.
    intrinsics: [4].
  """
  height, width = usable.shape
  fx, fy, cx, cy = intrinsics
  z = points[:, 2]
  safe = jnp.where(z > 0, z, 1.0)
  reach = jnp.arange(WINDOW) - WINDOW // 2
  rows, columns = (axis.reshape(-1) for axis in jnp.meshgrid(reach, reach))
  u = jnp.round(fx * points[:, 0] / safe + cx)[:, None] + columns
  v = jnp.round(fy * points[:, 1] / safe + cy)[:, None] + rows
  inside = (z > 0)[:, None] & (u >= 0) & (u < width) & (v >= 0) & (v < height)
  index = jnp.where(inside, v * width + u, 0).astype(jnp.int32)
  inside &= usable.reshape(-1)[index]
  square = jnp.sum(jnp.square(target.reshape(-1, 3)[index] - points[:, None]), axis=-1)
  best = jnp.argmin(jnp.where(inside, square, jnp.inf), axis=1, keepdims=True)
  index = jnp.take_along_axis(index, best, axis=1)[:, 0]
  return index, jnp.any(inside, axis=1)


def _to_planes(points, matched, normal, weights):
  """Returns the small motion that brings points nearest to planes, linearised."""
  jacobian = jnp.concatenate([jnp.cross(points, normal), normal], axis=-1)
  distance = jnp.sum(normal * (matched - points), axis=-1)
  weighted = weights[:, None] * jacobian
  hessian = jnp.matmul(weighted.T, jacobian, precision="highest")
  trace = jnp.trace(hessian)
  floor = jnp.where(trace > 0, FLOOR * trace, 1.0) * jnp.eye(6, dtype=points.dtype)
  twist = jnp.linalg.solve(hessian + floor, weighted.T @ distance)
  return rigid.exp_twist(jnp.where(jnp.all(jnp.isfinite(twist)), twist, 0.0))
