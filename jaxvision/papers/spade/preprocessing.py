"""Resizing, cropping and flipping of a picture with its label map.

Pictures are resized bicubically; of labels and instances the nearest pixel is taken.
"""

import dataclasses
from typing import Literal

import chex
import numpy as np
from PIL import Image

from jaxvision.errors import UserError

Mode = Literal[
  "resize_and_crop",
  "crop",
  "scale_width",
  "scale_width_and_crop",
  "scale_shortside",
  "scale_shortside_and_crop",
  "fixed",
  "none",
]
MODES: tuple[Mode, ...] = Mode.__args__

_UNIT = 32  # of the sides, where nothing else gives them


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """How examples become of one size.

  Attributes:
    mode: "resize_and_crop" (to a square), "crop", "scale_width" and "scale_shortside"
      (keeping the aspect; alone or "_and_crop"), "fixed" (to crop_size x crop_size /
      aspect_ratio), or "none" (sides rounded to multiples of 32).
    load_size: side that is resized to, where the mode scales.
    crop_size: side of the square that is cropped, or the width of "fixed".
    aspect_ratio: width over height of "fixed".
    flip: whether half of the training examples are mirrored.

  Source: data/base_dataset.py, but that the shorter side becomes load_size in
    "scale_shortside": the authors' code scales the longer one alone.
  """

  mode: Mode = "resize_and_crop"
  load_size: int = 286
  crop_size: int = 256
  aspect_ratio: float = 1.0
  flip: bool = True

  def size(self, height: int, width: int) -> tuple[int, int]:
    """Returns the height and width to which an image is resized.

    Raises:
      ValueError: the mode is unknown.
    """
    kind = self.mode.removesuffix("_and_crop")
    match kind:
      case "resize":
        return self.load_size, self.load_size
      case "scale_width":
        return int(self.load_size * height / width), self.load_size
      case "scale_shortside":
        if height < width:
          return self.load_size, round(self.load_size * width / height)
        return round(self.load_size * height / width), self.load_size
      case "fixed":
        return round(self.crop_size / self.aspect_ratio), self.crop_size
      case "crop":
        return height, width
      case "none":
        return tuple(max(round(n / _UNIT), 1) * _UNIT for n in (height, width))
    raise ValueError(f"mode is {self.mode!r}, none of {MODES}")


TESTING = Preprocessing("resize_and_crop", load_size=256, crop_size=256, flip=False)
CITYSCAPES = Preprocessing("fixed", crop_size=512, aspect_ratio=2.0)


def prepare(
  image: np.ndarray,
  labels: np.ndarray,
  instances: np.ndarray | None,
  options: Preprocessing,
  rng: np.random.Generator | None = None,
  name: str = "example",
) -> dict[str, np.ndarray]:
  """Returns an example as the networks take it.

  Args:
    image: [H, W, 3] uint8.
    labels: [H, W] int.
    instances: [H, W] int, or None.
    options: what is done.
    rng: of crop and flip; None crops the middle and never flips.
    name: what errors call the example.

  Returns:
    {"image": [h, w, 3] float32 in [0, 1], "labels": [h, w] int32} and, where they
    were given, "instances" [h, w] int32.

  Raises:
    UserError: the parts differ in size, or are smaller than the crop.
  """
  chex.assert_shape(image, (None, None, 3))
  chex.assert_type(image, np.uint8)
  maps = {"labels": labels} | ({} if instances is None else {"instances": instances})
  for key, array in maps.items():
    if array.shape != image.shape[:2]:
      raise UserError(
        f"{name}: {key} are {_size(array)} pixels, the image is {_size(image)}"
      )
  height, width = options.size(*image.shape[:2])
  if (height, width) != image.shape[:2]:
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    image = np.array(resized)
  maps = {key: resize_labels(array, (height, width)) for key, array in maps.items()}

  if options.mode.endswith("crop"):
    spare = height - options.crop_size, width - options.crop_size
    if min(spare) < 0:
      raise UserError(
        f"{name}: {width} x {height} pixels are smaller than the crop of "
        f"{options.crop_size}"
      )
    top, left = (n // 2 if rng is None else int(rng.integers(n + 1)) for n in spare)
    window = np.s_[top : top + options.crop_size, left : left + options.crop_size]
    image, maps = image[window], {key: array[window] for key, array in maps.items()}
  if options.flip and rng is not None and rng.random() < 0.5:
    image, maps = image[:, ::-1], {key: array[:, ::-1] for key, array in maps.items()}
  return {
    "image": np.asarray(image, np.float32) / 255,
    **{key: array.astype(np.int32) for key, array in maps.items()},
  }


def resize_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Returns labels or instances [H, W] with the nearest pixel at each of `shape`."""
  chex.assert_rank(labels, 2)
  rows, columns = (_nearest(*pair) for pair in zip(labels.shape, shape, strict=True))
  return labels[np.ix_(rows, columns)]


def _nearest(length: int, size: int) -> np.ndarray:
  """Returns the sources whose pixels hold the centres of `size` pixels."""
  return ((np.arange(size) + 0.5) * (length / size)).astype(int).clip(0, length - 1)


def _size(array: np.ndarray) -> str:
  return f"{array.shape[1]} x {array.shape[0]}"
