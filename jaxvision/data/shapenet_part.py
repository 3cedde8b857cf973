"""ShapeNet-Part with normals, from the text files that its authors distribute.

`<synset>/<id>.txt` has a point a line: x y z nx ny nz part. `synsetoffset2category.txt`
maps names to synsets, `train_test_split/shuffled_<split>_file_list.json` lists
"shape_data/<synset>/<id>". Parts are numbered over all 16 categories.
"""

import io
import json

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from jaxvision.data import builder, files
from jaxvision.errors import UserError

FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
SPLITS = ("train", "val", "test")
# The parts of each category, in the order of synsetoffset2category.txt.
PARTS = {
  "Airplane": (0, 1, 2, 3),
  "Bag": (4, 5),
  "Cap": (6, 7),
  "Car": (8, 9, 10, 11),
  "Chair": (12, 13, 14, 15),
  "Earphone": (16, 17, 18),
  "Guitar": (19, 20, 21),
  "Knife": (22, 23),
  "Lamp": (24, 25, 26, 27),
  "Laptop": (28, 29),
  "Motorbike": (30, 31, 32, 33, 34, 35),
  "Mug": (36, 37),
  "Pistol": (38, 39, 40),
  "Rocket": (41, 42, 43),
  "Skateboard": (44, 45, 46),
  "Table": (47, 48, 49),
}
CATEGORIES = tuple(PARTS)
NUM_PARTS = 50


class ShapenetPart(builder.Builder):
  """16,881 shapes of 16 categories with 50 parts; splits "train", "val", "test"."""

  FILES = (
    f"{FOLDER}/synsetoffset2category.txt",
    *(f"{FOLDER}/train_test_split/shuffled_{s}_file_list.json" for s in SPLITS),
  )
  INSTRUCTIONS = (
    "Unpack shapenetcore_partanno_segmentation_benchmark_v0_normal.zip, which "
    "PointNet++'s code downloads, there"
  )

  def _features(self):
    return {
      "points": builder.Array(),
      "normals": builder.Array(),
      "parts": builder.Array(),
      "category": tfds.features.Scalar(np.int64),
    }

  def _split_generators(self, dl_manager):
    folder = dl_manager.manual_dir / FOLDER
    return {split: self._generate_examples(folder, split) for split in SPLITS}

  def _generate_examples(self, folder, split):
    for path, category in listed_shapes(folder, split):
      points, normals, parts = read(path, category)
      yield (
        f"{path.parent.name}/{path.stem}",
        {"points": points, "normals": normals, "parts": parts, "category": category},
      )


def read_synsets(folder: epath.PathLike) -> dict[str, int]:
  """Returns {synset: index of its category} of synsetoffset2category.txt.

  Raises:
    UserError: missing file, or a category that is not known.
  """
  path = epath.Path(folder) / "synsetoffset2category.txt"
  synsets = {}
  for line in files.read_bytes(path).decode(errors="replace").splitlines():
    words = line.split()
    if not words:
      continue
    if len(words) != 2 or words[0] not in PARTS:
      raise UserError(f"{path}: not a known category and its synset: {line!r}")
    synsets[words[1]] = CATEGORIES.index(words[0])
  return synsets


def listed_shapes(folder: epath.PathLike, split: str) -> list[tuple[epath.Path, int]]:
  """Returns the file and category of every shape of a split, in the list's order.

  Args:
    folder: that of synsetoffset2category.txt.
    split: "train", "val" or "test".

  Raises:
    UserError: a list is missing or damaged, or names an unknown synset.
  """
  folder = epath.Path(folder)
  synsets = read_synsets(folder)
  path = folder / "train_test_split" / f"shuffled_{split}_file_list.json"
  content = files.read_bytes(path)
  with files.decoding(path, "list of shapes"):
    names = json.loads(content)
    shapes = []
    for name in names:
      synset, shape = name.split("/")[-2:]
      if synset not in synsets:
        raise UserError(f"{path}: {name!r} is of no known synset")
      shapes.append((folder / synset / f"{shape}.txt", synsets[synset]))
  return shapes


def read(
  path: epath.PathLike, category: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns points and normals [P, 3] float32 and parts [P] int32 of one shape.

  Args:
    path: the text file.
    category: index; its parts are then the only ones allowed.

  Raises:
    UserError: missing, empty or damaged file, or parts of another category.
  """
  content = files.read_bytes(path)
  with files.decoding(path, "shape of ShapeNet-Part"):
    if not content.strip():
      raise ValueError("it is empty")
    rows = np.loadtxt(io.BytesIO(content), ndmin=2)
    if rows.shape[1] != 7:
      raise ValueError(f"its lines have {rows.shape[1]} numbers, not 7")
    if not np.isfinite(rows).all():
      raise ValueError("its numbers are not finite")
    parts = rows[:, 6].astype(np.int32)
    allowed = range(NUM_PARTS) if category is None else PARTS[CATEGORIES[category]]
    strangers = sorted(set(parts.tolist()) - set(allowed))
    if strangers:
      raise ValueError(f"part {strangers[0]} is none of {min(allowed)}..{max(allowed)}")
  return rows[:, :3].astype(np.float32), rows[:, 3:6].astype(np.float32), parts


def write(
  path: epath.PathLike, points: np.ndarray, normals: np.ndarray, parts: np.ndarray
) -> None:
  """Writes one shape as `read` reads it.

  Args:
    path: where to; its folder must exist.
    points: [P, 3].
    normals: [P, 3].
    parts: [P] int.
  """
  stream = io.StringIO()
  rows = np.concatenate([points, normals, np.asarray(parts)[:, None]], axis=1)
  np.savetxt(stream, rows, fmt=["%.6f"] * 6 + ["%.6f"])
  files.write_bytes(path, stream.getvalue().encode())
