"""Otsu's threshold between dark and bright."""

from typing import NamedTuple

import chex
import jax.numpy as jnp

LEVELS = 256


class Threshold(NamedTuple):
  """Attributes: value in the image's unit, and mask, bool, of what lies above it."""

  value: chex.Array
  mask: chex.Array


def otsu(image: chex.Array) -> Threshold:
  """Returns the threshold that parts an image into two classes of least variance.

  Values are spread over 256 levels, between the smallest and the largest one, and
  rounded to them; above the threshold is what has a higher level. Nothing is above it
  in an image of one value.

  Args:
    image: [...] floats.

  Source: Otsu, A Threshold Selection Method from Gray-Level Histograms, 1979; levels
    and ties (the lowest one) as OpenCV's.
  """
  chex.assert_type(image, float)
  low, high = jnp.min(image), jnp.max(image)
  spread = high - low
  scaled = (image - low) / jnp.where(spread > 0, spread, 1.0) * (LEVELS - 1)
  levels = jnp.round(scaled).astype(jnp.int32)
  level = otsu_level(jnp.bincount(levels.reshape(-1), length=LEVELS))
  value = low + level.astype(image.dtype) / (LEVELS - 1) * spread
  return Threshold(value, levels > level)


def otsu_level(histogram: chex.Array) -> chex.Array:
  """Returns the level, int32, that is the last one of the lower class.

  Args:
    histogram: [L] int32 numbers of pixels, below 2^31 / L in all.
  """
  chex.assert_rank(histogram, 1)
  chex.assert_type(histogram, int)
  levels = jnp.arange(histogram.size, dtype=jnp.int32)
  total = jnp.sum(histogram)
  # Sums are whole numbers, and taken from near the mean: nothing cancels in float32.
  middle = jnp.sum(histogram * levels) // jnp.maximum(total, 1)
  below = jnp.cumsum(histogram)
  sums = jnp.cumsum(histogram * (levels - middle))
  both = (below > 0) & (below < total)
  lower = below.astype(jnp.float32)
  upper = (total - below).astype(jnp.float32)
  offset = sums[-1].astype(jnp.float32) / jnp.maximum(total, 1).astype(jnp.float32)
  between = jnp.square(sums.astype(jnp.float32) - offset * lower)
  between = between / jnp.where(both, lower * upper, 1.0)
  return jnp.argmax(jnp.where(both, between, 0.0)).astype(jnp.int32)
