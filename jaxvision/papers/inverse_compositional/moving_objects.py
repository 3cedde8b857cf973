"""MovingObjects3D: rendered objects that move before a moving camera.

data_objs3D/CATEGORY/NNNNNN/info.pkl tells of a sequence of 200 frames at 320 x 240:
lists of files ("color", "depth", "object_mask", behind "final/" relative to
data_objs3D), camera poses ("pose"), the object's poses ("object_poses", "Model_1"), the
frames in which it is seen ("object_visible_frames", "Model_1") and "calib", fx fy cx
cy. Depth is a 16-bit PNG in millimetres; a mask is 1 on the object.

The pickles are read by this project's own machine, which executes nothing.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from jaxvision.data import builder, files, images, tum
from jaxvision.errors import UserError
from jaxvision.papers.inverse_compositional import views
from jaxvision.published import numpy_files, pickles

MILLIMETRES = 1000.0
DEPTH_RANGE = (0.1, 100.0)  # metres, to which depth is clipped
OBJECT = "Model_1"
OBJECT_LABEL = 1

_VEHICLES = ("aeroplane", "bicycle", "bus", "car")
# Categories of each split, and which of their sequences.
SPLITS = {
  "train": (_VEHICLES, range(190)),
  "validation": (_VEHICLES, range(190, 200)),
  "test": (("boat", "motorbike"), range(200)),
}
_INSTRUCTIONS = (
  "Unpack data_objs3D of github.com/lvzhaoyang/RefRESH (MovingObjects3D) there"
)


class _FromInfo(builder.Builder):
  """What both builders share: the sequences of a split that are there."""

  FILES = ("data_objs3D/*/*/info.pkl",)
  INSTRUCTIONS = _INSTRUCTIONS

  def _split_generators(self, dl_manager):
    root = dl_manager.manual_dir / "data_objs3D"
    return {
      split: self._generate_examples(root, folders)
      for split in SPLITS
      if (folders := _folders(root, split))
    }


class MovingObjectsSequences(_FromInfo):
  """The sequences of MovingObjects3D: an example a sequence, without its images."""

  def _features(self):
    return {
      "name": tfds.features.Text(),
      "camera": builder.Array(),
      "object": builder.Array(),
      "intrinsics": builder.Array(),
    }

  def _generate_examples(self, root, folders):
    del root
    for folder in folders:
      info = read_info(folder / "info.pkl")
      seen = info["visible"]
      name = f"{folder.parent.name}_{folder.name}"
      yield (
        name,
        {
          "name": name,
          "camera": info["camera"][seen],
          "object": info["object"][seen],
          "intrinsics": info["intrinsics"],
        },
      )


class MovingObjectsFrames(_FromInfo):
  """The frames of MovingObjects3D in which the object is seen, in the same order."""

  def _features(self):
    return {
      "image": builder.ImageFile(),
      "depth": builder.ImageFile(_decode_depth),
      "mask": builder.ImageFile(images.decode_labels),
    }

  def _generate_examples(self, root, folders):
    for folder in folders:
      info = read_info(folder / "info.pkl")
      for frame in info["visible"]:
        name = f"{folder.parent.name}_{folder.name}_{frame:06d}"
        yield (
          name,
          {
            "image": root / info["color"][frame],
            "depth": root / info["depth"][frame],
            "mask": root / info["object_mask"][frame],
          },
        )


def read_info(path: epath.PathLike) -> dict:
  """Returns what an info.pkl tells.

  Returns:
    "color", "depth", "object_mask": files relative to data_objs3D; "camera", "object":
    [N, 4, 4] to the world; "visible": [K] int; "intrinsics": [4].

  Raises:
    UserError: missing or damaged file, or one that tells something else.
  """
  encoded = files.read_bytes(path)
  with files.decoding(path, "info.pkl of MovingObjects3D"):
    tree = _plain(numpy_files.read_pickle(encoded))
    info = {
      kind: [str(name).split("final/")[-1] for name in tree[kind]]
      for kind in ("color", "depth", "object_mask")
    }
    count = len(info["color"])
    info["camera"] = np.asarray(tree["pose"], np.float64).reshape(count, 4, 4)
    poses = np.asarray(tree["object_poses"][OBJECT], np.float64)
    info["object"] = poses.reshape(count, 4, 4)
    visible = np.asarray(tree["object_visible_frames"][OBJECT], np.int64).reshape(-1)
    if visible.size and not 0 <= visible.min() <= visible.max() < count:
      raise ValueError(f"frames {visible.min()} to {visible.max()} of {count}")
    info["visible"] = visible
    info["intrinsics"] = np.asarray(tree["calib"], np.float32).reshape(4)
  return info


class Pairs:
  """Pairs of frames of one object at random access, as the trackers take them.

  Args:
    sequences: examples of MovingObjectsSequences.
    frames: of MovingObjectsFrames, those of all sequences one behind the other.
    keyframes: distances between the two frames of a pair.
    stride: distance between the frames that are used at all.
    height: of the views; the width follows.
  """

  def __init__(
    self,
    sequences: Sequence[dict],
    frames: Sequence[dict],
    keyframes: Sequence[int],
    *,
    stride: int,
    height: int,
  ):
    self._sequences = [sequences[index] for index in range(len(sequences))]
    self._frames = frames
    self._height = height
    self._starts, self._pairs, start = [], [], 0
    for number, sequence in enumerate(self._sequences):
      count = len(sequence["camera"])
      self._starts.append(start)
      start += count
      self._pairs += [
        (number, first, first + distance)
        for first in range(0, count - max(keyframes), stride)
        for distance in keyframes
      ]
    if start != len(frames):
      raise UserError(
        f"MovingObjects3D was built in part: {len(frames)} frames, not {start}"
      )

  def __len__(self) -> int:
    return len(self._pairs)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    number, *chosen = self._pairs[index]
    sequence = self._sequences[number]
    pair = {}
    for view, frame in enumerate(chosen):
      example = self._frames[self._starts[number] + frame]
      old = example["image"].shape[:2]
      size = self._height, round(old[1] * self._height / old[0])
      pair[f"image{view}"] = views.resize_color(example["image"], size)
      depth = views.resize_nearest(example["depth"], size)
      pair[f"depth{view}"] = np.clip(depth, *DEPTH_RANGE)
      if view == 0:
        mask = views.resize_nearest(example["mask"], size)
        pair["mask0"] = mask == OBJECT_LABEL
        pair["intrinsics"] = views.resize_intrinsics(sequence["intrinsics"], old, size)
    (camera0, camera1), (object0, object1) = (
      sequence[kind][chosen] for kind in ("camera", "object")
    )
    # The object's own motion, as the moving camera sees it.
    moved = np.linalg.inv(camera1) @ object1 @ np.linalg.inv(object0) @ camera0
    return pair | {"pose": moved.astype(np.float32)}


def pairs(
  data_dir: epath.PathLike,
  split: str,
  keyframes: Sequence[int],
  height: int,
  *,
  manual_dir: epath.PathLike | None = None,
) -> Pairs:
  """Returns the pairs of a split.

  Args:
    data_dir: where the data set is, or is built.
    split: "train", "validation" or "test".
    keyframes: distances between the two frames of a pair.
    height: of the views; 120 is a half.
    manual_dir: where data_objs3D is; `data_dir`/downloads/manual/moving_objects3_d when
      None.

  Raises:
    UserError: files are missing or damaged, or there is none of the split.
  """
  if manual_dir is None:
    manual_dir = epath.Path(data_dir) / "downloads" / "manual" / "moving_objects3_d"
  try:
    sequences, frames = (
      builder.load(kind, split, data_dir=data_dir, manual_dir=manual_dir)
      for kind in (MovingObjectsSequences, MovingObjectsFrames)
    )
  except ValueError as error:  # TFDS names the splits that there are
    raise UserError(f"{data_dir}: no sequence of {split}: {error}") from error
  stride = 1 if split == "train" else max(keyframes)
  return Pairs(sequences, frames, keyframes, stride=stride, height=height)


def _folders(root: epath.Path, split: str) -> list[epath.Path]:
  """Returns the folders of a split's sequences that are there."""
  categories, numbers = SPLITS[split]
  return [
    folder
    for category in categories
    for number in numbers
    if ((folder := root / category / f"{number:06d}") / "info.pkl").exists()
  ]


def _plain(node):
  """Returns what a pickle held, its arrays made and its keys and texts decoded."""
  while isinstance(node, pickles.Unresolved):
    node = node.value()
  if isinstance(node, bytes):
    return node.decode("latin-1")  # Python 2's text
  if isinstance(node, dict):
    return {_plain(key): _plain(child) for key, child in node.items()}
  if isinstance(node, list | tuple):
    return [_plain(child) for child in node]
  return node


def _decode_depth(encoded: bytes, name: str) -> np.ndarray:
  return tum.decode_depth(encoded, name, MILLIMETRES)
