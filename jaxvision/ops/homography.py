"""Planes seen from two cameras: the homography between their images, and warps by it.

Pixels are (x, y), the centre of the first one is (0, 0). Intrinsics are [..., 3, 3]
upper triangular with last row (0, 0, 1), in pixels, the same for both cameras;
transforms are rigid [..., 4, 4] from the reference camera's frame to the target's. The
planes are parallel to the reference image, at depths in the unit of the transforms.
"""

import chex
import jax.numpy as jnp

from jaxvision.ops.view_synthesis import pixel_grid

_SMALL = 1e-8  # divisor where there is none
OUTSIDE = -1e4  # pixel that no image has: what is sampled there is nothing


def invert_intrinsics(intrinsics: chex.Array) -> chex.Array:
  """Returns the inverses [..., 3, 3] of intrinsics [..., 3, 3]."""
  chex.assert_type(intrinsics, float)
  chex.assert_shape(intrinsics, (..., 3, 3))
  focal_x, skew, center_x = jnp.moveaxis(intrinsics[..., 0, :], -1, 0)
  _, focal_y, center_y = jnp.moveaxis(intrinsics[..., 1, :], -1, 0)
  zero, one = jnp.zeros_like(focal_x), jnp.ones_like(focal_x)
  corner = (skew * center_y / focal_y - center_x) / focal_x
  entries = [1 / focal_x, -skew / (focal_x * focal_y), corner]
  entries += [zero, 1 / focal_y, -center_y / focal_y, zero, zero, one]
  return jnp.stack(entries, axis=-1).reshape(intrinsics.shape)


def plane_homographies(
  transforms: chex.Array, depths: chex.Array, intrinsics: chex.Array
) -> chex.Array:
  """Returns the homographies from target pixels to reference pixels.

  Args:
    transforms: [..., 4, 4] from the reference camera to the target.
    depths: [..., D] of the planes in the reference camera's frame, positive.
    intrinsics: [..., 3, 3].

  Returns:
    [..., D, 3, 3]: K (Rᵀ + Rᵀ t n Rᵀ / (a - n Rᵀ t)) K⁻¹ for the plane n x + a = 0 with
    n = (0, 0, 1) and a = -depth. The third coordinate that it gives to (x, y, 1) is
    positive where the plane is in front of the target camera.

  Source: Hartley and Zisserman, Multiple View Geometry, Eq. 13.2; the authors'
    inv_homography.
  """
  chex.assert_type([transforms, depths, intrinsics], float)
  chex.assert_shape(transforms, (*depths.shape[:-1], 4, 4))
  chex.assert_shape(intrinsics, (*depths.shape[:-1], 3, 3))
  inverse_rotation = jnp.swapaxes(transforms[..., :3, :3], -1, -2)
  # Where the target camera is, less its sign; only its z meets the planes.
  offset = _product(inverse_rotation, transforms[..., :3, 3:])
  normal = inverse_rotation[..., 2:, :]
  divisor = -depths - offset[..., 2, :]
  divisor = jnp.where(divisor == 0, _SMALL, divisor)[..., None, None]
  induced = (offset @ normal)[..., None, :, :] / divisor
  middle = inverse_rotation[..., None, :, :] + induced
  inverse = invert_intrinsics(intrinsics)
  return _product(
    _product(intrinsics[..., None, :, :], middle), inverse[..., None, :, :]
  )


def apply_homography(homographies: chex.Array, points: chex.Array) -> chex.Array:
  """Returns where homographies take pixels.

  Args:
    homographies: [..., 3, 3].
    points: [*P, 2] pixels (x, y), the same for all.

  Returns:
    [..., *P, 2]; OUTSIDE where the third coordinate is not positive: the plane's point
    is behind the camera. No gradient comes from there.
  """
  chex.assert_shape(homographies, (..., 3, 3))
  chex.assert_axis_dimension(points, -1, 2)
  leading = homographies.shape[:-2]
  entries = homographies.reshape(*leading, *[1] * (points.ndim - 1), 3, 3)
  x, y = points[..., 0], points[..., 1]
  u, v, w = (
    entries[..., row, 0] * x + entries[..., row, 1] * y + entries[..., row, 2]
    for row in range(3)
  )
  in_front = w > 0
  w = jnp.where(in_front, w, 1.0)
  moved = jnp.stack([u / w, v / w], axis=-1)
  return jnp.where(in_front[..., None], moved, OUTSIDE)


def sweep_pixels(
  transforms: chex.Array,
  depths: chex.Array,
  intrinsics: chex.Array,
  shape: tuple[int, int],
) -> chex.Array:
  """Returns the target pixels that see what reference pixels would at given depths.

  Args:
    transforms: [..., 4, 4] from the reference camera to the target.
    depths: [..., D] hypotheses, positive.
    intrinsics: [..., 3, 3].
    shape: height and width of the reference image.

  Returns:
    [..., D, H, W, 2] pixels (x, y); OUTSIDE where the point is not in front of the
    target camera.
  """
  chex.assert_type([transforms, depths, intrinsics], float)
  chex.assert_shape(transforms, (*depths.shape[:-1], 4, 4))
  chex.assert_shape(intrinsics, (*depths.shape[:-1], 3, 3))
  # K (R depth K⁻¹ p + t), as a homography scaled by the depth.
  rotated = _product(
    _product(intrinsics, transforms[..., :3, :3]), invert_intrinsics(intrinsics)
  )
  shift = _product(intrinsics, transforms[..., :3, 3:])
  last = jnp.array([[0.0, 0.0, 1.0]], depths.dtype)
  homographies = (
    depths[..., None, None] * rotated[..., None, :, :] + (shift @ last)[..., None, :, :]
  )
  return apply_homography(homographies, pixel_grid(*shape).astype(depths.dtype))


def _product(a, b):
  return jnp.matmul(a, b, precision="highest")
