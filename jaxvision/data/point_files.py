"""Points in images as a CSV: filename,count,locations, as those who label write it.

    filename,count,locations
    a.png,2,"[(12, 30), (40, 8)]"

Locations are (row, column) pairs in pixels of the image as it is stored, from the top
left. They are read as literals, never evaluated.
"""

import ast
import csv
import io
import re
from collections.abc import Iterable, Mapping

import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError

COLUMNS = ("filename", "count", "locations")

# Of numpy 2, which writes its scalars so: np.float64(1.5).
_NUMPY_SCALAR = re.compile(r"np\.\w+\(([^()]*)\)")


def read_csv(path: epath.PathLike) -> dict[str, np.ndarray]:
  """Returns {file name: points [N, 2] float32, (row, column)}, in the file's order.

  Raises:
    UserError: missing file or columns, a damaged line, a count that is not the number
      of locations, or a file named twice; names the path and the line.
  """
  with files.decoding(path, "CSV of points"):
    text = files.read_bytes(path).decode("utf-8-sig")
    reader = csv.DictReader(io.StringIO(text))
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    missing = [name for name in ("filename", "locations") if name not in header]
    if missing:
      raise UserError(f"{path}: lacks the column {' and '.join(missing)}")
    found: dict[str, np.ndarray] = {}
    for row in reader:
      where = f"{path}: line {reader.line_num}"
      name = (row["filename"] or "").strip()
      if not name:
        raise UserError(f"{where}: no file name")
      if name in found:
        raise UserError(f"{where}: {name} is named twice")
      found[name] = _points(row["locations"], where)
      _check_count(row.get("count"), len(found[name]), where)
    return found


def write_csv(path: epath.PathLike, points: Mapping[str, Iterable]) -> None:
  """Writes {file name: points [N, 2]}; whole numbers stay whole."""
  stream = io.StringIO()
  writer = csv.writer(stream, lineterminator="\n")
  writer.writerow(COLUMNS)
  for name, pairs in points.items():
    pairs = np.asarray(pairs).reshape(-1, 2)
    writer.writerow([name, len(pairs), [tuple(pair) for pair in pairs.tolist()]])
  files.write_bytes(path, stream.getvalue().encode())


def _points(text, where):
  text = _NUMPY_SCALAR.sub(r"\1", (text or "").strip())
  try:
    pairs = ast.literal_eval(text) if text else []
    points = np.array([tuple(map(float, pair)) for pair in pairs], np.float32)
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    points = None
  if points is None or (points.size and points.shape[1:] != (2,)):
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    raise UserError(f"{where}: locations are no list of (row, column): {shown}")
  if not np.all(np.isfinite(points)):
    raise UserError(f"{where}: a location is not finite")
  return points.reshape(-1, 2)


def _check_count(text, points, where):
  if text is None or not text.strip():
    return
  try:
    count = float(text)
  except ValueError:
    raise UserError(f"{where}: count is {text.strip()!r}, no number") from None
  if count != points:
    raise UserError(f"{where}: count is {text.strip()}, but {points} locations follow")
