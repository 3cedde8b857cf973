"""Demosaicing: full colour images from Bayer mosaics.

Mosaics come packed as `jaxvision.ops.bayer` describes: [B, h, w, 4] planes R, G, G,
B. Results are [B, 2h, 2w, 3] camera RGB in the mosaic's unit.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import bayer
from jaxvision.ops.filters import filter2d

_GREEN = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
_RED_BLUE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4

_MEAN_OF_TWO = np.array([1, 0, 1]) / 2
_MEAN_OF_THREE = np.array([1, 1, 1]) / 3
_CURVED_MEAN = np.array([-1, 2, 2, 2, -1]) / 4
# Where a change of colour differences counts for the decision at the centre.
_CLASSIFIER = np.array(
  [
    [1, 0, 1, 0, 0],
    [0, 1, 0, 0, 0],
    [3, 0, 3, 0, 0],
    [0, 1, 0, 0, 0],
    [1, 0, 1, 0, 0],
  ]
)


def bilinear_kernel(size: int = 3) -> np.ndarray:
  """Returns the [size, size, 3, 3] HWIO convolution of bilinear demosaicing.

  It acts on the zero-filled RGB image (bayer.scatter); sizes above 3 are padded
  with zeros.
  """
  if size < 3 or size % 2 != 1:
    raise ValueError(f"size is {size}, not an odd number from 3 up")
  kernel = np.zeros((size, size, 3, 3), np.float32)
  centre = slice(size // 2 - 1, size // 2 + 2)
  for channel, taps in enumerate((_RED_BLUE, _GREEN, _RED_BLUE)):
    kernel[centre, centre, channel, channel] = taps
  return kernel


def bilinear(planes: chex.Array, pattern: str) -> chex.Array:
  """Returns the image with each missing colour the mean of its nearest samples.

  Args:
    planes: [B, h, w, 4] packed mosaic.
    pattern: one of bayer.PATTERNS.

  Returns:
    [B, 2h, 2w, 3].
  """
  chex.assert_rank(planes, 4)
  chex.assert_type(planes, float)
  red, green, blue = jnp.split(bayer.scatter(planes, pattern), 3, axis=-1)
  return jnp.concatenate(
    [filter2d(red, _RED_BLUE), filter2d(green, _GREEN), filter2d(blue, _RED_BLUE)],
    axis=-1,
  )


def menon(planes: chex.Array, pattern: str, *, refine: bool = True) -> chex.Array:
  """Returns the image demosaiced along edges, their direction decided a posteriori.

  Green is interpolated along rows and along columns; each pixel keeps the direction
  in which the differences between colours change less around it; red and blue
  follow as differences to green. Refining smooths those differences along the
  direction that was kept.

  Args:
    planes: [B, h, w, 4] packed mosaic.
    pattern: one of bayer.PATTERNS.
    refine: whether to run the refining step.

  Returns:
    [B, 2h, 2w, 3], not clipped.

  Source: Menon, Andriani, Calvagno, "Demosaicing with Directional Filtering and a
    Posteriori Decision", IEEE Transactions on Image Processing 16(1), 2007.
  """
  chex.assert_rank(planes, 4)
  chex.assert_type(planes, float)
  mosaic = bayer.unpack(planes, pattern)
  is_red, is_blue, in_red_row = _sites(mosaic.shape[1:], pattern)
  is_green = ~(is_red | is_blue)

  # Section II-A: the mean of the two green neighbours, corrected by the second
  # derivative of the colour at hand.
  green_rows = jnp.where(is_green, mosaic, _rows(mosaic, _CURVED_MEAN))
  green_columns = jnp.where(is_green, mosaic, _columns(mosaic, _CURVED_MEAN))

  # Section II-B: differences two pixels on are of the same colour.
  change_rows = _change(mosaic - green_rows)
  change_columns = _change((mosaic - green_columns).swapaxes(1, 2)).swapaxes(1, 2)
  along_rows = _window(change_columns, _CLASSIFIER.T) >= _window(
    change_rows, _CLASSIFIER
  )
  green = jnp.where(along_rows, green_rows, green_columns)

  def along(x: jax.Array, taps: np.ndarray) -> jax.Array:
    return jnp.where(along_rows, _rows(x, taps), _columns(x, taps))

  # Section II-C: red and blue at green sites from the neighbours in row or column,
  # then each at the other's sites along the direction that was kept.
  difference = mosaic - green
  across, upright = _rows(difference, _MEAN_OF_TWO), _columns(difference, _MEAN_OF_TWO)
  red = jnp.where(is_green, green + jnp.where(in_red_row, across, upright), mosaic)
  blue = jnp.where(is_green, green + jnp.where(in_red_row, upright, across), mosaic)
  red_less_blue = along(jnp.where(is_green, red - blue, 0.0), _MEAN_OF_TWO)
  red = jnp.where(is_blue, mosaic + red_less_blue, red)
  blue = jnp.where(is_red, mosaic - red_less_blue, blue)
  if not refine:
    return jnp.stack([red, green, blue], axis=-1)

  # Section II-D: green at red and blue sites, these at green ones, and each other.
  green = jnp.where(is_red, mosaic - along(red - green, _MEAN_OF_THREE), green)
  green = jnp.where(is_blue, mosaic - along(blue - green, _MEAN_OF_THREE), green)
  red = _refine_at_green(red, green, is_green, in_red_row)
  blue = _refine_at_green(blue, green, is_green, ~in_red_row)
  red_less_blue = along(red - blue, _MEAN_OF_THREE)
  red = jnp.where(is_blue, mosaic + red_less_blue, red)
  blue = jnp.where(is_red, mosaic - red_less_blue, blue)
  return jnp.stack([red, green, blue], axis=-1)


def _refine_at_green(
  color: jax.Array, green: jax.Array, is_green: np.ndarray, in_own_row: np.ndarray
) -> jax.Array:
  """Returns red or blue with its values at green sites from smoothed differences."""
  difference = color - green
  smooth = jnp.where(
    in_own_row, _rows(difference, _MEAN_OF_TWO), _columns(difference, _MEAN_OF_TWO)
  )
  return jnp.where(is_green, green + smooth, color)


def _sites(
  shape: tuple[int, int], pattern: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns where the sensor is red, where blue, and which rows hold red."""
  red, _, _, blue = bayer.sites(pattern)
  rows, columns = np.ogrid[: shape[0], : shape[1]]
  site = 2 * (rows % 2) + columns % 2
  return site == red, site == blue, (rows % 2 == red // 2) & (columns >= 0)


def _rows(x: jax.Array, taps: np.ndarray) -> jax.Array:
  return filter2d(x[..., None], taps[None, :])[..., 0]


def _columns(x: jax.Array, taps: np.ndarray) -> jax.Array:
  return filter2d(x[..., None], taps[:, None])[..., 0]


def _change(difference: jax.Array) -> jax.Array:
  """Returns |difference here - two columns on|, mirrored at the border."""
  onward = jnp.pad(difference, ((0, 0), (0, 0), (0, 2)), mode="reflect")[..., 2:]
  return jnp.abs(difference - onward)


def _window(x: jax.Array, kernel: np.ndarray) -> jax.Array:
  return filter2d(x[..., None], kernel, padding_mode="zeros")[..., 0]
