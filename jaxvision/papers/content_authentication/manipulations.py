"""The manipulations a photograph may undergo before it is published (M2, M4).

Every manipulation maps images [B, H, W, 3] in [0, 1] to the same, is differentiable
and clips its result where it could leave the range. Each comes in the two ages of
the authors' code: "cvpr" made the paper's numbers, "tf2" is their later checkout.
"""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import hsv, jpeg, padding
from jaxvision.ops import rounding as rounding_modes
from jaxvision.ops.clip import clip
from jaxvision.ops.filters import filter2d, gaussian_kernel, median_filter
from jaxvision.ops.resize import resize

CLASSES = {
  "cvpr": ("native", "sharpen", "gaussian", "jpeg", "resample"),
  "tf2": ("native", "sharpen", "resample", "gaussian", "jpeg"),
}
# Of TensorFlow's bilinear resizing, see ops.resize.
COORDINATES = {"cvpr": "asymmetric", "tf2": "half_pixel"}


def manipulate(
  images: chex.Array,
  *,
  age: str = "cvpr",
  rounding: str = "sin",
  stop_hsv_gradient: bool = True,
) -> chex.Array:
  """Returns the images in all versions that the forensic network tells apart.

  Args:
    images: [B, H, W, 3] in [0, 1], H and W multiples of 8.
    age: "cvpr" or "tf2": kernels, resizing and the order of classes.
    rounding: how the JPEG manipulation approximates rounding.
    stop_hsv_gradient: see `sharpen`.

  Returns:
    [5 B, H, W, 3]: B images of each class, in the order of CLASSES[age].
  """
  tf2 = age == "tf2"
  versions = {
    "native": images,
    "sharpen": sharpen(
      images,
      sharpening_kernel(1.0) if tf2 else CVPR_SHARPENING,
      padding_mode="symmetric" if tf2 else "reflect",
      stop_gradient=stop_hsv_gradient,
    ),
    "gaussian": blur(images, gaussian_kernel(5, 0.83) if tf2 else CVPR_GAUSSIAN),
    "jpeg": jpeg.jpeg(images, 80.0, rounding=rounding, arithmetic="korus"),
    "resample": resample(images, 50, coordinates=COORDINATES[age]),
  }
  return jnp.concatenate([versions[name] for name in CLASSES[age]])


def labels(batch: int, classes: int = 5) -> chex.Array:
  """Returns the [classes · batch] int32 classes of what `manipulate` returns."""
  return jnp.repeat(jnp.arange(classes, dtype=jnp.int32), batch)


def sharpen(
  images: chex.Array,
  kernel: np.ndarray,
  *,
  padding_mode: str = "reflect",
  stop_gradient: bool = True,
) -> chex.Array:
  """Returns the images sharpened in HSV, as the authors' code does it.

  The paper sharpens the luminance. The code filters value and hue, the hue without
  wrapping it, and takes the saturation of the pixel one row down and one column to
  the right: the tap [2, 2] that was meant to be the centre is the corner.

  Args:
    images: [B, H, W, 3] in [0, 1].
    kernel: [3, 3] filter of sum 1.
    padding_mode: how the image goes on beyond its border.
    stop_gradient: whether no gradient passes, as in the authors' training
      (TensorFlow's conversion from HSV has none). The true gradient is large where
      colours are nearly grey.
  """
  _assert_images(images)
  chex.assert_shape(kernel, (3, 3))
  padded = padding.pad(images, ((1, 1), (1, 1)), padding_mode)
  hue, saturation, value = jnp.split(hsv.rgb_to_hsv(padded), 3, axis=-1)
  hue = filter2d(hue, kernel, padding_mode=None)
  value = filter2d(value, kernel, padding_mode=None)
  saturation = saturation[:, 2:, 2:]
  sharp = clip(hsv.hsv_to_rgb(jnp.concatenate([hue, saturation, value], axis=-1)))
  return jax.lax.stop_gradient(sharp) if stop_gradient else sharp


def sharpen_rgb(
  images: chex.Array, kernel: np.ndarray, *, padding_mode: str = "reflect"
) -> chex.Array:
  """Returns the images with every colour channel sharpened by a [3, 3] kernel."""
  _assert_images(images)
  return clip(filter2d(images, kernel, padding_mode=padding_mode))


def sharpening_kernel(strength: float) -> np.ndarray:
  """Returns the [3, 3] filter that adds `strength` times the detail (TensorFlow 2)."""
  kernel = -strength * _NEIGHBOURS / _NEIGHBOURS.sum()
  kernel[1, 1] = strength + 1
  return kernel


def residual(images: chex.Array) -> chex.Array:
  """Returns [B, H, W, 3] differences to the mean of the neighbours, not clipped."""
  _assert_images(images)
  kernel = -_NEIGHBOURS
  kernel[1, 1] = 1
  return filter2d(images, kernel)


def blur(images: chex.Array, kernel: np.ndarray) -> chex.Array:
  """Returns the images low-passed by a [h, w] kernel."""
  _assert_images(images)
  return clip(filter2d(images, kernel))


def binned_gaussian_kernel(size: int, deviations: float) -> np.ndarray:
  """Returns the CVPR code's [size, size] low-pass kernel.

  The square root of the outer product of a normal distribution's probabilities in
  `size` bins, which span ± `deviations` standard deviations and half a bin more.
  """
  bin_width = (2 * deviations + 1) / size
  edges = np.linspace(-deviations - bin_width / 2, deviations + bin_width / 2, size + 1)
  cumulative = np.array([0.5 * (1 + math.erf(edge / math.sqrt(2))) for edge in edges])
  probabilities = np.diff(cumulative)
  kernel = np.sqrt(np.outer(probabilities, probabilities))
  return kernel / kernel.sum()


def resample(
  images: chex.Array, percent: int = 50, *, coordinates: str = "asymmetric"
) -> chex.Array:
  """Returns the images resized to a percentage of their size and back, bilinearly.

  Args:
    images: [B, H, W, 3] in [0, 1].
    percent: of height and width, rounded down to pixels.
    coordinates: "asymmetric" (TensorFlow 1; 50 % then drops every second row and
      column) or "half_pixel" (TensorFlow 2).
  """
  _assert_images(images)
  height, width = images.shape[1:3]
  small = resize(
    images, (height * percent // 100, width * percent // 100), coordinates=coordinates
  )
  return resize(small, (height, width), coordinates=coordinates)


def noise(
  images: chex.Array, key: chex.PRNGKey, strength: float = 5.1 / 255
) -> chex.Array:
  """Returns the images with Gaussian noise of a standard deviation, in 8 bits."""
  _assert_images(images)
  drawn = jax.random.normal(key, images.shape, images.dtype)
  return clip(quantize(images + strength * drawn))


def gamma(images: chex.Array, exponent: float = 3.0) -> chex.Array:
  """Returns the images darkened to 8 bits by a power and brightened again."""
  _assert_images(images)
  return clip(quantize(images**exponent), 1 / 255, 1.0) ** (1 / exponent)


def median(images: chex.Array, size: int = 3) -> chex.Array:
  """Returns the images median-filtered in squares of `size` pixels, odd."""
  _assert_images(images)
  return median_filter(images, size)


def quantize(images: chex.Array) -> chex.Array:
  """Returns values in [0, 1] rounded to 8 bits, with the gradient of `sin` rounding."""
  return rounding_modes.soft(255 * images) / 255


_NEIGHBOURS = np.array(
  [[0.0833, 0.1667, 0.0833], [0.1667, 0, 0.1667], [0.0833, 0.1667, 0.0833]]
)
CVPR_SHARPENING = np.array(
  [[-0.1667, -0.6667, -0.1667], [-0.6667, 4.3333, -0.6667], [-0.1667, -0.6667, -0.1667]]
)
CVPR_GAUSSIAN = binned_gaussian_kernel(5, 4)


def _assert_images(images: chex.Array) -> None:
  chex.assert_rank(images, 4)
  chex.assert_type(images, float)
  chex.assert_axis_dimension(images, -1, 3)
