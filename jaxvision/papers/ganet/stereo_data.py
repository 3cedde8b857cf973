"""What is done to stereo pairs before the network sees them (M11, Training)."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.ganet.losses import INVALID
from jaxvision.papers.ganet.model import SIDE

_EPSILON = 1e-6


def normalize(image: np.ndarray) -> np.ndarray:
  """Returns every channel of [..., H, W, 3] with mean 0 and deviation 1 over the image.

  A channel of one value becomes 0.
  """
  chex.assert_axis_dimension(image, -1, 3)
  image = np.asarray(image, np.float32)
  mean = image.mean(axis=(-3, -2), keepdims=True)
  deviation = image.std(axis=(-3, -2), keepdims=True)
  return (image - mean) / np.maximum(deviation, _EPSILON)


def pad_top_left(array: np.ndarray, height: int, width: int, value=0.0) -> np.ndarray:
  """Returns [H, W, ...] with rows above and columns before it, as the authors pad."""
  rows, columns = height - array.shape[0], width - array.shape[1]
  padding = [(rows, 0), (columns, 0)] + [(0, 0)] * (array.ndim - 2)
  return np.pad(array, padding, constant_values=value)


def padded_size(height: int, width: int) -> tuple[int, int]:
  """Returns the smallest height and width that the network takes."""
  return -(-height // SIDE) * SIDE, -(-width // SIDE) * SIDE


def crop(
  example: dict, rng: np.random.Generator, size: tuple[int, int], shift: int = 0
) -> dict:
  """Returns a random crop of a normalised pair, its views shifted along each other.

  Args:
    example: left and right [H, W, 3] and disparity [H, W], `INVALID` where unknown.
    rng: of this example.
    size: height and width of the crop. Smaller pairs are padded at the top and left.
    shift: largest shift s in pixels: the left crop lies s, uniform from -shift to
      shift, to the right of the right one, so that disparities fall by s.

  Source: dataloader/dataset.py in the authors' code.
  """
  left, right, disparity = (example[name] for name in ("left", "right", "disparity"))
  height, width = (max(a, b) for a, b in zip(size, disparity.shape, strict=True))
  left, right = (pad_top_left(view, height, width) for view in (left, right))
  disparity = pad_top_left(disparity, height, width, INVALID)
  s = int(rng.integers(-shift, shift + 1)) if width >= size[1] + shift else 0
  row = int(rng.integers(0, height - size[0] + 1))
  column = int(rng.integers(max(0, -s), width - size[1] - max(0, s) + 1))

  def cut(array, column):
    return array[row : row + size[0], column : column + size[1]]

  disparity = cut(disparity, column + s)
  known = disparity < INVALID
  return {
    "left": cut(left, column + s),
    "right": cut(right, column),
    "disparity": np.where(known, disparity - s, INVALID).astype(np.float32),
  }


def batch_shapes(batch: int, height: int, width: int) -> dict:
  """Returns the shapes of a batch of training pairs."""
  views = jax.ShapeDtypeStruct((batch, height, width, 3), jnp.float32)
  disparity = jax.ShapeDtypeStruct((batch, height, width), jnp.float32)
  return {"left": views, "right": views, "disparity": disparity}
