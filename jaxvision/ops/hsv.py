"""Hue, saturation, value.

Channels last; RGB in [0, 1]; hue in turns: 0 red, 1/3 green, 2/3 blue.
"""

import chex
import jax.numpy as jnp


def rgb_to_hsv(rgb: chex.Array) -> chex.Array:
  """Returns hue, saturation and value of RGB colours.

  Args:
    rgb: [..., 3] in [0, 1].

  Returns:
    [..., 3]: hue in [0, 1) turns, saturation (max - min) / max, value max. Grey
    has hue 0, black also saturation 0, and the gradient of hue and saturation
    there is 0 where the formula's would be NaN.

  Source: Smith, SIGGRAPH 1978, with the branches of tf.image.rgb_to_hsv.
  """
  _assert_colors(rgb)
  red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
  value = jnp.max(rgb, axis=-1)
  chroma = value - jnp.min(rgb, axis=-1)

  # Divisions by zero are replaced before, not after: where() would otherwise
  # multiply an infinite derivative by zero.
  black, grey = value <= 0, chroma <= 0
  saturation = jnp.where(black, 0.0, chroma / jnp.where(black, 1.0, value))
  sixth = 1 / (6 * jnp.where(grey, 1.0, chroma))
  hue = jnp.where(
    red == value,
    (green - blue) * sixth,
    jnp.where(
      green == value,
      (blue - red) * sixth + 1 / 3,
      (red - green) * sixth + 2 / 3,
    ),
  )
  hue = jnp.where(grey, 0.0, jnp.where(hue < 0, hue + 1, hue))
  return jnp.stack([hue, saturation, value], axis=-1)


def hsv_to_rgb(hsv: chex.Array) -> chex.Array:
  """Returns the RGB colours of hue, saturation and value.

  Args:
    hsv: [..., 3]; hue in turns. A hue outside [0, 1] is not wrapped: it is the
      red at the end of the circle, as in tf.image.hsv_to_rgb.

  Returns:
    [..., 3] RGB, in [0, 1] where saturation and value are.
  """
  _assert_colors(hsv)
  hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
  ramps = jnp.stack(
    [
      jnp.abs(6 * hue - 3) - 1,
      2 - jnp.abs(6 * hue - 2),
      2 - jnp.abs(6 * hue - 4),
    ],
    axis=-1,
  )
  pure = jnp.where(ramps < 0, 0.0, jnp.where(ramps > 1, 1.0, ramps))
  return (1 + saturation[..., None] * (pure - 1)) * value[..., None]


def _assert_colors(colors: chex.Array) -> None:
  chex.assert_type(colors, float)
  chex.assert_axis_dimension(colors, -1, 3)
