"""Occlusion made up: noise in superpixels or rectangles, and crops (M12, M13)."""

from typing import Literal

import chex
import jax
import jax.numpy as jnp

Noise = Literal["superpixels", "rectangles", "none"]

SEGMENTS, SEGMENTS_AREA = 300, 320 * 896  # about how many superpixels on which area
SHARES = (0.08, 0.16)  # of the superpixels, or of the area, that noise fills
RECTANGLES = (2, 4)  # how many, the last included


def segments(height: int, width: int) -> int:
  """Returns about how many superpixels an image of this size has (at least 12)."""
  return max(round(SEGMENTS * height * width / SEGMENTS_AREA), 12)


def choose_superpixels(key: chex.PRNGKey, labels: chex.Array) -> chex.Array:
  """Returns the pixels of randomly chosen superpixels, at least one of each image.

  A share between 8 and 16 % is drawn for each image, and each of its superpixels is
  chosen with that probability (not published; our choice).

  Args:
    key: of the draw.
    labels: [B, H, W] int32 from 0, one after the other.

  Returns:
    [B, H, W] bool.
  """
  chex.assert_rank(labels, 3)
  chex.assert_type(labels, int)
  batch, height, width = labels.shape
  share_key, order_key = jax.random.split(key)
  share = jax.random.uniform(share_key, (batch,), minval=SHARES[0], maxval=SHARES[1])
  count = jnp.max(labels, axis=(1, 2)) + 1
  draw = jax.random.uniform(order_key, (batch, height * width))
  draw = jnp.where(jnp.arange(height * width) < count[:, None], draw, jnp.inf)
  chosen = draw <= jnp.maximum(share[:, None], jnp.min(draw, axis=1, keepdims=True))
  flat = jnp.take_along_axis(chosen, labels.reshape(batch, -1), axis=1)
  return flat.reshape(labels.shape)


def choose_rectangles(
  key: chex.PRNGKey, batch: int, height: int, width: int
) -> chex.Array:
  """Returns two to four random rectangles, together of the superpixels' area or less.

  Returns:
    [B, H, W] bool; rectangles may overlap.

  Source: the paper's ablation, 4.3.
  """
  keys = jax.random.split(key, 5)
  most = RECTANGLES[1]
  count = jax.random.randint(keys[0], (batch, 1), RECTANGLES[0], most + 1)
  share = jax.random.uniform(keys[1], (batch, 1), minval=SHARES[0], maxval=SHARES[1])
  ratio = jnp.exp(jax.random.uniform(keys[2], (batch, most), minval=-0.7, maxval=0.7))
  side = jnp.sqrt(share * height * width / count)
  tall, wide = side * ratio, side / ratio
  top = jax.random.uniform(keys[3], (batch, most)) * (height - tall)
  left = jax.random.uniform(keys[4], (batch, most)) * (width - wide)

  def within(positions, start, extent):
    start, end = start[..., None], (start + extent)[..., None]
    return (positions >= start) & (positions < end)

  rows = within(jnp.arange(height), top, tall)
  columns = within(jnp.arange(width), left, wide)
  used = (jnp.arange(most) < count)[..., None, None]
  return jnp.any(used & rows[..., None] & columns[..., None, :], axis=1)


def fill_with_noise(
  key: chex.PRNGKey, images: chex.Array, mask: chex.Array
) -> chex.Array:
  """Returns images [B, H, W, 3] with noise uniform in [0, 1] where the mask is true."""
  chex.assert_equal_shape_prefix([images, mask], 3)
  noise = jax.random.uniform(key, images.shape, images.dtype)
  return jnp.where(mask[..., None], noise, images)


def hallucinate(
  key: chex.PRNGKey,
  frames: chex.Array,
  labels: chex.Array,
  noise: Noise,
  noised: tuple[int, ...] = (3,),
) -> chex.Array:
  """Returns frames of which some have noise in random regions.

  Args:
    key: of the draws.
    frames: [T, B, H, W, 3] in [0, 1].
    labels: [B, H, W] superpixels.
    noise: kind of the regions.
    noised: numbers of the frames, each with regions of its own; 3 of 5 is I(t + 1).
  """
  if noise == "none":
    return frames
  if noise not in ("superpixels", "rectangles"):
    raise ValueError(f"noise is {noise!r}, not 'superpixels', 'rectangles' or 'none'")
  for number in noised:
    key, mask_key, noise_key = jax.random.split(key, 3)
    if noise == "superpixels":
      mask = choose_superpixels(mask_key, labels)
    else:
      mask = choose_rectangles(mask_key, *labels.shape)
    filled = fill_with_noise(noise_key, frames[number], mask)
    frames = frames.at[number].set(filled)
  return frames


def random_window(
  key: chex.PRNGKey, size: tuple[int, int], window: tuple[int, int]
) -> tuple[chex.Array, chex.Array]:
  """Returns row and column at which a window of an image begins, uniformly drawn."""
  room = jnp.array(size) - jnp.array(window)
  # One draw for both; a float32 just below 1 may round up to one too many.
  begin = jnp.floor(jax.random.uniform(key, (2,)) * (room + 1)).astype(jnp.int32)
  row, column = jnp.minimum(begin, room)
  return row, column


def crop(
  images: chex.Array, start: tuple[chex.Array, chex.Array], window: tuple[int, int]
) -> chex.Array:
  """Returns a window [..., h, w, C] of images [..., H, W, C]."""
  starts = [0] * (images.ndim - 3) + [*start, 0]
  sizes = (*images.shape[:-3], *window, images.shape[-1])
  return jax.lax.dynamic_slice(images, starts, sizes)
