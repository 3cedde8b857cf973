"""Multiplane images: planes of colour and opacity, and the views that they make.

A multiplane image (MPI) is [B, H, W, D, 4]: D planes parallel to the image of a
reference camera, the FARTHEST first, each with colours of any range and an opacity in
[0, 1]. There is nothing behind the farthest plane, and nothing beside the image: a ray
that is not stopped gets colour 0. Cameras are as in `jaxvision.ops.homography`; all
images of one call share their intrinsics.

Source: Zhou et al., Stereo Magnification, SIGGRAPH 2018; Srinivasan et al., CVPR 2019.
"""

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import homography
from jaxvision.ops.sampling import bilinear
from jaxvision.ops.view_synthesis import pixel_grid

_OPAQUE = 1e-8  # what an opaque plane lets through


def plane_depths(near: float, far: float, number: int) -> chex.Array:
  """Returns the depths [number] of planes, the farthest first, uniform in 1/depth.

  Raises:
    ValueError: not 0 < near < far, or fewer than 2 planes.

  Source: Srinivasan et al., Section 3.
  """
  if not 0 < near < far or number < 2:
    raise ValueError(f"{number} planes from {near} to {far}: 0 < near < far, 2 or more")
  return 1 / jnp.linspace(1 / far, 1 / near, number)


def plane_sweep_volume(
  images: chex.Array,
  transforms: chex.Array,
  depths: chex.Array,
  intrinsics: chex.Array,
) -> chex.Array:
  """Returns images as the reference camera would see them at each depth.

  Args:
    images: [B, H, W, C] of the source cameras.
    transforms: [B, 4, 4] from the reference camera to the source.
    depths: [D] or [B, D] hypotheses, positive.
    intrinsics: [B, 3, 3].

  Returns:
    [B, H, W, D, C], 0 where the source camera does not see the point.
  """
  chex.assert_rank(images, 4)
  depths = _per_image(depths, images)
  points = homography.sweep_pixels(transforms, depths, intrinsics, images.shape[1:3])
  batch, planes, height, width, _ = points.shape
  # One long axis of points: each image is sampled by all planes.
  samples = bilinear(
    images, points.reshape(batch, planes * height, width, 2), outside="zero"
  )
  samples = samples.reshape(batch, planes, height, width, -1)
  return jnp.moveaxis(samples, 1, 3)


def transmittance(alphas: chex.Array) -> chex.Array:
  """Returns the weight of each plane in the image that they make.

  Args:
    alphas: [..., D] opacities in [0, 1], the farthest plane first.

  Returns:
    [..., D]: α_k Π_{j > k} (1 - α_j + 1e-8).

  Source: Srinivasan et al., Eq. 5.
  """
  chex.assert_type(alphas, float)
  through = jax.lax.cumprod(1 - alphas + _OPAQUE, axis=alphas.ndim - 1, reverse=True)
  nearer = jnp.concatenate([through[..., 1:], jnp.ones_like(alphas[..., :1])], axis=-1)
  return nearer * alphas


def over_composite(layers: chex.Array) -> chex.Array:
  """Returns the image [..., 3] of planes [..., D, 4], the farthest first."""
  chex.assert_shape(layers, (..., None, 4))
  weights = transmittance(layers[..., 3])
  return jnp.sum(weights[..., None] * layers[..., :3], axis=-2)


def warp_layers(
  layers: chex.Array,
  transforms: chex.Array,
  depths: chex.Array,
  intrinsics: chex.Array,
) -> chex.Array:
  """Returns each plane as a target camera sees it.

  Args:
    layers: [B, H, W, D, C] on the planes of the reference camera.
    transforms: [B, 4, 4] from the reference camera to the target.
    depths: [D] or [B, D] of the planes, positive.
    intrinsics: [B, 3, 3].

  Returns:
    [B, H, W, D, C], 0 where the target camera looks beside a plane, or has it behind.
  """
  chex.assert_rank(layers, 5)
  depths = _per_image(depths, layers)
  chex.assert_axis_dimension(layers, 3, depths.shape[1])
  matrices = homography.plane_homographies(transforms, depths, intrinsics)
  grid = pixel_grid(*layers.shape[1:3]).astype(layers.dtype)
  points = homography.apply_homography(matrices, grid)
  samples = bilinear(jnp.moveaxis(layers, 3, 1), points, outside="zero")
  return jnp.moveaxis(samples, 1, 3)


def render(
  layers: chex.Array,
  transforms: chex.Array,
  depths: chex.Array,
  intrinsics: chex.Array,
) -> chex.Array:
  """Returns the view of a target camera, from the farthest plane to the nearest.

  The same as `over_composite(warp_layers(...))`, one plane at a time: it holds one
  warped plane, not all of them.

  Args:
    layers: [B, H, W, D, 4].
    transforms: [B, 4, 4] from the reference camera to the target.
    depths: [D] or [B, D] of the planes, the farthest first.
    intrinsics: [B, 3, 3].

  Returns:
    [B, H, W, 3].
  """
  chex.assert_shape(layers, (None, None, None, None, 4))
  depths = _per_image(depths, layers)
  chex.assert_axis_dimension(layers, 3, depths.shape[1])
  matrices = homography.plane_homographies(transforms, depths, intrinsics)
  grid = pixel_grid(*layers.shape[1:3]).astype(layers.dtype)

  def add_plane(behind, plane):
    rgba, matrix = plane
    points = homography.apply_homography(matrix, grid)
    warped = bilinear(rgba, points, outside="zero")
    color, alpha = warped[..., :3], warped[..., 3:]
    return color * alpha + behind * (1 - alpha + _OPAQUE), None

  planes = jnp.moveaxis(layers, 3, 0), jnp.moveaxis(matrices, 1, 0)
  image, _ = jax.lax.scan(add_plane, jnp.zeros_like(layers[..., 0, :3]), planes)
  return image


def sees_every_plane(warped: chex.Array) -> chex.Array:
  """Returns which pixels of a view look at all planes and not beside one.

  Args:
    warped: [B, H, W, D, 4], see `warp_layers`.

  Returns:
    [B, H, W, 1] bool: no plane's RGBA sums to 0. No gradient passes.
  """
  chex.assert_shape(warped, (None, None, None, None, 4))
  return jnp.all(jnp.sum(warped, axis=-1) != 0, axis=-1, keepdims=True)


def disocclusion(
  alphas: chex.Array,
  warped_alphas: chex.Array,
  transforms: chex.Array,
  depths: chex.Array,
  intrinsics: chex.Array,
) -> chex.Array:
  """Returns how much of each pixel of a view the reference camera does not see.

  Args:
    alphas: [B, H, W, D] of the planes.
    warped_alphas: [B, H, W, D] as the target camera sees them, see `warp_layers`.
    transforms: [B, 4, 4] from the reference camera to the target.
    depths: [D] or [B, D] of the planes.
    intrinsics: [B, 3, 3].

  Returns:
    [B, H, W, 1] in [0, 1]: by how much some plane weighs more in the target's view
    than in the reference's. No gradient passes.
  """
  chex.assert_rank([alphas, warped_alphas], 4)
  chex.assert_equal_shape([alphas, warped_alphas])
  seen = transmittance(jax.lax.stop_gradient(alphas))[..., None]
  seen = warp_layers(seen, transforms, depths, intrinsics)[..., 0]
  gained = transmittance(jax.lax.stop_gradient(warped_alphas)) - seen
  return jax.lax.stop_gradient(
    jnp.max(jnp.maximum(gained, 0.0), axis=-1, keepdims=True)
  )


def _per_image(depths, images):
  """Returns depths [B, D] of [D] or [B, D]."""
  chex.assert_rank(depths, {1, 2})
  return jnp.broadcast_to(depths, (images.shape[0], depths.shape[-1]))
