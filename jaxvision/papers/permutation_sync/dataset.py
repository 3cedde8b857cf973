"""Willow Object Class and the CMU house and hotel, as their authors distribute them."""

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from jaxvision import published
from jaxvision.data import builder, files
from jaxvision.errors import UserError
from jaxvision.papers.permutation_sync.data import CMU, WILLOW

WILLOW_LANDMARKS, CMU_LANDMARKS = 10, 30


class Willow(builder.Builder):
  """Photographs of five kinds of objects with ten landmarks each.

  CATEGORY/NAME.png beside CATEGORY/NAME.mat, whose pts_coord [2, 10] holds x, then y,
  counted from 1 as MATLAB does. A split a category, in the order of names.
  """

  FILES = tuple(f"{name}/*.{kind}" for name in WILLOW for kind in ("png", "mat"))
  INSTRUCTIONS = (
    "Unpack WILLOW-ObjectClass_dataset.zip of www.di.ens.fr/willow/research/"
    "graphlearning there: the folders Car, Duck, Face, Motorbike and Winebottle"
  )

  def _features(self):
    return _features()

  def _split_generators(self, dl_manager):
    directory = dl_manager.manual_dir
    return {name: self._generate_examples(directory / name) for name in WILLOW}

  def _generate_examples(self, directory):
    for picture in sorted(directory.glob("*.png")):
      points = read_willow_landmarks(picture.with_suffix(".mat"))
      yield picture.name, {"name": picture.stem, "image": picture, "points": points}


class CmuSequence(builder.Builder):
  """Frames of a toy house and a toy hotel on a turntable, 30 landmarks each.

  NAME/images/NAME.seqI.png with I from 0, and NAME/label/NAME(I + 1), text with x and
  y of one landmark a line; or NAME(I + 1).mat with one array [30, 2] or [2, 30].
  """

  FILES = tuple(
    f"{name}/{kind}/{name}*" for name in CMU for kind in ("images", "label")
  )
  INSTRUCTIONS = (
    "Unpack the CMU house and hotel sequences with the landmarks of Caetano et al. "
    "there: house/images/house.seq0.png and on, house/label/house1 and on; the same "
    "of hotel"
  )

  def _features(self):
    return _features()

  def _split_generators(self, dl_manager):
    directory = dl_manager.manual_dir
    return {name: self._generate_examples(directory / name) for name in CMU}

  def _generate_examples(self, directory):
    name = directory.name
    pictures = directory.joinpath("images").glob(f"{name}.seq*.png")
    frames = sorted(int(path.stem.rpartition("seq")[2]) for path in pictures)
    for frame in frames:
      label = directory / "label" / f"{name}{frame + 1}"
      if not label.exists():
        label = label.parent / f"{label.name}.mat"
      picture = directory / "images" / f"{name}.seq{frame}.png"
      yield (
        picture.name,
        {"name": picture.stem, "image": picture, "points": read_cmu_landmarks(label)},
      )


def _features():
  return {
    "name": tfds.features.Text(),
    "image": builder.ImageFile(),
    "points": builder.Array(),
  }


def read_willow_landmarks(path: epath.PathLike) -> np.ndarray:
  """Returns the landmarks [10, 2] of a Willow .mat file, pixels (x, y) from 0.

  Raises:
    UserError: missing or damaged file, other shape, or NaN; names the file.
  """
  arrays = published.load(path)
  if "pts_coord" not in arrays:
    raise UserError(f"{path}: holds no pts_coord, but {', '.join(arrays) or 'nothing'}")
  points = np.asarray(arrays["pts_coord"])
  if points.shape != (2, WILLOW_LANDMARKS):
    raise UserError(
      f"{path}: pts_coord is [2, {WILLOW_LANDMARKS}], not {list(points.shape)}"
    )
  return _finite(points.T - 1, path)


def read_cmu_landmarks(path: epath.PathLike) -> np.ndarray:
  """Returns the landmarks [30, 2] of a frame, pixels (x, y) as they are written.

  Args:
    path: text, or .mat with one array.

  Raises:
    UserError: missing or damaged file, other shape, or NaN; names the file.
  """
  if str(path).endswith(".mat"):
    arrays = list(published.load(path).values())
    if len(arrays) != 1:
      raise UserError(
        f"{path}: {len(arrays)} arrays where one of landmarks is expected"
      )
    points = np.asarray(arrays[0])
    points = points.T if points.shape == (2, CMU_LANDMARKS) else points
  else:
    content = files.read_bytes(path)
    with files.decoding(path, "list of landmarks"):
      points = np.array(
        [line.split() for line in content.decode().splitlines() if line.strip()], float
      )
  if points.shape != (CMU_LANDMARKS, 2):
    raise UserError(
      f"{path}: landmarks are [{CMU_LANDMARKS}, 2], not {list(points.shape)}"
    )
  return _finite(points, path)


def _finite(points, path):
  if not np.all(np.isfinite(points)):
    raise UserError(f"{path}: holds NaN or infinite coordinates")
  return points.astype(np.float32)


def load_sequence(
  name: str, data_dir: epath.PathLike, manual_dir: epath.PathLike | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
  """Returns the images of one of the seven sets, and landmarks [N, n, 2].

  Args:
    name: of WILLOW or CMU.
    data_dir: where the data set is, or is built.
    manual_dir: where the authors' files are, see builder.load.

  Raises:
    UserError: files are missing or damaged, or no such set.
  """
  if name not in (*WILLOW, *CMU):
    raise UserError(f"no set {name!r}: there are {', '.join((*WILLOW, *CMU))}")
  source = Willow if name in WILLOW else CmuSequence
  examples = builder.load(source, name, data_dir=data_dir, manual_dir=manual_dir)
  loaded = [examples[index] for index in range(len(examples))]
  images = [example["image"] for example in loaded]
  return images, np.stack([example["points"] for example in loaded])
