"""ImageNet (ILSVRC 2012) and any other data set of one folder a class."""

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

from jaxvision.data import builder


class Imagenet(builder.Builder):
  """Photographs in train/CLASS/*.JPEG and val/CLASS/*.JPEG; the splits are so called.

  Classes are numbered in the order of their folders' names, which for ImageNet are
  the 1000 synsets.
  """

  FILES = ("train/*/*.JPEG", "val/*/*.JPEG")
  INSTRUCTIONS = (
    "Unpack ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar of "
    "https://image-net.org there, one folder a synset in train/ and in val/"
  )

  def _features(self):
    return {"image": builder.ImageFile(), "label": tfds.features.Scalar(np.int64)}

  def _split_generators(self, dl_manager):
    root = dl_manager.manual_dir
    folders = sorted(folder.name for folder in (root / "train").iterdir())
    numbers = {name: number for number, name in enumerate(folders)}
    return {
      split: self._generate_examples(root / split, numbers)
      for split in ("train", "val")
    }

  def _generate_examples(self, folder, numbers):
    for name, number in numbers.items():
      for path in sorted((folder / name).glob("*.JPEG")):
        yield f"{name}/{path.name}", {"image": path, "label": number}


def random_resized_crop(
  image: np.ndarray, side: int, rng: np.random.Generator
) -> np.ndarray:
  """Returns a random part of an image, resized to a square.

  Its area is 8 to 100 % of the image's, its aspect 3 / 4 to 4 / 3, as torchvision's
  transform of that name; ten attempts that do not fit end in the central square.

  Args:
    image: [H, W, 3] uint8.
    side: of the result, pixels.
    rng: source of randomness.
  """
  height, width = image.shape[:2]
  for _ in range(10):
    area = height * width * rng.uniform(0.08, 1.0)
    aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
    if 0 < w <= width and 0 < h <= height:
      top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
      break
  else:
    h = w = min(height, width)
    top, left = (height - h) // 2, (width - w) // 2
  return _resize(image[top : top + h, left : left + w], side, side)


def center_crop(image: np.ndarray, side: int, shorter: int) -> np.ndarray:
  """Returns the central square of an image whose shorter side is resized first.

  Args:
    image: [H, W, 3] uint8.
    side: of the square, pixels.
    shorter: length that the shorter side gets, at least `side`.
  """
  height, width = image.shape[:2]
  scale = shorter / min(height, width)
  height, width = (
    max(shorter, round(height * scale)),
    max(shorter, round(width * scale)),
  )
  image = _resize(image, height, width)
  top, left = (height - side) // 2, (width - side) // 2
  return image[top : top + side, left : left + side]


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
  resized = PIL.Image.fromarray(image).resize(
    (width, height), PIL.Image.Resampling.BILINEAR
  )
  return np.asarray(resized)
