"""Data sets at every resolution: the authors' TFRecords, or images held in memory.

The authors' dataset_tool.py writes a folder NAME with NAME-r02.tfrecords (4 x 4
pixels), NAME-r03.tfrecords, ..., NAME-r10.tfrecords (1024 x 1024), the same images in
the same order in each, and perhaps NAME-rxx.labels, an array of one-hot labels. FFHQ
and CelebA-HQ come so, or are converted by that tool.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from jaxvision.data import files, pipeline, tfrecords
from jaxvision.errors import UserError
from jaxvision.papers.stylegan import growing

INSTRUCTIONS = (
  "make them with the authors' dataset_tool.py (https://github.com/NVlabs/stylegan)"
)


class RecordImages:
  """The images of one resolution in the authors' TFRecords.

  Each is {"image": [r, r, colors] uint8} and, where labels were asked for, {"label":
  [label_size] float32}.
  """

  def __init__(self, path: epath.PathLike, side: int, labels: np.ndarray | None = None):
    """Opens NAME-rNN.tfrecords.

    Raises:
      UserError: missing, damaged, empty, or of another number than the labels.
    """
    self._path, self._side, self._labels = epath.Path(path), side, labels
    self._records = tfrecords.Records(path)
    if not len(self._records):
      raise UserError(f"{path}: holds no images")
    if labels is not None and len(labels) < len(self._records):
      raise UserError(f"{path}: {len(self._records)} images for {len(labels)} labels")

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    name = f"{self._path}: record {index}"
    example = tfrecords.parse_example(self._records[index], name)
    with files.decoding(name, "record of an image"):
      shape = tuple(int(size) for size in example["shape"])
      image = np.frombuffer(example["data"][0], np.uint8).reshape(shape)
    if shape[1:] != (self._side, self._side):
      raise UserError(f"{name}: {shape} is no image of {self._side} pixels")
    image = np.ascontiguousarray(image.transpose(1, 2, 0))
    if self._labels is None:
      return {"image": image}
    return {"image": image, "label": self._labels[index]}


def open_records(
  data_dir: epath.PathLike, name: str, resolution: int, *, label_size: int = 0
) -> dict[int, RecordImages]:
  """Returns the data set NAME below `data_dir` by resolution, from 4 to `resolution`.

  Raises:
    UserError: files are missing (listed), damaged, or do not belong together.
  """
  folder = epath.Path(data_dir) / name
  levels = range(2, resolution.bit_length())
  paths = {2**level: folder / f"{name}-r{level:02d}.tfrecords" for level in levels}
  missing = [path.name for path in paths.values() if not path.exists()]
  if missing:
    raise UserError(f"missing in {folder}: {', '.join(missing)}: {INSTRUCTIONS}")
  labels = None
  if label_size:
    labels = read_labels(folder / f"{name}-rxx.labels", label_size)
  found = {side: RecordImages(path, side, labels) for side, path in paths.items()}
  if len({len(images) for images in found.values()}) > 1:
    counts = ", ".join(f"{len(images)} of {side}" for side, images in found.items())
    raise UserError(f"{folder}: not as many images at each resolution: {counts}")
  return found


def read_labels(path: epath.PathLike, label_size: int) -> np.ndarray:
  """Returns labels [N, label_size] float32.

  Raises:
    UserError: missing, damaged, or of another size.
  """
  with files.decoding(path, "NPY array"):
    labels = np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False)
  if labels.ndim != 2 or labels.shape[1] != label_size:
    raise UserError(f"{path}: labels of shape {labels.shape}, not (N, {label_size})")
  return labels.astype(np.float32)


def from_arrays(images: np.ndarray) -> dict[int, pipeline.ArraySource]:
  """Returns images [N, R, R, C] uint8 by resolution, from R down to 4."""
  found = {}
  while True:
    found[images.shape[1]] = pipeline.ArraySource({"image": images})
    if images.shape[1] <= 4:
      break
    images = growing.halve(images)
  return found


def batches(source: pipeline.Source, *, batch_size: int, seed: int):
  """Returns batches {"images"} and perhaps {"labels"} as the training step takes them.

  Args:
    source: of one resolution.
    batch_size: over all processes.
    seed: of their order.
  """
  return pipeline.batches(_Plural(source), batch_size=batch_size, seed=seed)


class _Plural:
  """A source whose examples are named as a batch's arrays are."""

  def __init__(self, source: pipeline.Source):
    self._source = source

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    return {f"{name}s": array for name, array in self._source[index].items()}


def read_all(source: pipeline.Source, count: int) -> np.ndarray:
  """Returns the first images [count or all, r, r, C] uint8 of a source."""
  return np.stack([source[i]["image"] for i in range(min(count, len(source)))])


def read_batches(
  source: pipeline.Source, count: int, batch: int, *, mirror: bool = False
) -> Iterator[np.ndarray]:
  """Yields the first images of a source, [batch, r, r, C] uint8, as measures need them.

  Args:
    source: of one resolution.
    count: images in all; all there are, if fewer.
    batch: images at a time. A last batch of one is left out: it has no covariance.
    mirror: whether each is mirrored with probability 1/2, as in training.
  """
  rng = np.random.default_rng(0)
  count = min(count, len(source))
  for first in range(0, count, batch):
    numbers = range(first, min(first + batch, count))
    if len(numbers) < 2:
      return
    images = np.stack([source[i]["image"] for i in numbers])
    if mirror:
      turned = rng.random(len(images)) < 0.5
      images[turned] = images[turned, :, ::-1]
    yield images
