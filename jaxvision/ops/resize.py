"""Image resizing with the coordinate conventions of the frameworks.

Images are [..., H, W, C]. Resizing is linear, so that each axis is one product
with a matrix of weights built at trace time: fast on every platform, and its
gradient is the transposed product.
"""

from collections.abc import Callable

import chex
import jax.numpy as jnp
import numpy as np

# Where output sample i of `size` lies on an axis of `length` input samples.
COORDINATES: dict[str, Callable] = {
  # TensorFlow 2, OpenCV, PyTorch with align_corners=False
  "half_pixel": lambda i, length, size: (i + 0.5) * (length / size) - 0.5,
  # TensorFlow 1 with align_corners=False
  "asymmetric": lambda i, length, size: i * (length / size),
  # PyTorch and TensorFlow 1 with align_corners=True
  "align_corners": lambda i, length, size: i * ((length - 1) / max(size - 1, 1)),
}


def resize(
  images: chex.Array,
  shape: tuple[int, int],
  *,
  method: str = "bilinear",
  coordinates: str = "half_pixel",
) -> chex.Array:
  """Returns the images sampled at another resolution, without anti-aliasing.

  Args:
    images: [..., H, W, C] float.
    shape: height and width of the result.
    method: "bilinear", "nearest", or "area": means over the output's pixels, in which
      input pixels count by the part that lies inside (TensorFlow's resize_area).
    coordinates: a key of COORDINATES. "asymmetric" halves by dropping every
      second row and column; "area" knows no others than its own.

  Returns:
    [..., shape[0], shape[1], C]. Samples outside the image are the border's.
  """
  chex.assert_type(images, float)
  height, width = images.shape[-3:-1]
  rows = jnp.asarray(weights(height, shape[0], method, coordinates), images.dtype)
  columns = jnp.asarray(weights(width, shape[1], method, coordinates), images.dtype)
  # "highest" keeps a TPU from rounding the pixels to bfloat16.
  images = jnp.einsum("oh,...hwc->...owc", rows, images, precision="highest")
  return jnp.einsum("ow,...hwc->...hoc", columns, images, precision="highest")


def weights(length: int, size: int, method: str, coordinates: str) -> np.ndarray:
  """Returns the [size, length] matrix that resizes one axis."""
  if method == "area":
    edges = np.arange(size + 1) * (length / size)
    pixels = np.arange(length)
    above = np.minimum(edges[1:, None], pixels + 1)
    inside = np.maximum(above - np.maximum(edges[:-1, None], pixels), 0.0)
    return inside * (size / length)
  position = COORDINATES[coordinates](np.arange(size), length, size)
  if method == "nearest":
    # Half-pixel centres make floor(x + 1/2) the sample that contains x.
    shift = 0.5 if coordinates != "asymmetric" else 0.0
    nearest = np.clip(np.floor(position + shift), 0, length - 1).astype(int)
    return np.eye(length)[nearest]
  if method != "bilinear":
    raise ValueError(f"method is {method!r}, not 'bilinear', 'nearest' or 'area'")
  below = np.floor(position)
  fraction = (position - below)[:, None]
  lower = np.clip(below, 0, length - 1).astype(int)
  upper = np.clip(np.ceil(position), 0, length - 1).astype(int)
  return (1 - fraction) * np.eye(length)[lower] + fraction * np.eye(length)[upper]
