"""COCO-Stuff, ADE20K, Cityscapes, Flickr and Facades, as files; and demo scenes.

Splits are "train" and "val". Each example has "image", "labels" and, where the data set
has them, "instances", all as stored: `preprocessing.prepare` makes them of one size. A
label that is no class of the data set names its file when the set is built.
"""

import abc
import functools
from collections.abc import Iterator
from typing import ClassVar

import jax
import numpy as np
from etils import epath

from jaxvision.data import builder, files, images, label_scenes, pipeline
from jaxvision.errors import UserError
from jaxvision.ops.label_maps import UNKNOWN
from jaxvision.papers.spade import coco_instances
from jaxvision.papers.spade.preprocessing import Preprocessing, prepare
from jaxvision.papers.spade.variants import DATA_SETS, DataSet

SPLITS = ("train", "val")

Paths = dict[str, epath.Path]


class LabelledImages(builder.Builder):
  """Pictures with label maps; subclasses say where the files of a split are.

  Attributes:
    CLASSES: what the data set's labels are.
  """

  CLASSES: ClassVar[DataSet]

  def _features(self):
    decode = functools.partial(decode_labels, data=self.CLASSES)
    features = {
      "image": builder.ImageFile(),
      "labels": builder.ImageFile(decode),
    }
    if self.CLASSES.instances:
      features["instances"] = builder.ImageFile(images.decode_labels)
    return features

  def _split_generators(self, dl_manager):
    root = dl_manager.manual_dir
    return {split: self._generate_examples(root, split) for split in SPLITS}

  def _generate_examples(self, root, split):
    for paths in self._paths(root, split):
      for path in paths.values():
        if not path.exists():
          raise UserError(f"{path}: no such file, but there is {paths['image']}")
      yield paths["image"].stem, paths

  @abc.abstractmethod
  def _paths(self, root: epath.Path, split: str) -> Iterator[Paths]:
    """Yields the files of each example, in the order of their names."""


class CocoStuff(LabelledImages):
  """Photographs in 182 classes of things and stuff; 255 is unknown."""

  CLASSES = DATA_SETS["coco"]
  FILES = tuple(
    f"{split}_{kind}" for split in SPLITS for kind in ("img/*.jpg", "label/*.png")
  )
  INSTRUCTIONS = (
    "Get the images of https://cocodataset.org and stuffthingmaps_trainval2017.zip of "
    "https://github.com/nightrome/cocostuff; put images into {train,val}_img/, label "
    "maps into {train,val}_label/, and instances_{train,val}2017.json of "
    "annotations_trainval2017.zip into annotations/ (or finished instance maps into "
    "{train,val}_inst/)"
  )

  def _split_generators(self, dl_manager):
    root = dl_manager.manual_dir
    for split in SPLITS:
      if not (root / f"{split}_inst").exists():
        annotations = root / "annotations" / f"instances_{split}2017.json"
        coco_instances.write(
          annotations, root / f"{split}_label", root / f"{split}_inst"
        )
    return super()._split_generators(dl_manager)

  def _paths(self, root, split):
    for path in sorted((root / f"{split}_img").glob("*.jpg")):
      yield {
        "image": path,
        "labels": root / f"{split}_label" / f"{path.stem}.png",
        "instances": root / f"{split}_inst" / f"{path.stem}.png",
      }


class Ade20k(LabelledImages):
  """Scenes in 150 classes, numbered from 1: the released model keeps 0 as unknown.

  Pictures and label maps may lie anywhere in one tree; *_train_* and *_val_* in their
  names tell the split, and a picture and its label map have one name.
  """

  CLASSES = DATA_SETS["ade20k"]
  FILES = ("*",)
  INSTRUCTIONS = "Unpack ADEChallengeData2016.zip of https://sceneparsing.csail.mit.edu"

  def _paths(self, root, split):
    found = sorted(_files(root), key=lambda path: path.name)
    found = [path for path in found if f"_{split}_" in path.name]
    labels = {path.stem: path for path in found if path.suffix == ".png"}
    pictures = [path for path in found if path.suffix == ".jpg"]
    if not pictures:
      raise UserError(f"{root}: holds no *_{split}_*.jpg. {self.INSTRUCTIONS}")
    for path in pictures:
      if path.stem not in labels:
        raise UserError(f"{path}: there is no {path.stem}.png in {root}")
      yield {"image": path, "labels": labels[path.stem]}


class Cityscapes(LabelledImages):
  """Streets in 35 classes, with 16-bit instances."""

  CLASSES = DATA_SETS["cityscapes"]
  FILES = tuple(
    pattern
    for split in SPLITS
    for pattern in (
      f"leftImg8bit/{split}/*/*_leftImg8bit.png",
      f"gtFine/{split}/*/*_gtFine_labelIds.png",
      f"gtFine/{split}/*/*_gtFine_instanceIds.png",
    )
  )
  INSTRUCTIONS = (
    "Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of "
    "https://www.cityscapes-dataset.com there"
  )

  def _paths(self, root, split):
    for path in sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png")):
      stem = path.stem.removesuffix("_leftImg8bit")
      folder = root / "gtFine" / split / path.parent.name
      yield {
        "image": path,
        "labels": folder / f"{stem}_gtFine_labelIds.png",
        "instances": folder / f"{stem}_gtFine_instanceIds.png",
      }


class _Folders(LabelledImages):
  """Pictures and label maps of one name in folders of their own."""

  FILES = tuple(
    f"{split}_{kind}" for split in SPLITS for kind in ("img/*.jpg", "label/*.png")
  )

  def _paths(self, root, split):
    for path in sorted((root / f"{split}_img").glob("*.jpg")):
      yield {"image": path, "labels": root / f"{split}_label" / f"{path.stem}.png"}


class Flickr(_Folders):
  """Landscapes whose label maps, in COCO-Stuff's classes, a segmenter made."""

  CLASSES = DATA_SETS["flickr"]
  INSTRUCTIONS = (
    "The authors did not publish theirs: put photographs into {train,val}_img/*.jpg "
    "and into {train,val}_label/*.png what DeepLab-v2, trained on COCO-Stuff, sees in "
    "them (https://github.com/kazuto1011/deeplab-pytorch)"
  )


class Facades(_Folders):
  """Fronts of houses in 13 classes, without instances."""

  CLASSES = DATA_SETS["facades"]
  INSTRUCTIONS = (
    "Put the CMP facades of https://cmp.felk.cvut.cz/~tylecr1/facade into "
    "{train,val}_img/*.jpg and their label maps into {train,val}_label/*.png"
  )


BUILDERS: dict[str, type[LabelledImages]] = {
  "coco": CocoStuff,
  "ade20k": Ade20k,
  "cityscapes": Cityscapes,
  "flickr": Flickr,
  "facades": Facades,
}


def scenes(count: int, size: int, seed: int) -> pipeline.ArraySource:
  """Returns the demo's scenes; see `label_scenes.random_scenes`."""
  made = label_scenes.random_scenes(count, size, seed)
  del made["gain"]
  return pipeline.ArraySource(made)


def to_batch(options: Preprocessing) -> pipeline.Transform:
  """Returns what makes an example of a batch from one as stored, with draws of rng."""

  def transform(example, rng):
    prepared = prepare(
      example["image"], example["labels"], example.get("instances"), options, rng
    )
    prepared["images"] = prepared.pop("image")
    return prepared

  return transform


def batch_shapes(size: int, data: DataSet) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of batches of so many examples."""
  shape = (size, *data.shape)
  shapes = {
    "images": jax.ShapeDtypeStruct((*shape, 3), np.float32),
    "labels": jax.ShapeDtypeStruct(shape, np.int32),
  }
  if data.instances:
    shapes["instances"] = jax.ShapeDtypeStruct(shape, np.int32)
  return shapes


def _files(folder: epath.Path) -> Iterator[epath.Path]:
  """Yields all files of a tree."""
  for path in folder.iterdir():
    if path.is_dir():
      yield from _files(path)
    else:
      yield path


def decode_labels(encoded: bytes, name: epath.PathLike, data: DataSet) -> np.ndarray:
  """Returns [H, W] uint8 labels of a PNG, all of them classes of the data set.

  Args:
    encoded: the file's bytes.
    name: what errors call it.
    data: UNKNOWN (255) is allowed where there is a class for it.

  Raises:
    UserError: a damaged file, or a label that is none.
  """
  labels = images.decode_labels(encoded, name)
  largest = data.num_classes - 1 + data.unknown_class
  known = labels[labels != UNKNOWN] if data.unknown_class else labels
  if known.size and known.max() > largest:
    raise UserError(f"{name}: label {known.max()} is none of 0 to {largest}")
  return labels.astype(np.uint8)


def read_example(
  image: epath.PathLike,
  labels: epath.PathLike,
  instances: epath.PathLike | None,
  data: DataSet,
) -> dict[str, np.ndarray]:
  """Returns one example from its files, as the builders' examples are.

  Args:
    image: a photograph, PNG or JPEG.
    labels: a PNG of labels.
    instances: a PNG of 8 or 16 bits, or None.
    data: what the labels are.

  Raises:
    UserError: a file is missing, damaged, or holds a label that is none.
  """
  example = {
    "image": images.read_rgb(image),
    "labels": decode_labels(files.read_bytes(labels), labels, data),
  }
  if instances is not None:
    example["instances"] = images.read_labels(instances)
  return example
