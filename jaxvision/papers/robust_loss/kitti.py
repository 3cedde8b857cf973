"""KITTI's video as SfMLearner prepares it for training.

FOLDER/FRAME.jpg holds three frames side by side, the target in the middle, and
FOLDER/FRAME_cam.txt the nine intrinsics, row by row; train.txt and val.txt list
"FOLDER FRAME" of each split.
"""

import numpy as np
from etils import epath

from jaxvision.data import builder, files
from jaxvision.errors import UserError

_FRAMES = 3


class KittiSnippets(builder.Builder):
  """Three frames of KITTI's raw video and their camera."""

  FILES = ("train.txt", "val.txt", "*/*.jpg", "*/*_cam.txt")
  INSTRUCTIONS = (
    "Prepare KITTI's raw data with data/prepare_train_data.py of "
    "github.com/tinghuiz/SfMLearner (--dataset_name=kitti_raw_eigen --seq_length=3 "
    "--img_width=416 --img_height=128) there"
  )

  def _features(self):
    return {"image": builder.ImageFile(), "intrinsics": builder.Array()}

  def _split_generators(self, dl_manager):
    directory = dl_manager.manual_dir
    return {
      name: self._generate_examples(directory, directory / file)
      for name, file in (("train", "train.txt"), ("validation", "val.txt"))
    }

  def _generate_examples(self, directory, listing):
    text = files.read_bytes(listing).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), start=1):
      words = line.split()
      if not words:
        continue
      if len(words) != 2:
        raise UserError(f"{listing}: line {number} is not FOLDER FRAME: {line!r}")
      folder, frame = words
      intrinsics = read_intrinsics(directory / folder / f"{frame}_cam.txt")
      image = directory / folder / f"{frame}.jpg"
      yield f"{folder}/{frame}", {"image": image, "intrinsics": intrinsics}


def read_intrinsics(path: epath.PathLike) -> np.ndarray:
  """Returns the [3, 3] float32 intrinsics, in pixels, of a _cam.txt file.

  Raises:
    UserError: missing file, or not nine finite numbers with commas between.
  """
  text = files.read_bytes(path)
  with files.decoding(path, "file of nine intrinsics"):
    values = np.array([float(word) for word in text.decode().split(",")], np.float32)
    if values.size != 9 or not np.all(np.isfinite(values)):
      raise ValueError(f"{values.size} numbers, or one that is not finite")
  return values.reshape(3, 3)


class Snippets:
  """A split at random access, as `depth.DepthModel` takes it.

  Args:
    split: "train" or "validation".
    height, width: of one frame.
    data_dir, manual_dir: see `builder.load`.

  Raises:
    UserError: files are missing, damaged, or of another size.
  """

  def __init__(
    self,
    split: str,
    height: int,
    width: int,
    *,
    data_dir: epath.PathLike,
    manual_dir: epath.PathLike | None = None,
  ):
    self._examples = builder.load(
      KittiSnippets, split, data_dir=data_dir, manual_dir=manual_dir
    )
    self._shape = height, _FRAMES * width, 3

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    example = self._examples[index]
    image = example["image"]
    if image.shape != self._shape:
      height, width = self._shape[:2]
      raise UserError(
        f"KITTI's snippet {index} has {image.shape[1]} x {image.shape[0]} pixels; "
        f"three frames of the config have {width} x {height}"
      )
    before, target, after = np.split(image.astype(np.float32) / 255, _FRAMES, axis=1)
    return {
      "target": target,
      "sources": np.stack([before, after]),
      "intrinsics": example["intrinsics"],
    }
