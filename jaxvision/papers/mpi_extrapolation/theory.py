"""How far outside its reference view a multiplane image can be rendered."""

import chex
import jax.numpy as jnp

from jaxvision.ops import mpi
from jaxvision.ops.pooling import max_pool


def renderable_range(
  pixel: float, disparity_step: float, nearest_disparity: float, forward: float = 0.0
) -> float:
  """Returns the largest sideways shift of the camera, in the unit of depth.

  There, neighbouring planes move by one pixel against each other, and gaps open.

  Args:
    pixel: pitch of pixels, in focal lengths: 1 / focal length in pixels.
    disparity_step: difference of 1/depth of neighbouring planes.
    nearest_disparity: 1/depth of the nearest plane.
    forward: shift s of the camera towards the scene; not positive: away from it.

  Raises:
    ValueError: the camera moves forward, or a length is not positive.

  Source: Srinivasan et al., Section 3, Eq. 3.
  """
  if forward > 0:
    raise ValueError(f"forward is {forward}: the range is known for s <= 0")
  if min(pixel, disparity_step, nearest_disparity) <= 0:
    raise ValueError("pixel and disparities must be positive")
  return pixel * (1 - forward * nearest_disparity) / disparity_step


def oracle_layers(
  image: chex.Array, depth: chex.Array, depths: chex.Array
) -> chex.Array:
  """Returns the MPI of a view whose depth is known: opaque on the closest plane.

  Each plane reaches one pixel under and over its neighbours, so that gaps open only
  where planes move by more than a pixel against each other.

  Args:
    image: [B, H, W, 3].
    depth: [B, H, W], positive; what lies outside the planes goes to the outermost one.
    depths: [D] of the planes, uniform in 1/depth, the farthest first.

  Returns:
    [B, H, W, D, 4]; all planes have the pixel's colour.
  """
  chex.assert_rank([image, depth, depths], [4, 3, 1])
  chex.assert_equal_shape_prefix([image, depth], 3)
  disparities = 1 / depths
  step = disparities[1] - disparities[0]
  plane = jnp.round((1 / depth - disparities[0]) / step)
  plane = jnp.clip(plane, 0, len(depths) - 1).astype(jnp.int32)
  alpha = (plane[..., None] == jnp.arange(len(depths))).astype(image.dtype)
  alpha = max_pool(alpha, 3, strides=1, padding="SAME")
  color = jnp.broadcast_to(image[:, :, :, None], (*alpha.shape, 3))
  return jnp.concatenate([color, alpha[..., None]], axis=-1)


def oracle_view(
  image: chex.Array,
  depth: chex.Array,
  depths: chex.Array,
  transforms: chex.Array,
  intrinsics: chex.Array,
) -> tuple[chex.Array, chex.Array]:
  """Returns the view of an `oracle_layers`, and where all planes are seen.

  Args:
    image: [B, H, W, 3].
    depth: [B, H, W].
    depths: [D] of the planes.
    transforms: [B, 4, 4] from the reference camera to the target.
    intrinsics: [B, 3, 3].

  Returns:
    [B, H, W, 3] and [B, H, W, 1] bool.
  """
  layers = oracle_layers(image, depth, depths)
  view = mpi.render(layers, transforms, depths, intrinsics)
  # Whole planes say it: of an oracle's one, most pixels are transparent.
  whole = jnp.ones_like(layers[..., :1])
  warped = mpi.warp_layers(whole, transforms, depths, intrinsics)
  return view, jnp.all(warped[..., 0] > 0, axis=-1)[..., None]
