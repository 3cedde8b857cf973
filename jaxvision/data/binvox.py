"""Voxel grids in binvox files (Min and Nooruddin's voxelizer), run-length encoded."""

import dataclasses
import re

import chex
import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError

_HEADER = re.compile(
  rb"#binvox \d+\s+dim (\d+) (\d+) (\d+)\s+translate (\S+) (\S+) (\S+)\s+scale (\S+)\s+"
  rb"data\n"
)


@dataclasses.dataclass(frozen=True)
class Voxels:
  """A grid and where it lies.

  Attributes:
    occupied: [X, Y, Z] booleans.
    translate: position of the grid's lowest corner.
    scale: length of its side.
  """

  occupied: np.ndarray
  translate: tuple[float, float, float] = (0.0, 0.0, 0.0)
  scale: float = 1.0


def read_binvox(path: epath.PathLike) -> Voxels:
  """Reads a binvox file; its axes x, z, y become x, y, z.

  Raises:
    UserError: missing, truncated or not a binvox file; names the path.
  """
  content = files.read_bytes(path)
  header = _HEADER.match(content)
  if header is None:
    raise UserError(f"{path}: not a binvox file")
  with files.decoding(path, "binvox file"):
    sizes = tuple(int(size) for size in header.groups()[:3])
    *translate, scale = (float(number) for number in header.groups()[3:])
    runs = np.frombuffer(content[header.end() :], np.uint8)
    if len(runs) % 2:
      raise ValueError("half a run at its end")
    values, counts = runs[::2], runs[1::2]
    if counts.sum(dtype=np.int64) != np.prod(sizes):
      raise ValueError(f"{counts.sum(dtype=np.int64)} of {np.prod(sizes)} voxels")
    if np.any(values > 1):
      raise ValueError("values other than 0 and 1")
    occupied = np.repeat(values.astype(bool), counts).reshape(sizes)
    return Voxels(np.swapaxes(occupied, 1, 2), tuple(translate), scale)


def write_binvox(path: epath.PathLike, voxels: Voxels) -> None:
  """Writes a binvox file.

  Args:
    path: where to; an existing file is replaced.
    voxels: what to write.
  """
  chex.assert_rank(voxels.occupied, 3)
  chex.assert_type(voxels.occupied, bool)
  stored = np.swapaxes(voxels.occupied, 1, 2)
  flat = stored.ravel()
  starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
  runs = []
  for start, end in zip(starts, [*starts[1:], len(flat)], strict=True):
    whole, rest = divmod(end - start, 255)
    runs += [(flat[start], 255)] * whole + [(flat[start], rest)] * int(rest > 0)
  header = "#binvox 1\ndim {} {} {}\ntranslate {} {} {}\nscale {}\ndata\n".format(
    *stored.shape, *voxels.translate, voxels.scale
  )
  files.write_bytes(path, header.encode() + np.array(runs, np.uint8).tobytes())
