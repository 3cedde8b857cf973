"""Data sets of images with points, as their authors distribute them.

Splits are "train", "validation" and "test", each example with "name", "image" and
"points" [N, 2] (row, column) in pixels of the image.
"""

import abc

import numpy as np
import tensorflow_datasets as tfds

from jaxvision.data import archives, builder, files, point_files
from jaxvision.errors import UserError

SPLITS = ("train", "validation", "test")
TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.1
_SPLIT_SEED = 0


class PointImages(builder.Builder):
  """Base: subclasses give all pictures with their points; a draw splits them."""

  def _features(self):
    return {
      "name": tfds.features.Text(),
      "image": builder.ImageFile(),
      "points": builder.Array(),
    }

  def _split_generators(self, dl_manager):
    pairs = self._pairs(dl_manager.manual_dir)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(pairs))
    first = int(TRAIN_SHARE * len(pairs))
    second = first + int(VALIDATION_SHARE * len(pairs))
    parts = np.split(order, [first, second])
    return {
      split: self._generate_examples([pairs[index] for index in part])
      for split, part in zip(SPLITS, parts, strict=True)
    }

  def _generate_examples(self, pairs):
    for path, points in pairs:
      yield path.name, {"name": path.name, "image": path, "points": points}

  @abc.abstractmethod
  def _pairs(self, root):
    """Returns (file, points [N, 2] float32) of every picture."""


class CsvPoints(PointImages):
  """Any pictures beside one gt.csv; see `jaxvision.data.point_files`.

  Where train/, validation/ and test/ each hold a gt.csv, these are the splits; else
  80, 10 and 10 percent are drawn.
  """

  FILES = ("*",)
  INSTRUCTIONS = (
    "Put the pictures there with a gt.csv of the columns filename,count,locations, or "
    "into train, validation and test with one each"
  )

  def _split_generators(self, dl_manager):
    root = dl_manager.manual_dir
    if (root / "gt.csv").exists():
      return super()._split_generators(dl_manager)
    missing = [split for split in SPLITS if not (root / split / "gt.csv").exists()]
    if missing:
      raise UserError(f"{root}: there is neither gt.csv nor {missing[0]}/gt.csv")
    return {
      split: self._generate_examples(self._pairs(root / split)) for split in SPLITS
    }

  def _pairs(self, root):
    points = point_files.read_csv(root / "gt.csv")
    for name in points:
      if not (root / name).exists():
        raise UserError(f"{root / 'gt.csv'}: there is no {name} beside it")
    return [(root / name, found) for name, found in points.items()]


class Mall(PointImages):
  """2000 frames of a shopping mall's camera; the points are heads."""

  FILES = ("frames/seq_*.jpg", "mall_gt.mat")
  INSTRUCTIONS = (
    "Unpack mall_dataset.zip of "
    "https://personal.ie.cuhk.edu.hk/~ccloy/downloads_mall_dataset.html there"
  )

  def _pairs(self, root):
    path = root / "mall_gt.mat"
    variables = archives.read_mat(path, simplify=True)
    with files.decoding(path, "mall_gt.mat"):
      frames = np.atleast_1d(np.asarray(variables["frame"], object))
      points = [_columns_first(frame["loc"]) for frame in frames]
    pictures = sorted((root / "frames").glob("seq_*.jpg"))
    if len(pictures) != len(points):
      raise UserError(
        f"{root}: {len(pictures)} frames, but mall_gt.mat tells of {len(points)}"
      )
    return list(zip(pictures, points, strict=True))


class ShanghaiTechB(PointImages):
  """Part B of ShanghaiTech: streets, with the points of heads.

  A tenth of the authors' training pictures, drawn, validates; their test is the test.
  """

  FILES = tuple(
    f"{part}_data/{kind}"
    for part in ("train", "test")
    for kind in ("images/IMG_*.jpg", "ground_truth/GT_IMG_*.mat")
  )
  INSTRUCTIONS = (
    "Unpack part_B of ShanghaiTech (https://github.com/desenzhou/ShanghaiTechDataset) "
    "there: train_data and test_data"
  )

  def _split_generators(self, dl_manager):
    root = dl_manager.manual_dir
    known = self._pairs(root / "train_data")
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(known))
    first = len(known) - max(int(VALIDATION_SHARE * len(known)), 1)
    parts = {
      "train": [known[index] for index in order[:first]],
      "validation": [known[index] for index in order[first:]],
      "test": self._pairs(root / "test_data"),
    }
    return {split: self._generate_examples(pairs) for split, pairs in parts.items()}

  def _pairs(self, root):
    pairs = []
    for picture in sorted((root / "images").glob("IMG_*.jpg")):
      path = root / "ground_truth" / f"GT_{picture.stem}.mat"
      variables = archives.read_mat(path, simplify=True)
      with files.decoding(path, "ShanghaiTech annotation"):
        pairs.append((picture, _columns_first(variables["image_info"]["location"])))
    return pairs


BUILDERS = {"csv": CsvPoints, "mall": Mall, "shanghaitech": ShanghaiTechB}


def _columns_first(locations):
  """Returns (x, y) locations, counted from 1 as MATLAB does, as (row, column)."""
  points = np.asarray(locations, np.float32).reshape(-1, 2)
  # Labels on the border lie a little outside of it.
  return np.maximum(points[:, ::-1] - 1, 0)
