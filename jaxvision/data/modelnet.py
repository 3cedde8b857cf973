"""ModelNet40 as 2,048 points a shape, from the HDF5 files that PointNet made.

`modelnet40_ply_hdf5_2048/train_files.txt` and `test_files.txt` list the files, one a
line, under the folder that their authors had them in (`data/`). Each file has `data`
[n, 2048, 3] float32, in the unit sphere, and `label` [n, 1].
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from jaxvision.data import builder, files
from jaxvision.data.hdf5 import read_hdf5, write_hdf5
from jaxvision.errors import UserError

FOLDER = "modelnet40_ply_hdf5_2048"
CLASSES = 40
_NAMES = """
airplane bathtub bed bench bookshelf bottle bowl car chair cone cup curtain desk
door dresser flower_pot glass_box guitar keyboard lamp laptop mantel monitor
night_stand person piano plant radio range_hood sink sofa stairs stool table tent
toilet tv_stand vase wardrobe xbox
"""
NAMES = tuple(_NAMES.split())


class Modelnet40(builder.Builder):
  """12,311 shapes in 40 classes; splits "train" (9,843) and "test" (2,468)."""

  FILES = tuple(f"{FOLDER}/{split}_files.txt" for split in ("train", "test"))
  INSTRUCTIONS = (
    "Unpack modelnet40_ply_hdf5_2048.zip, which PointNet's code downloads, there"
  )

  def _features(self):
    return {"points": builder.Array(), "label": tfds.features.Scalar(np.int64)}

  def _split_generators(self, dl_manager):
    folder = dl_manager.manual_dir / FOLDER
    return {
      split: self._generate_examples(folder, split) for split in ("train", "test")
    }

  def _generate_examples(self, folder, split):
    for path in listed_files(folder, split):
      points, labels = read(path)
      for index, (cloud, label) in enumerate(zip(points, labels, strict=True)):
        yield f"{path.name}/{index}", {"points": cloud, "label": int(label)}


def listed_files(folder: epath.PathLike, split: str) -> list[epath.Path]:
  """Returns the files of a split, where they lie now.

  Args:
    folder: that of train_files.txt and test_files.txt.
    split: "train" or "test".

  Raises:
    UserError: the list is missing or empty, or a listed file is missing.
  """
  folder = epath.Path(folder)
  listing = folder / f"{split}_files.txt"
  lines = files.read_bytes(listing).decode(errors="replace").split()
  # Lines name the files from a folder of the authors': only the name counts.
  paths = [folder / line.rsplit("/", 1)[-1] for line in lines]
  if not paths:
    raise UserError(f"{listing}: lists no files")
  missing = [path.name for path in paths if not path.exists()]
  if missing:
    raise UserError(f"{listing}: not in {folder}: {', '.join(missing)}")
  return paths


def read(path: epath.PathLike, classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
  """Returns the points [n, P, 3] float32 and labels [n] int64 of one file.

  Raises:
    UserError: missing or damaged file, coordinates that are not finite, labels that
      are not classes; names the path.
  """
  arrays = read_hdf5(path, ("data", "label"))
  points, labels = arrays["data"], arrays["label"].reshape(-1)
  if points.ndim != 3 or points.shape[-1] != 3 or len(points) != len(labels):
    raise UserError(
      f"{path}: data {list(points.shape)} and {len(labels)} labels, not [n, P, 3] and n"
    )
  if not np.isfinite(points).all():
    raise UserError(f"{path}: coordinates are not finite")
  if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
    raise UserError(f"{path}: labels reach {labels.max()}, but {classes} are known")
  return points.astype(np.float32), labels.astype(np.int64)


def write(
  folder: epath.PathLike,
  splits: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]],
) -> None:
  """Writes data of one's own in the same layout, to be read in ModelNet's place.

  Args:
    folder: made where missing.
    splits: (points [n, P, 3], labels [n]) of each file of "train" and of "test".
  """
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  for split, parts in splits.items():
    lines = []
    for name, points, labels in _named(split, parts):
      write_hdf5(
        folder / name,
        {
          "data": np.asarray(points, np.float32),
          "label": np.asarray(labels, np.uint8)[:, None],
        },
      )
      lines.append(f"data/{FOLDER}/{name}\n")
    files.write_bytes(folder / f"{split}_files.txt", "".join(lines).encode())


def _named(split, parts) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
  for number, (points, labels) in enumerate(parts):
    yield f"ply_data_{split}{number}.h5", points, labels
