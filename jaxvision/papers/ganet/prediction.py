"""Disparities of the user's own pairs (M11)."""

from collections.abc import Callable, Sequence

import numpy as np
from etils import epath

from jaxvision.data import fields, images
from jaxvision.errors import UserError
from jaxvision.papers.ganet import figures, stereo_data
from jaxvision.papers.ganet.dataset import read_pair


def read_pairs(inputs: Sequence[epath.PathLike]) -> list[tuple[str, list[np.ndarray]]]:
  """Returns the name and the views of pairs whose files are given in turn.

  Raises:
    UserError: an odd number of files, a file that is no image, or unequal sizes.
  """
  if not inputs or len(inputs) % 2:
    raise UserError(
      f"--inputs: left and right views in turn are pairs, not {len(inputs)} files"
    )
  pairs = list(zip(inputs[::2], inputs[1::2], strict=True))
  read = [(epath.Path(left).stem, read_pair(left, right)) for left, right in pairs]
  names = [name for name, _ in read]
  return [
    (name if names.count(name) == 1 else f"{number}-{name}", views)
    for number, (name, views) in enumerate(read)
  ]


def disparity_of(forward: Callable, left: np.ndarray, right: np.ndarray) -> np.ndarray:
  """Returns the disparity of a pair of any size, [H, W] float32 pixels.

  The normalised views are padded with zeros at the top and left, and the result cut.

  Args:
    forward: (left, right) [1, H', W', 3] -> [1, H', W'], sides multiples of 48.
    left: [H, W, 3].
    right: of the same shape.
  """
  height, width = left.shape[:2]
  size = stereo_data.padded_size(height, width)
  views = (
    stereo_data.pad_top_left(stereo_data.normalize(view), *size)[None]
    for view in (left, right)
  )
  disparity = np.asarray(forward(*views))[0]
  return disparity[size[0] - height :, size[1] - width :].astype(np.float32)


def write(out: epath.Path, name: str, disparity: np.ndarray, largest: float) -> None:
  """Writes NAME.png as KITTI stores disparity, NAME.pfm and NAME-color.png."""
  valid = np.isfinite(disparity)
  fields.write_kitti_disparity(
    out / f"{name}.png", np.where(valid, np.maximum(disparity, 0), 0), valid
  )
  fields.write_pfm(out / f"{name}.pfm", disparity)
  images.write_png(out / f"{name}-color.png", figures.colored(disparity, largest))
