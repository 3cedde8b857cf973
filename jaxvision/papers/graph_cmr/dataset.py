"""The paper's data sets: pictures, and one npz of annotations for each.

Annotations are made of what the data sets' own archives hold (`originals.py` says how
they must lie), or are those that the authors' preprocessing writes:

  extras/<name>.npz      imgname, center, scale; part, S, pose, shape, maskname, ...
  images/<imgname>       the pictures

Each set has a directory of its own, downloads/manual/<name> of the data directory.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from jaxvision.data import builder, images
from jaxvision.papers.graph_cmr import annotations, augmentation, originals
from jaxvision.papers.graph_cmr.augmentation import Augmentation

_FROM = (
  "Unpack its archives there in images/, or put what datasets/preprocess/*.py of "
  "nkolot/GraphCMR writes into extras/. Archives: "
)


class People(builder.Builder):
  """Pictures of people with boxes, joints and parameters, as far as there are any.

  Attributes:
    ANNOTATIONS: {split: name of its npz}.
  """

  ANNOTATIONS: ClassVar[dict[str, str]] = {}

  def _features(self):
    return {
      "image": builder.ImageFile(),
      "name": tfds.features.Text(),
      "mask": tfds.features.Text(),
      "parts": tfds.features.Text(),
      **{name: builder.Array() for name in annotations.ARRAYS},
    }

  def _split_generators(self, dl_manager):
    root = dl_manager.manual_dir
    return {
      split: self._generate_examples(root, file)
      for split, file in self.ANNOTATIONS.items()
    }

  def _generate_examples(self, root, file):
    people = annotations.read(root / "extras" / file)
    for index, person in enumerate(people):
      name = person.pop("imgname")
      example = {"image": root / "images" / name, "name": name}
      for field in ("mask", "parts"):
        relative = person.pop(field)
        example[field] = str(root / "images" / relative) if relative else ""
      yield index, example | person


class H36m(People):
  """Human3.6M, whose training annotations its licence leaves to the user to make."""

  ANNOTATIONS: ClassVar = {
    "train": "h36m_train.npz",
    "protocol1": "h36m_valid_protocol1.npz",
    "protocol2": "h36m_valid_protocol2.npz",
  }
  FILES = tuple(f"extras/{name}" for name in ANNOTATIONS.values())
  INSTRUCTIONS = (
    "Put its frames there into images/ and their annotations into extras/: the "
    "authors' datasets/preprocess/h36m.py makes both from the videos, boxes and poses "
    "of http://vision.imar.ro/human3.6m (originals.human36m the latter)."
  )


class Up3d(People):
  """UP-3D: people with fitted SMPL parameters."""

  ANNOTATIONS: ClassVar = {
    "train": "up_3d_trainval.npz",
    "test": "up_3d_lsp_test.npz",
  }
  FILES = tuple(f"extras/{name}" for name in ANNOTATIONS.values())
  INSTRUCTIONS = _FROM + (
    "up-3d.zip of https://files.is.tuebingen.mpg.de/classner/up; "
    "data/namesUPlsp.txt of nkolot/GraphCMR"
  )


class Lsp(People):
  """Leeds Sports Pose; its test pictures have silhouettes and parts."""

  ANNOTATIONS: ClassVar = {
    "train": "lsp_dataset_original_train.npz",
    "test": "lsp_dataset_test.npz",
  }
  FILES = tuple(f"extras/{name}" for name in ANNOTATIONS.values())
  INSTRUCTIONS = _FROM + (
    "lsp_dataset_original.zip and lsp_dataset.zip of "
    "http://sam.johnson.io/research/lsp.html, upi-s1h.zip of UP-3D"
  )


class Mpii(People):
  """MPII Human Pose."""

  ANNOTATIONS: ClassVar = {"train": "mpii_train.npz"}
  FILES = ("extras/mpii_train.npz",)
  INSTRUCTIONS = _FROM + (
    "mpii_human_pose_v1_u12_2.zip and mpii_human_pose_v1.tar.gz of "
    "http://human-pose.mpi-inf.mpg.de"
  )


class Coco(People):
  """COCO 2014: people whose twelve joints of the body are all annotated."""

  ANNOTATIONS: ClassVar = {"train": "coco_2014_train.npz"}
  FILES = ("extras/coco_2014_train.npz",)
  INSTRUCTIONS = _FROM + (
    "train2014.zip and annotations_trainval2014.zip of https://cocodataset.org"
  )


BUILDERS: dict[str, type[People]] = {
  "h36m": H36m,
  "lsp": Lsp,
  "coco": Coco,
  "mpii": Mpii,
  "up3d": Up3d,
}

# Probability of drawing from each set.
MIXTURES = {
  "all": {"h36m": 0.3, "lsp": 0.1, "coco": 0.2, "mpii": 0.2, "up3d": 0.2},
  "itw": {"lsp": 0.1, "coco": 0.3, "mpii": 0.3, "up3d": 0.3},
  "h36m": {"h36m": 1.0},
  "h36m_up3d": {"h36m": 0.5, "up3d": 0.5},
}


@dataclasses.dataclass(frozen=True)
class Preparation:
  """How a stored example becomes one of a batch.

  Attributes:
    size: of the crop, in pixels.
    augmentation: its random changes; none when None.
  """

  size: int = 224
  augmentation: Augmentation | None = None

  def __call__(
    self, example: dict[str, Any], rng: np.random.Generator | None
  ) -> dict[str, np.ndarray]:
    """Returns what `data.batch_shapes` says, of one person."""
    change = augmentation.NO_CHANGE
    if self.augmentation is not None:
      change = self.augmentation.draw(rng)
    center, scale = example["center"], float(example["scale"])
    pixels = augmentation.crop(
      example["image"], center, scale * change.scale, self.size, turn=change.turn
    )
    pixels = np.clip(pixels * change.gain, 0, 255) / 255
    if change.flipped:
      pixels = pixels[:, ::-1]
    prepared = {
      "images": pixels,
      "keypoints": augmentation.crop_keypoints(
        example["part"], center, scale, self.size, change
      ),
      "joints": augmentation.turn_joints(example["S"], change),
      "pose": augmentation.turn_pose(example["pose"], change),
      "shape": example["shape"],
      "has_smpl": example["has_smpl"],
      "has_joints": example["has_joints"],
    }
    return {name: np.asarray(value, np.float32) for name, value in prepared.items()}


@dataclasses.dataclass(frozen=True)
class Mixture:
  """Several sets as one, as long as the longest: a `pipeline.Source` of numbers.

  Which set an example comes from is drawn by the transform, anew in every epoch.

  Attributes:
    sets: the examples of each.
    shares: their probabilities.
    prepare: makes an example of a batch.
  """

  sets: Sequence[Any]
  shares: Sequence[float]
  prepare: Preparation

  def __len__(self) -> int:
    return max(map(len, self.sets))

  def __getitem__(self, index: int) -> int:
    return index

  def transform(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns the prepared example of a number, of a set that is drawn."""
    chosen = self.sets[rng.choice(len(self.sets), p=self.shares)]
    return self.prepare(chosen[index % len(chosen)], rng)


def load(name: str, split: str, data_dir) -> builder.Examples:
  """Returns a split of one of `BUILDERS`, built first when it is not there yet."""
  people = BUILDERS[name]
  if jax.process_index() == 0:
    root = epath.Path(data_dir) / "downloads" / "manual" / people.name
    originals.annotate(root, people.ANNOTATIONS.values())
  return builder.load(people, split, data_dir=data_dir)


def mixture(name: str, data_dir, prepare: Preparation) -> Mixture:
  """Returns the training sets of one of `MIXTURES`."""
  shares = MIXTURES[name]
  sets = [load(part, "train", data_dir) for part in shares]
  return Mixture(sets, list(shares.values()), prepare)


class Labels(NamedTuple):
  """What pixels of a picture show, and where the person's box is in it.

  Attributes:
    silhouette: [H, W] 0 or 1.
    parts: [H, W] 0 to 6, 255 where unknown; None for none.
    center: (x, y) of the box in pixels.
    scale: its side over 200 pixels.
  """

  silhouette: np.ndarray
  parts: np.ndarray | None
  center: np.ndarray
  scale: float


def labels(example: dict[str, Any]) -> Labels:
  """Returns what LSP says of the pixels of one of its test pictures.

  Raises:
    UserError: a file is missing or damaged.
  """
  silhouette = images.read_labels(example["mask"].decode()) > 0
  parts = None
  if example["parts"]:
    parts = images.read_labels(example["parts"].decode()).astype(np.int32)
  return Labels(
    silhouette.astype(np.int32),
    parts,
    example["center"],
    float(example["scale"]),
  )
