"""The distribution channel: what a photograph suffers on its way (M5).

It is made smaller and compressed by JPEG: `halve` and `ops.jpeg` in training, `halve`
and the real libjpeg in validation.
"""

import io

import chex
import numpy as np
import PIL.Image
from flax import linen as nn

from jaxvision.ops.resize import resize


def halve(
  images: chex.Array, downsample: str = "pool", coordinates: str = "asymmetric"
) -> chex.Array:
  """Returns the images at half their size.

  Args:
    images: [B, H, W, C] float.
    downsample: "pool" (mean of 2 x 2), "bilinear", or "none": as they are.
    coordinates: convention of "bilinear", see ops.resize.

  Returns:
    [B, H/2, W/2, C].
  """
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


def compress_with_libjpeg(
  images: np.ndarray, quality: int = 50, subsampling: str = "4:4:4"
) -> np.ndarray:
  """Returns the images after the real JPEG, encoded and decoded by Pillow.

  Args:
    images: [B, H, W, 3] in [0, 1]; cut, not rounded, to 8 bits, as the authors do.
    quality: libjpeg's, 1 to 100.
    subsampling: of chroma, "4:4:4", "4:2:2" or "4:2:0".

  Returns:
    [B, H, W, 3] float32 multiples of 1/255.
  """
  chex.assert_shape(images, (None, None, None, 3))
  decoded = []
  for image in (255 * np.asarray(images)).astype(np.uint8):
    stream = io.BytesIO()
    PIL.Image.fromarray(image).save(
      stream, "JPEG", quality=quality, subsampling=subsampling
    )
    decoded.append(np.asarray(PIL.Image.open(stream)))
  return np.stack(decoded).astype(np.float32) / 255
