"""CIFAR-10 and CIFAR-100 from the files that their authors distribute.

Both distributions are read, "python" (pickles) and "binary"; the pickles by
`jaxvision.published`, which executes nothing.
"""

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from jaxvision import published
from jaxvision.data import builder, files
from jaxvision.errors import UserError

SIDE = 32
_PIXELS = 3 * SIDE * SIDE


class Cifar10(builder.Builder):
  """60,000 images of 32 x 32 pixels in 10 classes; splits "train" and "test"."""

  FILES = (
    *(f"cifar-10-batches-*/data_batch_{number}*" for number in range(1, 6)),
    "cifar-10-batches-*/test_batch*",
  )
  INSTRUCTIONS = (
    "Unpack cifar-10-python.tar.gz or cifar-10-binary.tar.gz from "
    "https://www.cs.toronto.edu/~kriz/cifar.html there"
  )
  CLASSES = 10
  LABELS = ("labels",)  # as the pickles call them, in the binary files' order

  def _features(self):
    return {
      "image": builder.Array(),
      "label": tfds.features.Scalar(np.int64),
    }

  def _split_generators(self, dl_manager):
    train, test = [], []
    for pattern in self.FILES:
      # Both distributions may lie there: one is enough.
      path = min(dl_manager.manual_dir.glob(pattern))
      (test if path.name.startswith("test") else train).append(path)
    return {
      "train": self._generate_examples(train),
      "test": self._generate_examples(test),
    }

  def _generate_examples(self, paths):
    for path in paths:
      images, labels = read(path, self.LABELS, self.CLASSES)
      for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield f"{path.name}/{index}", {"image": image, "label": int(label)}


class Cifar100(Cifar10):
  """60,000 images of 32 x 32 pixels in 100 classes; splits "train" and "test"."""

  FILES = ("cifar-100-*/train*", "cifar-100-*/test*")
  INSTRUCTIONS = (
    "Unpack cifar-100-python.tar.gz or cifar-100-binary.tar.gz from "
    "https://www.cs.toronto.edu/~kriz/cifar.html there"
  )
  CLASSES = 100
  LABELS = ("coarse_labels", "fine_labels")


def read(
  path: epath.PathLike, labels: tuple[str, ...], classes: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the images and labels of one file of either distribution.

  Args:
    path: "*.bin" is binary: for each image one byte a label, then 3072 bytes of planes
      red, green, blue; any other is a pickle of {"data": uint8 [N, 3072], label: list}.
    labels: names of the labels in the binary order; the last one is returned.
    classes: number of classes of that label.

  Returns:
    [N, 32, 32, 3] uint8 and [N] uint8.

  Raises:
    UserError: missing or damaged file; names the path.
  """
  path = epath.Path(path)
  if path.suffix == ".bin":
    content = np.frombuffer(files.read_bytes(path), np.uint8)
    record = len(labels) + _PIXELS
    if not len(content) or len(content) % record:
      raise UserError(
        f"{path}: {len(content)} bytes are not whole records of {record} bytes"
      )
    records = content.reshape(-1, record)
    planes, label = records[:, len(labels) :], records[:, len(labels) - 1]
  else:
    reader = published.Reader(published.load(path), str(path))
    planes, label = reader.take("data"), reader.take(labels[-1])
    if planes.dtype != np.uint8 or planes.shape != (len(label), _PIXELS):
      raise UserError(
        f"{path}: data are {planes.dtype} {list(planes.shape)}, not uint8 "
        f"[{len(label)}, {_PIXELS}]"
      )
  if len(label) and not 0 <= label.min() <= label.max() < classes:
    raise UserError(f"{path}: labels reach {label.max()}, but {classes} are known")
  images = planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
  return np.ascontiguousarray(images), label.astype(np.uint8)
