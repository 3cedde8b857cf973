"""Measures of image quality and of classification.

Images are [B, H, W, C] float in [0, value_range]; image measures return one number
per image and leave the mean to the caller.
"""

import chex
import jax
import jax.numpy as jnp


def psnr(a: chex.Array, b: chex.Array, *, value_range: float = 1.0) -> chex.Array:
  """Returns the peak signal-to-noise ratio of image pairs.

  Args:
    a: [B, H, W, C] images.
    b: [B, H, W, C] images.
    value_range: largest possible value less the smallest.

  Returns:
    [B] decibels; infinite where the two are equal.
  """
  _assert_pairs(a, b)
  squared_error = jnp.mean(jnp.square(a - b), axis=(1, 2, 3))
  return 10 * jnp.log10(value_range**2 / squared_error)


def ssim(
  a: chex.Array, b: chex.Array, *, value_range: float = 1.0, window: int = 7
) -> chex.Array:
  """Returns the structural similarity of image pairs.

  Local statistics are unbiased and taken in square windows that lie fully inside
  the image, as scikit-image's structural_similarity does by default; channels are
  averaged.

  Args:
    a: [B, H, W, C] images, sides at least `window`.
    b: [B, H, W, C] images.
    value_range: largest possible value less the smallest.
    window: side of the window in pixels.

  Returns:
    [B] in [-1, 1].

  Source: Wang, Bovik, Sheikh, Simoncelli, IEEE Transactions on Image Processing
    13(4), 2004.
  """
  similarity = ssim_map(a, b, value_range=value_range, window=window)
  return jnp.mean(similarity, axis=(1, 2, 3))


def ssim_map(
  a: chex.Array, b: chex.Array, *, value_range: float = 1.0, window: int = 7
) -> chex.Array:
  """Returns the structural similarity around each pixel and in each channel.

  Arguments as for `ssim`.

  Returns:
    [B, H - window + 1, W - window + 1, C] in [-1, 1]; the first element belongs to the
    pixel (window // 2, window // 2).
  """
  _assert_pairs(a, b)
  if min(a.shape[1:3]) < window:
    raise ValueError(f"images {a.shape} are smaller than the window, {window}")

  def mean(x: jax.Array) -> jax.Array:
    size = (1, window, window, 1)
    total = jax.lax.reduce_window(x, 0.0, jax.lax.add, size, (1, 1, 1, 1), "VALID")
    return total / window**2

  unbiased = window**2 / (window**2 - 1)
  mean_a, mean_b = mean(a), mean(b)
  variance_a = unbiased * (mean(a * a) - mean_a * mean_a)
  variance_b = unbiased * (mean(b * b) - mean_b * mean_b)
  covariance = unbiased * (mean(a * b) - mean_a * mean_b)

  c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
  luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
  structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
  return luminance * structure


def confusion_matrix(
  labels: chex.Array, predictions: chex.Array, num_classes: int
) -> chex.Array:
  """Returns how often each class was taken for each.

  Args:
    labels: [N] int true classes.
    predictions: [N] int predicted classes.
    num_classes: number of classes.

  Returns:
    [num_classes, num_classes] int32 counts; row: true class, column: predicted.
  """
  chex.assert_rank([labels, predictions], 1)
  chex.assert_equal_shape([labels, predictions])
  chex.assert_type([labels, predictions], int)
  counts = jnp.zeros((num_classes, num_classes), jnp.int32)
  return counts.at[labels, predictions].add(1)


def _assert_pairs(a: chex.Array, b: chex.Array) -> None:
  chex.assert_rank([a, b], 4)
  chex.assert_type([a, b], float)
  chex.assert_equal_shape([a, b])
