"""Linear and rank filters on images.

Images are [B, H, W, C]; every channel is filtered alike, and the result has the
image's size. How an image goes on beyond its border is a mode of
`jaxvision.ops.padding`: "reflect", "symmetric", "replicate", "circular", "zeros".
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import padding


def filter2d(
  images: chex.Array, kernel: np.ndarray, *, padding_mode: str | None = "reflect"
) -> chex.Array:
  """Returns the correlation of every channel with one kernel.

  Args:
    images: [B, H, W, C] float.
    kernel: [h, w] numbers known at trace time, h and w odd. Taps that are 0 cost
      nothing.
    padding_mode: how the image goes on beyond its border; None filters only where
      the kernel lies inside the image.

  Returns:
    [B, H, W, C]; [B, H - h + 1, W - w + 1, C] without padding.
  """
  chex.assert_rank([images, kernel], [4, 2])
  chex.assert_type(images, float)
  x = _pad(images, kernel.shape, padding_mode)
  for factor in _factors(np.asarray(kernel)):
    x = _correlate(x, factor)
  return x


def gaussian_kernel(size: int, std: float) -> np.ndarray:
  """Returns a [size, size] Gaussian sampled at the pixels, of sum 1.

  Args:
    size: side in pixels, odd.
    std: standard deviation in pixels.
  """
  offsets = np.arange(size) - (size - 1) / 2
  profile = np.exp(-0.5 * (offsets / std) ** 2)
  return np.outer(profile, profile) / profile.sum() ** 2


def median_filter(
  images: chex.Array, size: int = 3, *, padding_mode: str = "reflect"
) -> chex.Array:
  """Returns the median of each pixel's square neighbourhood, channel by channel.

  Args:
    images: [B, H, W, C] float.
    size: side of the neighbourhood in pixels, odd.
    padding_mode: how the image goes on beyond its border.

  Returns:
    [B, H, W, C]. The gradient goes to the pixel that is the median.
  """
  chex.assert_rank(images, 4)
  chex.assert_type(images, float)
  height, width = images.shape[1:3]
  padded = _pad(images, (size, size), padding_mode)
  neighbours = jnp.stack(
    [
      padded[:, row : row + height, column : column + width]
      for row in range(size)
      for column in range(size)
    ],
    axis=-1,
  )
  return jnp.sort(neighbours, axis=-1)[..., size * size // 2]


def _factors(kernel: np.ndarray) -> list[np.ndarray]:
  """Returns the kernels whose correlation one after the other is that with `kernel`."""
  left, values, right = np.linalg.svd(kernel)
  if min(kernel.shape) == 1 or values[1] > 1e-12 * values[0]:
    return [kernel]
  # A product of a column and a row, such as a Gaussian, takes h + w taps, not h · w.
  return [values[0] * left[:, :1], right[:1]]


def _correlate(x: jax.Array, kernel: np.ndarray) -> jax.Array:
  height = x.shape[1] - kernel.shape[0] + 1
  width = x.shape[2] - kernel.shape[1] + 1
  # A sum of shifted images fuses into one loop; XLA's depthwise convolution on a
  # CPU is many times slower.
  return sum(
    jnp.asarray(kernel[row, column], x.dtype)
    * x[:, row : row + height, column : column + width]
    for row, column in zip(*np.nonzero(kernel), strict=True)
  )


def _pad(images: jax.Array, size: tuple[int, int], mode: str | None) -> jax.Array:
  if size[0] % 2 != 1 or size[1] % 2 != 1:
    raise ValueError(f"kernel of {size[0]} x {size[1]}: both sides must be odd")
  if mode is None:
    return images
  rows, columns = size[0] // 2, size[1] // 2
  return padding.pad(images, ((rows, rows), (columns, columns)), mode)
