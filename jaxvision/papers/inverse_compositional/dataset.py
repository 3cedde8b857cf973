"""TUM RGB-D as the authors use it."""

import functools
from collections.abc import Sequence

import numpy as np
from etils import epath

from jaxvision.data import builder, tum
from jaxvision.errors import UserError
from jaxvision.papers.inverse_compositional import views

INTRINSICS = (525.0, 525.0, 319.5, 239.5)  # of all sequences
TRAIN_SHARE = 0.95  # of each sequence's frames, the first ones; validation is the rest

_TRAIN = {
  1: "desk2 floor room xyz rpy plant teddy",
  2: (
    "360_hemisphere large_no_loop large_with_loop pioneer_slam pioneer_slam2 "
    "pioneer_slam3 xyz 360_kidnap rpy coke desk_with_person dishes "
    "flowerbouquet_brownbackground metallic_sphere2 flowerbouquet"
  ),
  3: (
    "walking_halfsphere walking_rpy cabinet nostructure_notexture_far "
    "nostructure_notexture_near_withloop nostructure_texture_far "
    "nostructure_texture_near_withloop sitting_rpy sitting_static sitting_xyz "
    "structure_notexture_near structure_texture_far structure_texture_near teddy"
  ),
}
_TEST = {
  1: "360 desk",
  2: "desk pioneer_360",
  3: "walking_static walking_xyz long_office_household",
}


def _names(groups: dict[int, str]) -> tuple[str, ...]:
  return tuple(f"freiburg{n}_{name}" for n in groups for name in groups[n].split())


SEQUENCES = {"train": _names(_TRAIN), "test": _names(_TEST)}
SEQUENCES["validation"] = SEQUENCES["train"]


class TumRgbd(builder.Builder):
  """Frames of the TUM RGB-D benchmark: one split a sequence, in the order of time.

  frN/rgbd_dataset_NAME/ holds what the benchmark's archive of the sequence NAME holds;
  the split is called NAME.
  """

  FILES = ("fr*/rgbd_dataset_*/rgb.txt", "fr*/rgbd_dataset_*/groundtruth.txt")
  INSTRUCTIONS = (
    "Unpack sequences of https://cvg.cit.tum.de/data/datasets/rgbd-dataset/download "
    "there, those of freiburg1 in fr1 and so on"
  )

  def _features(self):
    return {
      "time": builder.Array(),
      "image": builder.ImageFile(),
      "depth": builder.ImageFile(tum.decode_depth),
      "pose": builder.Array(),
    }

  def _split_generators(self, dl_manager):
    folders = sorted(dl_manager.manual_dir.glob("fr*/rgbd_dataset_*"))
    return {
      folder.name.removeprefix("rgbd_dataset_"): self._generate_examples(folder)
      for folder in folders
    }

  def _generate_examples(self, folder):
    for number, frame in enumerate(tum.read_sequence(folder)):
      yield (
        f"{number:06d}",
        {
          "time": np.float64(frame.time),
          "image": frame.image,
          "depth": frame.depth,
          "pose": frame.pose,
        },
      )


class Pairs:
  """Pairs of frames at random access, [N] as the trackers take them.

  Args:
    sequences: the frames of each sequence.
    keyframes: distances between the two frames of a pair.
    stride: distance between the first frames of neighbouring pairs.
    depth_range: metres to which depth is clipped.
    height: of the views; the width follows.
  """

  def __init__(
    self,
    sequences: Sequence[Sequence[dict]],
    keyframes: Sequence[int],
    *,
    stride: int,
    depth_range: tuple[float, float],
    height: int,
  ):
    self._sequences = sequences
    self._depth_range = depth_range
    self._height = height
    # Every first frame meets every distance: the authors draw one at random.
    self._pairs = [
      (number, first, first + distance)
      for number, frames in enumerate(sequences)
      for first in range(0, len(frames) - max(keyframes), stride)
      for distance in keyframes
    ]

  def __len__(self) -> int:
    return len(self._pairs)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    number, *frames = self._pairs[index]
    pair, poses = {}, []
    for view, frame in enumerate(frames):
      example = self._sequences[number][frame]
      old = example["image"].shape[:2]
      size = self._height, round(old[1] * self._height / old[0])
      pair[f"image{view}"] = views.resize_color(example["image"], size)
      depth = views.resize_nearest(example["depth"], size)
      pair[f"depth{view}"] = np.clip(depth, *self._depth_range)
      poses.append(example["pose"])
      pair["intrinsics"] = views.resize_intrinsics(INTRINSICS, old, size)
    pair["pose"] = (np.linalg.inv(poses[1]) @ poses[0]).astype(np.float32)
    return pair


class _Slice:
  """Some frames of a sequence, in their order."""

  def __init__(self, frames: Sequence[dict], start: int, stop: int):
    self._frames, self._start, self._length = frames, start, stop - start

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, index: int) -> dict:
    return self._frames[self._start + index]


def pairs(
  data_dir: epath.PathLike,
  split: str,
  keyframes: Sequence[int],
  depth_range: tuple[float, float],
  height: int,
  *,
  sequences: Sequence[str] | None = None,
  manual_dir: epath.PathLike | None = None,
) -> Pairs:
  """Returns the pairs of a split.

  Args:
    data_dir: where the data set is, or is built.
    split: "train", "validation" or "test". In training every frame begins a pair; in a
      test only every k-th does, k the largest distance.
    keyframes: distances between the two frames of a pair.
    depth_range: metres to which depth is clipped.
    height: of the views; 120 is a quarter.
    sequences: their names; the authors' when None.
    manual_dir: where the authors' files are, see builder.load.

  Raises:
    UserError: files or sequences are missing, or a file is damaged.
  """
  load = functools.partial(
    builder.load, TumRgbd, data_dir=data_dir, manual_dir=manual_dir
  )
  chosen, missing = [], []
  for name in SEQUENCES[split] if sequences is None else sequences:
    try:
      frames = load(name)
    except ValueError:  # TFDS knows no such split
      missing.append(name)
      continue
    cut = int(TRAIN_SHARE * len(frames))
    start, stop = {
      "train": (0, cut),
      "validation": (cut, len(frames)),
      "test": (0, len(frames)),
    }[split]
    chosen.append(_Slice(frames, start, stop))
  if missing:
    raise UserError(f"{data_dir}: TUM RGB-D lacks the sequences {', '.join(missing)}")
  return Pairs(
    chosen,
    keyframes,
    stride=max(keyframes) if split == "test" else 1,
    depth_range=depth_range,
    height=height,
  )
