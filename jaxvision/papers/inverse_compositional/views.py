"""From files' sizes to the size that networks see, as OpenCV resizes."""

import numpy as np

from jaxvision.ops import resize


def resize_color(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Returns an image [H, W, 3] uint8 as float32 in [0, 1], sampled bilinearly.

  Args:
    image: the pixels.
    size: height and width of the result.
  """
  rows = resize.weights(image.shape[0], size[0], "bilinear", "half_pixel")
  columns = resize.weights(image.shape[1], size[1], "bilinear", "half_pixel")
  scaled = image.astype(np.float32) / 255
  halfway = np.tensordot(rows.astype(np.float32), scaled, axes=(1, 0))
  resized = np.tensordot(columns.astype(np.float32), halfway, axes=(1, 1))
  return np.moveaxis(resized, 0, 1)


def resize_nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Returns an array [H, W] of depth or labels with rows and columns picked."""
  rows, columns = (
    np.minimum(np.arange(new) * old // new, old - 1)
    for new, old in zip(size, array.shape, strict=True)
  )
  return array[np.ix_(rows, columns)]


def resize_intrinsics(
  intrinsics: np.ndarray, old: tuple[int, int], new: tuple[int, int]
) -> np.ndarray:
  """Returns fx, fy, cx, cy [4] float32 of an image resized from `old` to `new`.

  All four are multiplied, as in the authors' code, without half a pixel of shift.
  """
  factors = np.array([new[1] / old[1], new[0] / old[0]] * 2)
  return (np.asarray(intrinsics) * factors).astype(np.float32)
