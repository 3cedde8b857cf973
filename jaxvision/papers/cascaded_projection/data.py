"""Images and labels: digits, CIFAR, ImageNet, and the user's own files."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np
import PIL.Image
from etils import epath

from jaxvision.data import images, pipeline
from jaxvision.data.digits import digits
from jaxvision.errors import UserError

_PADDING = 4  # pixels, of CIFAR's random crops
_IMAGENET_SHORTER_SIDE = 256


@dataclasses.dataclass(frozen=True)
class Source:
  """A data set as networks see it.

  Attributes:
    shape: (H, W, C) of its images.
    classes: number of classes.
    mean: of each channel, in [0, 1]; subtracted.
    std: of each channel; divided by.
    splits: names of the splits for training and for testing.
  """

  shape: tuple[int, int, int]
  classes: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  splits: tuple[str, str] = ("train", "test")


SOURCES = {
  "digits": Source((8, 8, 1), 10, (0.0,), (1.0,)),
  "cifar10": Source(
    (32, 32, 3), 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
  ),
  "cifar100": Source(
    (32, 32, 3), 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
  ),
  "imagenet": Source(
    (224, 224, 3),
    1000,
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
    splits=("train", "val"),
  ),
}


def load(name: str, data_dir: epath.PathLike | None) -> tuple[Any, Any]:
  """Returns the examples for training and for testing, {"image", "label"} each.

  Args:
    name: a key of `SOURCES`.
    data_dir: where prepared data sets are; the digits need none.

  Raises:
    UserError: there is no directory, or files are missing or damaged.
  """
  if name == "digits":
    return tuple(
      pipeline.ArraySource(digits()[split]) for split in SOURCES[name].splits
    )
  if data_dir is None:
    raise UserError(f"{name} is read from --data_dir=DIR")
  # These import TFDS, which the digits do not need.
  from jaxvision.data import builder
  from jaxvision.data.cifar import Cifar10, Cifar100
  from jaxvision.data.imagenet import Imagenet

  kind = {"cifar10": Cifar10, "cifar100": Cifar100, "imagenet": Imagenet}[name]
  return tuple(
    builder.load(kind, split, data_dir=data_dir) for split in SOURCES[name].splits
  )


def training_batches(
  examples: pipeline.Source, name: str, *, batch_size: int, seed: int
) -> grain.DatasetIterator:
  """Returns endless shuffled batches, {"image" [B, H, W, C], "label" [B]}, augmented.

  CIFAR is padded by 4 pixels, cropped at random and mirrored, ImageNet is cropped and
  resized at random and mirrored; digits stay as they are.

  Args:
    examples: as `load` returns them.
    name: a key of `SOURCES`.
    batch_size: images of one global batch.
    seed: of order and augmentation.
  """
  source = SOURCES[name]

  def augment(example, rng):
    image = np.asarray(example["image"])
    if name == "imagenet":
      from jaxvision.data.imagenet import random_resized_crop

      image = random_resized_crop(image, source.shape[0], rng)
    elif name != "digits":
      image = random_shift(image, _PADDING, rng)
    if name != "digits" and rng.random() < 0.5:
      image = image[:, ::-1]
    return {"image": normalise(image, source), "label": np.int32(example["label"])}

  return pipeline.batches(
    examples,
    batch_size=batch_size,
    seed=seed,
    transform=None if name == "digits" else augment,
  )


def random_shift(
  image: np.ndarray, padding: int, rng: np.random.Generator
) -> np.ndarray:
  """Returns a random crop [H, W, C] of an image padded by zeros on every side.

  Args:
    image: [H, W, C].
    padding: largest shift, pixels.
    rng: source of randomness.
  """
  height, width = image.shape[:2]
  padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
  top, left = rng.integers(2 * padding + 1, size=2)
  return padded[top : top + height, left : left + width]


def testing_batches(
  examples: pipeline.Source, name: str, batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
  """Yields all examples in order, prepared without chance; the last batch is smaller.

  Args:
    examples: as `load` returns them.
    name: a key of `SOURCES`.
    batch_size: images at once.
  """
  for start in range(0, len(examples), batch_size):
    some = [
      examples[index] for index in range(start, min(start + batch_size, len(examples)))
    ]
    yield {
      "image": np.stack([_prepare(np.asarray(one["image"]), name) for one in some]),
      "label": np.array([one["label"] for one in some], np.int32),
    }


def normalise(image: np.ndarray, source: Source) -> np.ndarray:
  """Returns an image [H, W, C], uint8 or float in [0, 1], as networks see it."""
  if image.dtype == np.uint8:
    image = image.astype(np.float32) / 255
  mean, std = np.float32(source.mean), np.float32(source.std)
  return ((image - mean) / std).astype(np.float32)


def read_images(paths: Sequence[epath.PathLike], name: str) -> np.ndarray:
  """Returns the user's image files as networks see them, [N, H, W, C] float32.

  Any size is resized to the network's, ImageNet's after cropping; where the network
  has one channel, colours are averaged. Digits are white on black, as in the data.

  Args:
    paths: image files.
    name: a key of `SOURCES`.

  Raises:
    UserError: a file is missing, damaged or no image; names it.
  """
  return np.stack([_prepare(images.read_rgb(path), name) for path in paths])


def _prepare(image: np.ndarray, name: str) -> np.ndarray:
  source = SOURCES[name]
  height, width, channels = source.shape
  if name == "imagenet":
    from jaxvision.data.imagenet import center_crop

    image = center_crop(image, height, _IMAGENET_SHORTER_SIDE)
  elif image.shape[:2] != (height, width):
    # A box over each cell, so that no pixel is overlooked.
    resized = PIL.Image.fromarray(image).resize(
      (width, height), PIL.Image.Resampling.BOX
    )
    image = np.asarray(resized)
  image = normalise(image, source)
  return image if image.shape[-1] == channels else image.mean(-1, keepdims=True)
