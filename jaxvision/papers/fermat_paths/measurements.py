"""Files of transients in the authors' layout, .mat or .npz.

transients          [n, m] photons by wall point and bin
temporalBinCenters  [1, m] or [n, m] path lengths, cm
detLocs             [n, 3] wall points, cm; z = 0
detGridSize         [n_y, n_x]; point (iy, ix) is row iy + n_y ix
srcLoc              [1, 3] lit wall point; absent when confocal
"""

from typing import NamedTuple

import numpy as np
from etils import epath

from jaxvision import published
from jaxvision.errors import UserError

_NEEDED = ("transients", "temporalBinCenters", "detLocs", "detGridSize")


class Measurement(NamedTuple):
  """Transients on a grid of wall points.

  Attributes:
    transients: [H, W, m] float32; NaN in those that are missing.
    bins: [m] or [H, W, m] path lengths of the bins' centres, cm, ascending.
    wall: [H, W, 3] cm.
    source: [3] cm, or None when confocal.
  """

  transients: np.ndarray
  bins: np.ndarray
  wall: np.ndarray
  source: np.ndarray | None = None


def read(path: epath.PathLike) -> Measurement:
  """Reads transients from a .mat file (MATLAB 5 to 7) or an .npz archive.

  Raises:
    UserError: a missing or damaged file, or an array that is missing, empty, not of
      numbers, or does not fit the others; names the file and the array.
  """
  arrays = published.load(path)
  for name in _NEEDED:
    if name not in arrays:
      raise UserError(f"{path}: holds no {name}, only {', '.join(arrays) or 'nothing'}")
  try:
    return from_arrays(arrays)
  except ValueError as error:
    raise UserError(f"{path}: {error}") from None


def from_arrays(arrays: dict[str, np.ndarray]) -> Measurement:
  """Returns the measurement that arrays in the authors' layout hold.

  Raises:
    ValueError: an array does not fit the others, in one line.
  """
  transients = _numbers(arrays, "transients", np.float32)
  if transients.ndim != 2 or 0 in transients.shape:
    raise ValueError(f"transients are {transients.shape}, not points by bins")
  count, bins = transients.shape
  shape = _numbers(arrays, "detGridSize").reshape(-1)
  if shape.shape != (2,) or np.any(shape < 1) or np.any(shape != np.round(shape)):
    raise ValueError(f"detGridSize is {shape.tolist()}, not two numbers of points")
  shape = tuple(int(n) for n in shape)
  if shape[0] * shape[1] != count:
    raise ValueError(f"detGridSize {shape} does not give {count} transients")
  wall = _numbers(arrays, "detLocs")
  if wall.shape != (count, 3) or not np.all(np.isfinite(wall)):
    raise ValueError(f"detLocs is not {count} finite points of three coordinates")
  centres = _numbers(arrays, "temporalBinCenters")
  if centres.size == bins:
    centres = centres.reshape(bins)
  elif centres.shape != (count, bins):
    raise ValueError(f"temporalBinCenters are {centres.shape}, for {bins} bins")
  if not np.all(np.isfinite(centres)) or np.any(np.diff(centres) <= 0):
    raise ValueError("temporalBinCenters are not finite and ascending")
  usable = np.all(np.isfinite(transients), axis=1) & (np.max(transients, axis=1) > 0)
  if not np.any(usable):
    raise ValueError("transients hold no light: every one is zero or not finite")
  transients = np.where(usable[:, None], transients, np.float32(np.nan))
  source = None
  if "srcLoc" in arrays and np.size(arrays["srcLoc"]):
    source = _numbers(arrays, "srcLoc").reshape(-1)
    if source.shape != (3,) or not np.all(np.isfinite(source)):
      raise ValueError("srcLoc is not one finite point of three coordinates")
    source = source.astype(np.float32)
  return Measurement(
    _to_grid(transients, shape),
    (centres if centres.ndim == 1 else _to_grid(centres, shape)).astype(np.float32),
    _to_grid(wall, shape).astype(np.float32),
    source,
  )


def to_arrays(measurement: Measurement) -> dict[str, np.ndarray]:
  """Returns a measurement's arrays in the authors' layout, for an .npz or a .mat."""
  transients, bins, wall, source = measurement
  arrays = {
    "transients": _from_grid(np.asarray(transients)),
    "temporalBinCenters": (
      np.asarray(bins)[None] if np.ndim(bins) == 1 else _from_grid(np.asarray(bins))
    ),
    "detLocs": _from_grid(np.asarray(wall)),
    "detGridSize": np.array([transients.shape[:2]], np.float64),
  }
  if source is not None:
    arrays["srcLoc"] = np.asarray(source).reshape(1, 3)
  return arrays


def _numbers(arrays, name, dtype=np.float64):
  array = np.asarray(arrays[name])
  if array.dtype.kind not in "biuf":
    raise ValueError(f"{name} is of {array.dtype}, not of real numbers")
  return array.astype(dtype)


def _to_grid(rows, shape):
  columns = rows.reshape(shape[1], shape[0], *rows.shape[1:])
  return np.ascontiguousarray(np.swapaxes(columns, 0, 1))


def _from_grid(grid):
  columns = np.swapaxes(grid, 0, 1)
  return columns.reshape(-1, *grid.shape[2:])
