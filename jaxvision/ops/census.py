"""The census transform: what a pixel is relative to its neighbours.

Adding a constant to the brightness changes nothing, and of a gain only little is seen.
"""

import chex
import jax
import jax.numpy as jnp

# Of R, G and B, as the authors of DDFlow have it (BT.601, rounded).
GREY_WEIGHTS = (0.2989, 0.587, 0.114)


def luminance_255(images: chex.Array) -> chex.Array:
  """Returns the brightness [..., H, W] in [0, 255] of RGB [..., H, W, 3] in [0, 1]."""
  chex.assert_type(images, float)
  chex.assert_axis_dimension(images, -1, 3)
  weights = jnp.asarray(GREY_WEIGHTS, images.dtype)
  return 255.0 * jnp.sum(images * weights, axis=-1)


def census_transform(
  grey: chex.Array, *, radius: int = 3, softness: float = 0.81
) -> chex.Array:
  """Returns the soft census signature of every pixel.

  With d = neighbour - pixel, an entry is d / √(softness + d²), in (-1, 1).

  Args:
    grey: [B, H, W] brightness in [0, 255].
    radius: of the square window in pixels; outside of the image is 0.
    softness: square of the difference at which an entry is ±0.7.

  Returns:
    [B, (2 radius + 1)², H, W], neighbours row by row; the pixel itself is 0.

  Source: Meister et al., UnFlow, AAAI 2018, 3.2; Stein, 2004.
  """
  chex.assert_rank(grey, 3)
  chex.assert_type(grey, float)
  difference = _windows(grey, radius) - grey[:, None]
  return difference * jax.lax.rsqrt(softness + jnp.square(difference))


def census_distance(
  first: chex.Array, second: chex.Array, *, saturation: float = 0.1
) -> chex.Array:
  """Returns a soft Hamming distance between signatures.

  Σ_k q / (saturation + q) with q the squared difference of entry k.

  Args:
    first: [B, K, H, W] signatures.
    second: [B, K, H, W].
    saturation: squared difference that counts half.

  Returns:
    [B, H, W] in [0, K).
  """
  chex.assert_rank([first, second], 4)
  chex.assert_equal_shape([first, second])
  square = jnp.square(first - second)
  return jnp.sum(square / (saturation + square), axis=1)


def interior(height: int, width: int, margin: int) -> chex.Array:
  """Returns [H, W] float32, 0 on a border of `margin` pixels and 1 inside."""
  rows, columns = jnp.arange(height), jnp.arange(width)
  inside = (rows >= margin) & (rows < height - margin)
  return jnp.outer(inside, (columns >= margin) & (columns < width - margin)) * 1.0


def _windows(grey: chex.Array, radius: int) -> chex.Array:
  """Returns the neighbours [B, (2 r + 1)², H, W] of every pixel."""
  batch, height, width = grey.shape
  side = 2 * radius + 1
  padded = jnp.pad(grey, ((0, 0), (radius, radius), (radius, radius)))
  # First the rows, then the columns: 2 (2 r + 1) slices instead of their square.
  rows = jnp.stack([padded[:, dy : dy + height] for dy in range(side)], axis=1)
  both = jnp.stack([rows[..., dx : dx + width] for dx in range(side)], axis=2)
  return both.reshape(batch, side * side, height, width)
