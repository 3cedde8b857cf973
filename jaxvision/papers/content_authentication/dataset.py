"""The authors' RAW data on disk, as a data set of this project's."""

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from jaxvision.data import builder, files
from jaxvision.errors import UserError
from jaxvision.papers.content_authentication.data import Pair


class RawPairs(builder.Builder):
  """RAW and developed photographs as the authors' scripts prepare them.

  CAMERA/NAME.npy holds a white-balanced Bayer stack, uint16 [h, w, 4], and
  CAMERA/NAME.png the picture of the classical pipeline, 8 bits, [2h, 2w, 3]. Of each
  camera's files, in the order of their names, the first 120 are the split
  CAMERA_train and the next 30 CAMERA_validation ("-" becomes "_").
  """

  FILES = ("*/*.npy", "*/*.png")
  INSTRUCTIONS = (
    "Put one folder a camera there, with NAME.npy and NAME.png of every photograph, as "
    "train_prepare_training_set.py of github.com/pkorus/neural-imaging makes them from "
    "the DNG files of MIT-Adobe FiveK and the NEF files of RAISE"
  )
  NUM_TRAIN, NUM_VALIDATION = 120, 30

  def _features(self):
    return {
      "name": tfds.features.Text(),
      "raw": builder.Array(),
      "target": builder.ImageFile(),
    }

  def _split_generators(self, dl_manager):
    splits = {}
    for folder in sorted(dl_manager.manual_dir.iterdir()):
      pictures = sorted(folder.glob("*.png"))
      train, rest = pictures[: self.NUM_TRAIN], pictures[self.NUM_TRAIN :]
      if not rest:
        raise UserError(
          f"{folder}: {len(pictures)} photographs, but the first {self.NUM_TRAIN} are "
          "for training and validation needs more"
        )
      name = folder.name.replace("-", "_")
      splits[f"{name}_train"] = self._generate_examples(train)
      splits[f"{name}_validation"] = self._generate_examples(
        rest[: self.NUM_VALIDATION]
      )
    return splits

  def _generate_examples(self, pictures):
    for picture in pictures:
      raw = read_raw_stack(picture.with_suffix(".npy"))
      yield picture.name, {"name": picture.stem, "raw": raw, "target": picture}


def read_raw_stack(path: epath.PathLike) -> np.ndarray:
  """Returns the [h, w, 4] uint16 Bayer stack in an .npy file.

  Raises:
    UserError: missing or damaged file, or an array of another type or shape, such as
      floats, among which NaN could hide.
  """
  encoded = files.read_bytes(path)
  with files.decoding(path, "NPY array"):
    raw = builder.Array().decode_example_np(encoded)
  if raw.dtype != np.uint16 or raw.ndim != 3 or raw.shape[-1] != 4:
    raise UserError(
      f"{path}: a RAW stack is uint16 [h, w, 4], this is {raw.dtype} {list(raw.shape)}"
    )
  return raw


def load_pairs(
  camera: str, split: str, data_dir: epath.PathLike, manual_dir=None
) -> list[Pair]:
  """Returns a camera's photographs from disk, all in memory as patches need them.

  Args:
    camera: name of the camera's folder.
    split: "train" or "validation".
    data_dir: where the data set is, or is built.
    manual_dir: where the authors' files are, see builder.load.

  Raises:
    UserError: files are missing or damaged; no such camera; a RAW and its picture do
      not have the same size.
  """
  name = f"{camera.replace('-', '_')}_{split}"
  try:
    examples = builder.load(RawPairs, name, data_dir=data_dir, manual_dir=manual_dir)
  except ValueError as error:  # TFDS names the splits that there are
    raise UserError(f"{data_dir} has no photographs of {camera}: {error}") from error
  pairs = []
  for index in range(len(examples)):
    example = examples[index]
    pair = Pair(example["raw"], example["target"])
    height, width = pair.raw.shape[:2]
    if pair.target.shape != (2 * height, 2 * width, 3):
      raise UserError(
        f"{camera}/{example['name'].decode()}: the RAW stack is {height} x {width}, so "
        f"the picture should have twice that, but is {pair.target.shape}"
      )
    pairs.append(pair)
  return pairs
