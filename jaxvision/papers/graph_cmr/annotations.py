"""Annotations of people, in the authors' npz files.

A file holds N people: imgname (text), center [N, 2] in pixels, scale [N] (box side over
200 pixels); and, where they are annotated, part [N, 24, 3] (x, y in pixels, annotated),
S [N, 24, 4] (metres about the pelvis, confidence), pose [N, 72], shape [N, 10],
maskname and partname (text).
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError

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


def _text(text: Any) -> str:
  return text.decode() if isinstance(text, bytes) else str(text)
