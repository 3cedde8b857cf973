"""Rigid warps of an image by its inverse depth, and their derivative (M6-M8).

A pose is a transform [4, 4] from the template's camera to the image's, X_1 = R X_0 + t
in metres. Intrinsics are [4]: fx, fy, cx, cy in pixels. A pixel's centre is (u, v),
its column and row; p = ((u - cx) / fx, (v - cy) / fy) is what it shows at depth 1.

Source: Section 3.1, Eq. 10 to 13.
"""

import chex
import jax
import jax.numpy as jnp

OCCLUSION_MARGIN = 0.1  # 1/m, by which a point may lie behind what the image shows


def pixel_rays(height: int, width: int, intrinsics: chex.Array) -> chex.Array:
  """Returns the points at depth 1 that the pixels show.

  Args:
    height: of the image.
    width: of the image.
    intrinsics: [..., 4].

  Returns:
    [..., H, W, 2], p.
  """
  chex.assert_axis_dimension(intrinsics, -1, 4)
  fx, fy, cx, cy = _split(intrinsics, 1)
  shape = (*intrinsics.shape[:-1], height, width)
  x = _divide(jnp.arange(width, dtype=intrinsics.dtype) - cx, fx)
  y = _divide(jnp.arange(height, dtype=intrinsics.dtype) - cy, fy)
  x = jnp.broadcast_to(x[..., None, :], shape)
  y = jnp.broadcast_to(y[..., :, None], shape)
  return jnp.stack([x, y], axis=-1)


def unproject(depth: chex.Array, intrinsics: chex.Array) -> chex.Array:
  """Returns the points [..., H, W, 3] that pixels of depth [..., H, W] show."""
  chex.assert_equal_shape_prefix([depth, intrinsics], intrinsics.ndim - 1)
  rays = pixel_rays(*depth.shape[-2:], intrinsics)
  return jnp.concatenate([rays * depth[..., None], depth[..., None]], axis=-1)


def warp(
  rays: chex.Array, inverse_depth: chex.Array, poses: chex.Array, intrinsics: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Returns where the template's pixels lie in the image, and at what inverse depth.

  Pixels of inverse depth 0 are infinitely far: they move with the rotation only.

  Args:
    rays: [B, H, W, 2], p of the template's pixels.
    inverse_depth: [B, H, W] of the template, 1/m.
    poses: [B, *N, 4, 4], any number of poses for each template.
    intrinsics: [B, 4].

  Returns:
    points [B, *N, H, W, 2] in pixels of the image; inverse depth [B, *N, H, W] in it.

  Source: Eq. 11; M6.
  """
  chex.assert_shape(poses, (rays.shape[0], ..., 4, 4))
  chex.assert_equal_shape([rays[..., 0], inverse_depth])
  extra = poses.ndim - 3

  def spread(array, axes=0):
    """Gives [B, ...] an axis of size 1 for each of N, and `axes` at the end."""
    shape = (array.shape[0], *[1] * extra, *array.shape[1:], *[1] * axes)
    return array.reshape(shape)

  x, y = spread(rays[..., 0]), spread(rays[..., 1])
  inverse_depth = spread(inverse_depth)
  x, y, scale = (
    (row[..., 0] * x + row[..., 1] * y + row[..., 2]) + row[..., 3] * inverse_depth
    for row in jnp.moveaxis(poses[..., :3, None, None, :], -4, 0)
  )
  # A point in the camera's own plane is seen nowhere, but must not become NaN.
  scale = jnp.where(scale == 0, jnp.finfo(scale.dtype).tiny ** 0.5, scale)
  fx, fy, cx, cy = (spread(part) for part in _split(intrinsics, 2))
  points = jnp.stack([_plus(x / scale * fx, cx), _plus(y / scale * fy, cy)], axis=-1)
  return points, inverse_depth / scale


def warp_jacobian(
  rays: chex.Array, inverse_depth: chex.Array, intrinsics: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Returns the derivatives of the warp at the identity, by the six of a twist.

  Args:
    rays: [B, H, W, 2], p of the template's pixels.
    inverse_depth: [B, H, W] of the template.
    intrinsics: [B, 4].

  Returns:
    du/dξ and dv/dξ, [B, H, W, 6] each, by the rotation's three, then the translation's.

  Source: supplement; M8.
  """
  chex.assert_equal_shape([rays[..., 0], inverse_depth])
  x, y, d = rays[..., 0], rays[..., 1], inverse_depth
  zero = jnp.zeros_like(d)
  fx, fy, _, _ = _split(intrinsics, 3)
  du = jnp.stack([-x * y, 1 + x * x, -y, d, zero, -d * x], axis=-1)
  dv = jnp.stack([-1 - y * y, x * y, x, zero, d, -d * y], axis=-1)
  return fx * du, fy * dv


def is_visible(
  points: chex.Array,
  inverse_depth: chex.Array,
  seen: chex.Array,
  *,
  margin: float = OCCLUSION_MARGIN,
) -> chex.Array:
  """Returns whether warped points are inside the image and nothing is before them.

  Args:
    points: [..., H, W, 2] in pixels of the image.
    inverse_depth: [..., H, W] of the points in the image.
    seen: [..., H, W] inverse depth that the image shows there.
    margin: in 1/m.

  Source: the authors' code, a z-buffer of inverse depths; M7.
  """
  chex.assert_equal_shape([points[..., 0], inverse_depth, seen])
  height, width = points.shape[-3:-1]
  u, v = points[..., 0], points[..., 1]
  inside = (u > 0) & (u < width) & (v > 0) & (v < height)
  return inside & (inverse_depth > seen - margin)


def scale_intrinsics(intrinsics: chex.Array, factors: chex.Array) -> chex.Array:
  """Returns the intrinsics [..., 4] of an image resized by factors (x, y)."""
  factors = jnp.asarray(factors, intrinsics.dtype)
  return intrinsics * jnp.concatenate([factors, factors])


def _plus(product: chex.Array, offset: chex.Array) -> chex.Array:
  """Returns product + offset, the product rounded before it is added.

  At the identity the first row and column lie at 0 ± one rounding, by which the strict
  test of `is_visible` keeps or drops them. XLA would contract the two operations into
  one that rounds once, and decide otherwise than the authors' code; it does not look
  through a select.
  """
  return jnp.where(jnp.isnan(product), 0.0, product) + offset


def _divide(numerator: chex.Array, divisor: chex.Array) -> chex.Array:
  """Returns numerator [..., N] / divisor [..., 1], rounded once.

  XLA would multiply by the reciprocal of what it sees to be one number: two roundings.
  """
  divisor = jnp.broadcast_to(divisor, numerator.shape)
  return numerator / jax.lax.optimization_barrier(divisor)


def _split(intrinsics: chex.Array, axes: int) -> list[chex.Array]:
  """Returns fx, fy, cx, cy with so many axes of size 1 behind the leading ones."""
  shape = (*intrinsics.shape[:-1], *[1] * axes)
  return [intrinsics[..., i].reshape(shape) for i in range(4)]
