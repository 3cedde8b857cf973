"""One view made from another: depth and motion to pixels, pixels to colours.

Points of cameras are x right, y down, z forward; pixels are (x, y), the centre of the
first one is (0, 0). Intrinsics are [..., 3, 3] in pixels; transforms are rigid
[..., 4, 4] matrices, see `jaxvision.ops.rigid`.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from jaxvision.ops import rigid
from jaxvision.ops.sampling import bilinear

_NEAREST = 1e-3  # points less far in front of the camera are not seen


class View(NamedTuple):
  """A view made from another one.

  Attributes:
    image: [..., H, W, C]; where `is_seen` is false the border's colours.
    is_seen: [..., H, W] bool, the point of the pixel is in front of the other camera
      and inside its image. What hides it there is not known.
  """

  image: chex.Array
  is_seen: chex.Array


def pixel_grid(height: int, width: int) -> chex.Array:
  """Returns [H, W, 2] float32 (x, y) of the centres of pixels."""
  axes = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
  return jnp.stack(axes, axis=-1).astype(jnp.float32)


def scale_intrinsics(intrinsics: chex.Array, factor: float) -> chex.Array:
  """Returns the intrinsics [..., 3, 3] of an image of `factor` times the size."""
  chex.assert_shape(intrinsics, (..., 3, 3))
  # The corner of the image, half a pixel from the first centre, is what stays.
  shift = 0.5 * (factor - 1)
  matrix = jnp.array(
    [[factor, 0, shift], [0, factor, shift], [0, 0, 1]], intrinsics.dtype
  )
  return matrix @ intrinsics


def unproject(depth: chex.Array, intrinsics: chex.Array) -> chex.Array:
  """Returns the points that pixels see, in their camera's frame.

  Args:
    depth: [..., H, W] z of each pixel, in any unit.
    intrinsics: [..., 3, 3] with focal lengths, principal point and skew.

  Returns:
    [..., H, W, 3] in the unit of depth.
  """
  chex.assert_type([depth, intrinsics], float)
  chex.assert_shape(intrinsics, (*depth.shape[:-2], 3, 3))
  focal_x, skew, center_x, focal_y, center_y = _entries(intrinsics)
  x, y = jnp.moveaxis(pixel_grid(*depth.shape[-2:]).astype(depth.dtype), -1, 0)
  y = (y - center_y) / focal_y
  x = (x - center_x - skew * y) / focal_x
  return jnp.stack([x * depth, y * depth, depth], axis=-1)


def project(points: chex.Array, intrinsics: chex.Array) -> tuple[chex.Array, ...]:
  """Returns the pixels in which a camera sees points.

  Args:
    points: [..., H, W, 3] in the camera's frame.
    intrinsics: [..., 3, 3].

  Returns:
    [..., H, W, 2] pixels (x, y), finite behind the camera too, and [..., H, W] bool,
    the point is in front of it.
  """
  chex.assert_type([points, intrinsics], float)
  chex.assert_shape(intrinsics, (*points.shape[:-3], 3, 3))
  focal_x, skew, center_x, focal_y, center_y = _entries(intrinsics)
  x, y, z = jnp.moveaxis(points, -1, 0)
  is_in_front = z > _NEAREST
  z = jnp.where(is_in_front, z, _NEAREST)
  x, y = x / z, y / z
  pixels = focal_x * x + skew * y + center_x, focal_y * y + center_y
  return jnp.stack(pixels, axis=-1), is_in_front


def synthesize(
  source: chex.Array,
  depth: chex.Array,
  transforms: chex.Array,
  intrinsics: chex.Array,
) -> View:
  """Returns the target view, with its depth, as the source image colours it.

  Differentiable in depth and transforms by the slopes of the source image.

  Args:
    source: [..., H, W, C] image of the source camera.
    depth: [..., H, W] of the target view, in any unit.
    transforms: [..., 4, 4] from the target's camera frame to the source's, in the
      unit of depth.
    intrinsics: [..., 3, 3] of both cameras.

  Source: Zhou et al., Unsupervised Learning of Depth and Ego-Motion from Video, CVPR
    2017, Eq. 2.
  """
  chex.assert_type([source, depth, transforms], float)
  chex.assert_equal_shape_prefix([source, depth], depth.ndim)
  leading, (height, width) = depth.shape[:-2], depth.shape[-2:]
  chex.assert_shape(transforms, (*leading, 4, 4))
  points = unproject(depth, intrinsics).reshape(*leading, height * width, 3)
  moved = rigid.apply(transforms, points).reshape(*leading, height, width, 3)
  pixels, is_in_front = project(moved, intrinsics)
  limits = jnp.array([width - 1, height - 1], pixels.dtype)
  is_inside = jnp.all((pixels >= 0) & (pixels <= limits), axis=-1)
  return View(bilinear(source, pixels), is_in_front & is_inside)


def _entries(intrinsics):
  """Returns what pixels need of intrinsics, [..., 1, 1] each."""
  entries = (0, 0), (0, 1), (0, 2), (1, 1), (1, 2)
  return [intrinsics[..., row, column, None, None] for row, column in entries]
