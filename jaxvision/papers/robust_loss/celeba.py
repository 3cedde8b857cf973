"""CelebA as its authors distribute it, cut as the paper's VAE was trained on it."""

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from jaxvision.data import builder, files
from jaxvision.errors import UserError
from jaxvision.ops.resize import weights

_PARTITION = "Eval/list_eval_partition.txt"
_IMAGES = "Img/img_align_celeba"
_SPLITS = ("train", "validation", "test")  # 0, 1, 2 in the file
_CROP = 160  # pixels in the middle of each picture


class CelebA(builder.Builder):
  """Aligned faces of CelebA, in the order of the authors' partition."""

  FILES = (_PARTITION, f"{_IMAGES}/*.jpg")
  INSTRUCTIONS = (
    "Unpack Img/img_align_celeba.zip and Eval/list_eval_partition.txt of CelebA "
    "(mmlab.ie.cuhk.edu.hk/projects/CelebA.html) there"
  )

  def _features(self):
    return {"name": tfds.features.Text(), "image": builder.ImageFile()}

  def _split_generators(self, dl_manager):
    names = read_partition(dl_manager.manual_dir / _PARTITION)
    folder = dl_manager.manual_dir / _IMAGES
    return {
      split: self._generate_examples(folder, names[split])
      for split in _SPLITS
      if names[split]
    }

  def _generate_examples(self, folder, names):
    for name in names:
      yield name, {"name": name, "image": folder / name}


def read_partition(path: epath.PathLike) -> dict[str, list[str]]:
  """Returns the names of the pictures of each split.

  Args:
    path: of list_eval_partition.txt: a line NAME 0, 1 or 2 for each picture.

  Raises:
    UserError: missing file, or a line that is not so.
  """
  text = files.read_bytes(path).decode("utf-8", "replace")
  names = {split: [] for split in _SPLITS}
  for number, line in enumerate(text.splitlines(), start=1):
    if not line.strip():
      continue
    words = line.split()
    if len(words) != 2 or words[1] not in ("0", "1", "2"):
      raise UserError(f"{path}: line {number} is not NAME and 0, 1 or 2: {line!r}")
    names[_SPLITS[int(words[1])]].append(words[0])
  return names


def prepare(image: np.ndarray, size: int) -> np.ndarray:
  """Returns the middle 160 x 160 pixels at another size, [size, size, 3] in [0, 1].

  Args:
    image: [H, W, 3] uint8, sides at least 160.
    size: of the result; bilinear, without anti-aliasing.

  Raises:
    UserError: the image is smaller.
  """
  height, width = image.shape[:2]
  if min(height, width) < _CROP:
    raise UserError(f"a picture of CelebA has 178 x 218 pixels, not {width} x {height}")
  top, left = (height - _CROP) // 2, (width - _CROP) // 2
  middle = image[top : top + _CROP, left : left + _CROP].astype(np.float32) / 255
  matrix = weights(_CROP, size, "bilinear", "half_pixel").astype(np.float32)
  return np.einsum("ij,jkc,lk->ilc", matrix, middle, matrix, optimize=True)


class Faces:
  """A split at random access, prepared for a VAE.

  Args:
    split: "train", "validation" or "test".
    size: side of the images.
    data_dir, manual_dir: see `builder.load`.

  Raises:
    UserError: files are missing or damaged.
  """

  def __init__(
    self,
    split: str,
    size: int,
    *,
    data_dir: epath.PathLike,
    manual_dir: epath.PathLike | None = None,
  ):
    try:
      self._examples = builder.load(
        CelebA, split, data_dir=data_dir, manual_dir=manual_dir
      )
    except ValueError as error:  # TFDS names the splits that there are
      raise UserError(f"{data_dir} has no {split} pictures: {error}") from error
    self._size = size

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    return {"image": prepare(self._examples[index]["image"], self._size)}
