"""One level of the inverse compositional algorithm (M6 to M11).

Everything that depends on the template alone, its gradient and so the Jacobian, is
computed once; each iteration warps the image and solves six equations. A solver turns
the normal equations into the update; see `solvers`.

Source: Section 3; Baker and Matthews, Lucas-Kanade 20 years on, 2004.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import padding, rigid
from jaxvision.ops.sampling import bilinear
from jaxvision.papers.inverse_compositional import geometry

OCCLUDED = 1e-3  # the residual of what the image does not show: constant


class Level(NamedTuple):
  """Two views at one scale.

  Attributes:
    template: [B, H, W, 1] features x0.
    image: [B, H, W, 1] features x1.
    template_depth: [B, H, W] inverse depth, 1/m, 0 where not known.
    image_depth: [B, H, W] likewise.
    intrinsics: [B, 4] at this scale.
    rays: [B, H, W, 2], see `geometry.pixel_rays`.
  """

  template: chex.Array
  image: chex.Array
  template_depth: chex.Array
  image_depth: chex.Array
  intrinsics: chex.Array
  rays: chex.Array


def make_level(
  template: chex.Array,
  image: chex.Array,
  template_depth: chex.Array,
  image_depth: chex.Array,
  intrinsics: chex.Array,
) -> Level:
  """Returns a Level of these parts, checked, with its rays."""
  chex.assert_rank([template, image], 4)
  chex.assert_equal_shape([template, image])
  chex.assert_axis_dimension(template, -1, 1)
  chex.assert_equal_shape([template[..., 0], template_depth, image_depth])
  chex.assert_shape(intrinsics, (len(template), 4))
  chex.assert_type([template, image, template_depth, image_depth, intrinsics], float)
  rays = geometry.pixel_rays(*template.shape[1:3], intrinsics)
  return Level(template, image, template_depth, image_depth, intrinsics, rays)


def residual(level: Level, poses: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns the warped image minus the template, and where it is visible (M7).

  No gradient passes the decision of what is visible.

  Args:
    level: both views.
    poses: [B, *N, 4, 4].

  Returns:
    residual [B, *N, H, W], OCCLUDED where not visible; visible [B, *N, H, W] bool.
  """
  points, inverse_depth = geometry.warp(
    level.rays, level.template_depth, poses, level.intrinsics
  )
  warped = bilinear(level.image, points)[..., 0]
  fixed_points, inverse_depth, image_depth = jax.lax.stop_gradient(
    (points, inverse_depth, level.image_depth)
  )
  seen = bilinear(image_depth[..., None], fixed_points)[..., 0]
  visible = geometry.is_visible(fixed_points, inverse_depth, seen)
  template = level.template.reshape(
    len(warped), *[1] * (warped.ndim - 3), *warped.shape[-2:]
  )
  return jnp.where(visible, warped - template, OCCLUDED), visible


def feature_gradient(features: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns the direction of steepest ascent, a unit vector, of features [B, H, W, 1].

  Sobel's derivatives with the border replicated, divided by their magnitude.

  Returns:
    its x and y, [B, H, W] each; near 0 where the features are constant.

  Source: the authors' code; M8.
  """
  chex.assert_rank(features, 4)
  padded = padding.pad(features, ((1, 1), (1, 1)), "replicate")[..., 0]
  across = padded[:, :, 2:] - padded[:, :, :-2]
  down = padded[:, 2:] - padded[:, :-2]
  dx = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
  dy = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
  magnitude = jnp.sqrt(dx * dx + dy * dy + 1e-8)
  return dx / magnitude, dy / magnitude


def jacobian(level: Level) -> chex.Array:
  """Returns the derivatives [B, H, W, 6] of the template's features by a twist (M8).

  Source: Eq. 13.
  """
  dx, dy = feature_gradient(level.template)
  du, dv = geometry.warp_jacobian(level.rays, level.template_depth, level.intrinsics)
  return dx[..., None] * du + dy[..., None] * dv


def apply_inverse(pose: chex.Array, twist: chex.Array) -> chex.Array:
  """Returns the pose composed with the inverse of an increment (M11).

  Args:
    pose: [..., 4, 4].
    twist: [..., 6] ξ, rotation then translation; exp(-ω) and -exp(-ω) v stand for the
      inverse, as in the authors' code.

  Source: Eq. 8.
  """
  chex.assert_axis_dimension(twist, -1, 6)
  rotation = rigid.exp_rotation(-twist[..., :3])
  translation = -jnp.sum(rotation * twist[..., None, 3:], axis=-1)
  return jnp.matmul(pose, rigid.transform(rotation, translation), precision="highest")
