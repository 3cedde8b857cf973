"""Sampling images at arbitrary points.

Points are pixels (x, y): x is the column and y the row, and the centre of the first
pixel is (0, 0). PyTorch's `grid_sample` with align_corners=True reads (x, y) from
(2 x / (W - 1) - 1, 2 y / (H - 1) - 1).
"""

import chex
import jax.numpy as jnp


def bilinear(images: chex.Array, points: chex.Array) -> chex.Array:
  """Returns the images at points between pixels, interpolated bilinearly.

  Outside the image the border's value goes on, and the gradient by the coordinate that
  left is 0. Where a point is NaN or infinite, so is the sample, or it is the border's:
  no element out of range is ever read.

  Args:
    images: [..., H, W, C] float.
    points: [..., *P, 2] float (x, y) in pixels; the leading axes are the images'.

  Returns:
    [..., *P, C].
  """
  chex.assert_type([images, points], float)
  chex.assert_axis_dimension(points, -1, 2)
  leading = images.shape[:-3]
  chex.assert_equal_shape_prefix([images, points], len(leading))
  height, width, channels = images.shape[-3:]
  shape = points.shape[len(leading) : -1]

  pixels = jnp.asarray(images).reshape(-1, channels)
  points = points.reshape(-1, *shape, 2)
  x = jnp.clip(points[..., 0], 0, width - 1)
  y = jnp.clip(points[..., 1], 0, height - 1)
  left, top = jnp.floor(x), jnp.floor(y)
  x, y = (x - left)[..., None], (y - top)[..., None]
  # NaN becomes some integer, which must not lead out of the image.
  left = jnp.clip(left.astype(jnp.int32), 0, width - 1)
  top = jnp.clip(top.astype(jnp.int32), 0, height - 1)
  right, bottom = jnp.minimum(left + 1, width - 1), jnp.minimum(top + 1, height - 1)

  # One flat index serves all images: several times faster than an index per axis.
  image = jnp.arange(len(points)).reshape(-1, *[1] * len(shape)) * (height * width)

  def at(row, column):
    return pixels.at[image + row * width + column].get(mode="promise_in_bounds")

  above = (1 - x) * at(top, left) + x * at(top, right)
  below = (1 - x) * at(bottom, left) + x * at(bottom, right)
  samples = (1 - y) * above + y * below
  return samples.reshape(*leading, *shape, channels)
