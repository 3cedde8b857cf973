"""The distribution channel: what a photograph suffers on its way (M5)."""

import chex
from flax import linen as nn

from jaxvision.ops import jpeg
from jaxvision.ops.resize import resize


def distribute(
  images: chex.Array,
  quality: chex.Numeric = 50.0,
  *,
  downsample: str = "pool",
  coordinates: str = "asymmetric",
  rounding: str = "sin",
) -> chex.Array:
  """Returns the images at half their size after JPEG compression.

  Args:
    images: [B, H, W, 3] in [0, 1], H and W multiples of 16.
    quality: JPEG quality, 1 to 100; may be traced, for instance drawn at random.
    downsample: "pool" (mean of 2 x 2), "bilinear" or "none".
    coordinates: convention of "bilinear", see ops.resize.
    rounding: how the differentiable JPEG approximates rounding.

  Returns:
    [B, H/2, W/2, 3] in [0, 1]; [B, H, W, 3] without down-sampling.
  """
  return jpeg.jpeg(
    halve(images, downsample, coordinates),
    quality,
    rounding=rounding,
    arithmetic="korus",
  )


def halve(
  images: chex.Array, downsample: str = "pool", coordinates: str = "asymmetric"
) -> chex.Array:
  """Returns the images at half their size; see `distribute`."""
  chex.assert_rank(images, 4)
  chex.assert_type(images, float)
  if downsample == "pool":
    return nn.avg_pool(images, (2, 2), (2, 2), "SAME", count_include_pad=False)
  if downsample == "bilinear":
    size = images.shape[1] // 2, images.shape[2] // 2
    return resize(images, size, coordinates=coordinates)
  if downsample == "none":
    return images
  raise ValueError(f"downsample is {downsample!r}, not 'pool', 'bilinear' or 'none'")
