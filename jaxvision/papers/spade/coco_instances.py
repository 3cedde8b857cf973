"""Instance maps of COCO-Stuff: its label maps with things' polygons painted over them.

The authors number the polygons of a picture from 0 in the order of its annotations and
paint each over the label map, so that what no polygon covers keeps its label, and
crowds, which have no polygons, keep theirs.

Source: datasets/coco_generate_instance_map.py.
"""

import json
from collections.abc import Iterable, Sequence

import chex
import numpy as np
from etils import epath

from jaxvision.data import files, images
from jaxvision.errors import UserError

_ORIGIN = 1  # the authors take the annotations' corners as counted from 1


def paint(labels: np.ndarray, polygons: Iterable[Sequence[float]]) -> np.ndarray:
  """Returns the instance map of one picture.

  Args:
    labels: [H, W] uint8 label map.
    polygons: each x, y, x, y, ... of its corners in pixels.

  Returns:
    [H, W] uint8, or uint16 where more than 256 polygons are numbered.
  """
  from skimage import draw

  chex.assert_rank(labels, 2)
  polygons = list(polygons)
  instances = labels.astype(np.uint16 if len(polygons) > 256 else np.uint8)
  for number, corners in enumerate(polygons):
    columns, rows = np.reshape(np.asarray(corners, float), (-1, 2)).T - _ORIGIN
    instances[draw.polygon(rows, columns, labels.shape)] = number
  return instances


def read_polygons(path: epath.PathLike) -> dict[str, list[list[float]]]:
  """Returns the polygons of each picture of instances_{train,val}2017.json.

  Args:
    path: of the annotations.

  Returns:
    {stem of the picture's file: polygons in the order of its annotations}.

  Raises:
    UserError: a missing or damaged file; names it.
  """
  content = files.read_bytes(path)
  with files.decoding(path, "COCO annotation file"):
    tree = json.loads(content)
    stems = {image["id"]: _stem(image["file_name"]) for image in tree["images"]}
    polygons = {stem: [] for stem in stems.values()}
    for annotation in tree["annotations"]:
      shapes = annotation["segmentation"]
      if not isinstance(shapes, list):  # a crowd, run-length encoded
        continue
      for corners in shapes:
        if len(corners) % 2 or not np.all(np.isfinite(np.asarray(corners, float))):
          raise ValueError(f"annotation {annotation['id']} has a damaged polygon")
        polygons[stems[annotation["image_id"]]].append(corners)
  return polygons


def write(
  annotations: epath.PathLike, labels: epath.PathLike, out: epath.PathLike
) -> int:
  """Writes the instance map of each label map, and returns how many.

  Args:
    annotations: instances_train2017.json or instances_val2017.json.
    labels: folder of the label maps, NAME.png for the picture NAME.jpg.
    out: folder, not there yet, for the instance maps of the same names.

  Raises:
    UserError: a missing or damaged file, or a label map of an unknown picture.
  """
  polygons = read_polygons(annotations)
  paths = sorted(epath.Path(labels).glob("*.png"))
  if not paths:
    raise UserError(f"{labels}: holds no label maps, *.png")
  for path in paths:
    if path.stem not in polygons:
      raise UserError(f"{annotations}: knows no picture {path.stem}")
  out = epath.Path(out)
  unfinished = out.parent / f".{out.name}.part"
  unfinished.mkdir(parents=True, exist_ok=True)
  for path in paths:
    instances = paint(images.read_labels(path), polygons[path.stem])
    images.write_png(unfinished / path.name, instances)
  unfinished.rename(out)  # a run that was stopped leaves no half of them
  return len(paths)


def _stem(name: str) -> str:
  return epath.Path(name).stem
