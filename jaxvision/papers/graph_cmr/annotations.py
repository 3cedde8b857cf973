"""Annotations of people: the authors' npz files, and what they are made of.

A file holds N people: imgname (text), center [N, 2] in pixels, scale [N] (box side over
200 pixels); and, where they are annotated, part [N, 24, 3] (x, y in pixels, annotated),
S [N, 24, 4] (metres about the pelvis, confidence), pose [N, 72], shape [N, 10],
maskname and partname (text).
"""

import io
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from jaxvision import published
from jaxvision.data import files
from jaxvision.errors import UserError
from jaxvision.papers.graph_cmr import keypoints

# The arrays of a person, each float32; zeros where a file does not have them.
ARRAYS = {
  "center": (2,),
  "scale": (),
  "part": (24, 3),
  "S": (24, 4),
  "pose": (72,),
  "shape": (10,),
  "has_smpl": (),
  "has_joints": (),
}
_NEEDED = ("imgname", "center", "scale")
_TEXTS = {"imgname": "imgname", "mask": "maskname", "parts": "partname"}

BOX_FACTOR = 1.2  # of a box's side around all joints
_BOX = 200.0
# COCO's 17 joints from the sixth on: shoulders, elbows, wrists, hips, knees, ankles.
_COCO_BODY = (16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9)
_COCO_FACE = {19: 0, 20: 1, 21: 2, 22: 3, 23: 4}
# Places of Human3.6M's 17 joints (see keypoints.H36M_32_TO_17) among the 24.
_H36M_PLACES = (14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6)


def read(path: epath.PathLike) -> list[dict[str, Any]]:
  """Reads an npz file.

  Returns:
    A dict for each person: the fields of `ARRAYS`, and the texts "imgname", "mask" and
    "parts", which are "" where there are none.

  Raises:
    UserError: a missing or damaged file, or fields of impossible shapes.
  """
  path = epath.Path(path)
  content = files.read_bytes(path)
  with (
    files.decoding(path, "npz file"),
    np.load(io.BytesIO(content), allow_pickle=False) as stored,
  ):
    fields = {name: stored[name] for name in stored.files}
  return people(fields, str(path))


def people(fields: Mapping[str, np.ndarray], name: str) -> list[dict[str, Any]]:
  """Returns the people of a file's fields; see `read`.

  Args:
    fields: arrays by their names.
    name: what errors call the file.
  """
  missing = [field for field in _NEEDED if field not in fields]
  if missing:
    raise UserError(f"{name}: lacks {', '.join(missing)}")
  count = len(fields["imgname"])
  given = {
    "has_smpl": np.full(count, "pose" in fields and "shape" in fields),
    "has_joints": np.full(count, "S" in fields),
  }
  table = {}
  for field, shape in ARRAYS.items():
    values = given.get(field, fields.get(field))
    if values is None:
      values = np.zeros((count, *shape))
    if values.shape != (count, *shape):
      raise UserError(
        f"{name}: {field} has shape {values.shape}, not {(count, *shape)}"
      )
    table[field] = np.asarray(values, np.float32)
    if not np.all(np.isfinite(table[field])):
      raise UserError(f"{name}: {field} is not finite everywhere")
  for field, theirs in _TEXTS.items():
    texts = fields.get(theirs, np.full(count, ""))
    if texts.shape != (count,) or texts.dtype.kind not in "US":
      raise UserError(f"{name}: {theirs} is no list of {count} texts")
    table[field] = [_text(text) for text in texts]
  if np.any(table["scale"] <= 0):
    raise UserError(f"{name}: person {np.argmin(table['scale'])} has an empty box")
  return [{field: table[field][i] for field in table} for i in range(count)]


def write(path: epath.PathLike, found: list[dict[str, Any]]) -> None:
  """Writes people as the npz file that `read` reads.

  Args:
    path: where to.
    found: dicts with "imgname", "center", "scale", and the same others in each.
  """
  if not found:
    raise UserError(f"{path}: there is nobody to be written")
  stream = io.BytesIO()
  np.savez(stream, **{name: np.stack([p[name] for p in found]) for name in found[0]})
  files.write_bytes(path, stream.getvalue())


def box(low: np.ndarray, high: np.ndarray, factor: float = BOX_FACTOR):
  """Returns center [2] and scale of a square around a rectangle of pixels."""
  side = np.max(np.subtract(high, low))
  return np.add(low, high) / 2.0, factor * float(side) / _BOX


def coco(path: epath.PathLike, folder: str = "train2014") -> Iterator[dict[str, Any]]:
  """Yields the people of person_keypoints_train2014.json with a whole body.

  Args:
    path: the file.
    folder: of the pictures.
  """
  with files.decoding(path, "COCO annotation file"):
    content = json.loads(files.read_bytes(path))
    names = {one["id"]: one["file_name"] for one in content["images"]}
    for person in content["annotations"]:
      joints = np.array(person["keypoints"], np.float64).reshape(-1, 3)
      joints[:, 2] = joints[:, 2] > 0
      if joints.shape != (17, 3) or joints[5:, 2].sum() < len(_COCO_BODY):
        continue
      part = np.zeros((keypoints.COUNT, 3))
      part[: len(_COCO_BODY)] = joints[list(_COCO_BODY)]
      for ours, theirs in _COCO_FACE.items():
        part[ours] = joints[theirs]
      x, y, width, height = person["bbox"]
      center, scale = box((x, y), (x + width, y + height))
      name = str(pathlib.PurePosixPath(folder) / names[person["image_id"]])
      yield {"imgname": name, "center": center, "scale": scale, "part": part}


def up3d_parameters(path: epath.PathLike) -> dict[str, np.ndarray]:
  """Returns "pose" [72] and "shape" [10] of a *_body.pkl, executing nothing of it."""
  fields = published.load(path)
  found = {}
  for ours, theirs, length in (("pose", "pose", 72), ("shape", "betas", 10)):
    values = fields.get(theirs)
    if values is None or values.size < length:
      raise UserError(f"{path}: lacks {theirs}: it is no body of UP-3D")
    found[ours] = values.reshape(-1)[:length].astype(np.float32)
  return found


def silhouette_box(mask: np.ndarray, factor: float = BOX_FACTOR):
  """Returns center and scale of what a mask [H, W] shows.

  Raises:
    UserError: it shows nothing.
  """
  rows, columns = np.nonzero(mask)
  if not rows.size:
    raise UserError("a silhouette without a pixel has no box")
  return box((columns.min(), rows.min()), (columns.max(), rows.max()), factor)


def h36m_joints(positions: np.ndarray) -> np.ndarray:
  """Returns S [24, 4] of Human3.6M's 32 joints.

  Args:
    positions: [32, 3] in millimetres, of the camera.
  """
  chosen = positions[list(keypoints.H36M_32_TO_17)] / 1000.0
  joints = np.zeros((keypoints.COUNT, 4))
  places = list(_H36M_PLACES)
  joints[places, :3] = chosen - chosen[0]
  joints[places, 3] = 1
  return joints


def _text(text: Any) -> str:
  return text.decode() if isinstance(text, bytes) else str(text)
