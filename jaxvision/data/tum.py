"""Sequences and trajectories in the format of the TUM RGB-D benchmark.

A sequence is a folder with `rgb/`, `depth/` (16-bit PNG, 5000 is 1 metre, 0 not
measured), the lists `rgb.txt` and `depth.txt` ("time file" a line) and, where the
motion is known, `groundtruth.txt` ("time tx ty tz qx qy qz qw" a line, camera to world,
metres and a unit quaternion). Lines that begin with # are comments; times are in
seconds.

Source: Sturm et al., A benchmark for the evaluation of RGB-D SLAM systems, 2012.
"""

import dataclasses
from collections.abc import Sequence

import chex
import numpy as np
from etils import epath

from jaxvision.data import files, images
from jaxvision.errors import UserError

DEPTH_SCALE = 5000.0  # values a metre
LARGEST_DIFFERENCE = 0.02  # seconds between what is taken for simultaneous


@dataclasses.dataclass(frozen=True)
class Frame:
  """A colour image with the depth and pose of the same moment.

  Attributes:
    time: of the colour image, in seconds.
    image: path of the colour image.
    depth: path of the depth image.
    pose: [4, 4] float64, camera to world, metres.
  """

  time: float
  image: epath.Path
  depth: epath.Path
  pose: np.ndarray


def read_sequence(
  directory: epath.PathLike, largest_difference: float = LARGEST_DIFFERENCE
) -> list[Frame]:
  """Returns the frames of a sequence in the order of time.

  Args:
    directory: the sequence's folder.
    largest_difference: seconds, exclusive, between the three of a frame.

  Raises:
    UserError: a list is missing or damaged, or no frame is complete.
  """
  directory = epath.Path(directory)
  colors = read_list(directory / "rgb.txt")
  depths = read_list(directory / "depth.txt")
  times, poses = read_trajectory(directory / "groundtruth.txt")
  matches = associate(
    [time for time, _ in colors],
    [time for time, _ in depths],
    times,
    largest_difference=largest_difference,
  )
  if not matches:
    raise UserError(f"{directory}: no image, depth and pose are of the same moment")
  return [
    Frame(
      time=colors[color][0],
      image=directory / colors[color][1],
      depth=directory / depths[depth][1],
      pose=poses[pose],
    )
    for color, depth, pose in matches
  ]


def read_list(path: epath.PathLike) -> list[tuple[float, str]]:
  """Returns (time, file) of every line of rgb.txt or depth.txt, in the order of time.

  Raises:
    UserError: the file is missing, or a line is not a time and a name.
  """
  entries = []
  for number, words in _lines(path):
    if len(words) != 2:
      raise UserError(f"{path}:{number}: not a time and a file: {' '.join(words)!r}")
    entries.append((_numbers(path, number, words[:1])[0], words[1]))
  return sorted(entries)


def read_trajectory(path: epath.PathLike) -> tuple[np.ndarray, np.ndarray]:
  """Returns times [N] and poses [N, 4, 4], both float64, in the order of time.

  Raises:
    UserError: the file is missing, or a line is not eight numbers with a quaternion.
  """
  rows = []
  for number, words in _lines(path):
    values = _numbers(path, number, words)
    if len(values) != 8 or not 0.9 < np.linalg.norm(values[4:]) < 1.1:
      raise UserError(
        f"{path}:{number}: not a time, a position and a unit quaternion: "
        f"{' '.join(words)!r}"
      )
    rows.append(values)
  table = np.array(sorted(rows), np.float64).reshape(-1, 8)
  return table[:, 0], poses_of(table[:, 1:])


def write_trajectory(
  path: epath.PathLike, times: Sequence[float], poses: np.ndarray
) -> None:
  """Writes poses [N, 4, 4] at times [N] as `read_trajectory` reads them."""
  chex.assert_shape(poses, (len(times), 4, 4))
  lines = ["# timestamp tx ty tz qx qy qz qw"]
  for time, position, quaternion in zip(
    times, poses[:, :3, 3], quaternions_of(poses[:, :3, :3]), strict=True
  ):
    numbers = " ".join(f"{value:.9g}" for value in (*position, *quaternion))
    lines.append(f"{time:.6f} {numbers}")
  files.write_bytes(path, ("\n".join(lines) + "\n").encode())


def read_depth(path: epath.PathLike, scale: float = DEPTH_SCALE) -> np.ndarray:
  """Returns depth [H, W] float32 in metres, 0 where it was not measured.

  Args:
    path: a PNG of one channel with 16 bits.
    scale: values a metre.

  Raises:
    UserError: the file is missing, damaged, or has another kind of pixels.
  """
  return decode_depth(files.read_bytes(path), path, scale)


def decode_depth(
  encoded: bytes, name: epath.PathLike, scale: float = DEPTH_SCALE
) -> np.ndarray:
  """Returns depth [H, W] as `read_depth`; errors carry `name`."""
  values = images.decode_image(encoded, name)
  if values.dtype != np.uint16 or values.shape[-1] != 1:
    raise UserError(
      f"{name}: a depth image is 16-bit grey, this has {values.shape[-1]} channels of "
      f"{values.dtype}"
    )
  return values[..., 0] / np.float32(scale)


def associate(
  *times: Sequence[float], largest_difference: float = LARGEST_DIFFERENCE
) -> list[tuple[int, ...]]:
  """Returns which entries of several lists belong together: one of each.

  Those nearest to the last list's are matched first, and no entry twice, as the
  benchmark's tool does it.

  Args:
    times: two or three lists of times in seconds.
    largest_difference: between any two of one match, exclusive.

  Returns:
    indices into the lists, in the order of the first list's times.
  """
  arrays = [np.asarray(one, np.float64) for one in times]
  *others, last = arrays
  order = np.argsort(last, kind="stable")
  candidates = [((), ())]
  for one in others:
    candidates = [
      ((*indices, index), (*values, one[index]))
      for indices, values in candidates
      for index in _near(one, values, largest_difference)
    ]
  ranked = []
  for indices, values in candidates:
    low = np.searchsorted(last[order], max(values) - largest_difference)
    high = np.searchsorted(last[order], min(values) + largest_difference, "right")
    for index in order[low:high]:
      gaps = [abs(value - last[index]) for value in values]
      if max(gaps) < largest_difference:
        ranked.append((*gaps, *values, last[index], (*indices, int(index))))
  matches, used = [], [set() for _ in arrays]
  for *_, indices in sorted(ranked):
    if all(index not in seen for index, seen in zip(indices, used, strict=True)):
      matches.append(indices)
      for index, seen in zip(indices, used, strict=True):
        seen.add(index)
  return sorted(matches, key=lambda match: arrays[0][match[0]])


def poses_of(rows: np.ndarray) -> np.ndarray:
  """Returns [N, 4, 4] of positions and quaternions [N, 7]: x y z, qx qy qz qw."""
  x, y, z, w = (rows[:, 3:] / np.linalg.norm(rows[:, 3:], axis=1, keepdims=True)).T
  poses = np.tile(np.eye(4), (len(rows), 1, 1))
  poses[:, 0, :3] = np.stack(
    [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=1
  )
  poses[:, 1, :3] = np.stack(
    [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=1
  )
  poses[:, 2, :3] = np.stack(
    [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=1
  )
  poses[:, :3, 3] = rows[:, :3]
  return poses


def quaternions_of(rotations: np.ndarray) -> np.ndarray:
  """Returns unit quaternions [N, 4] as qx qy qz qw, qw ≥ 0, of [N, 3, 3]."""
  from scipy.spatial.transform import Rotation

  quaternions = Rotation.from_matrix(rotations).as_quat()
  return np.where(quaternions[:, 3:] < 0, -quaternions, quaternions)


def _near(times, values, largest_difference):
  """Returns the indices of times within the difference of all values; all of none."""
  if not values:
    return range(len(times))
  gaps = np.abs(times[:, None] - np.array(values)).max(axis=1)
  return np.flatnonzero(gaps < largest_difference).tolist()


def _lines(path):
  """Yields (number, words) of the lines that are not comments."""
  content = files.read_bytes(path)
  with files.decoding(path, "list of the TUM RGB-D benchmark"):
    text = content.decode()
  for number, line in enumerate(text.splitlines(), start=1):
    words = line.replace(",", " ").split()
    if words and not words[0].startswith("#"):
      yield number, words


def _numbers(path, number, words):
  try:
    values = [float(word) for word in words]
  except ValueError:
    values = []
  if not values or not np.all(np.isfinite(values)):
    raise UserError(f"{path}:{number}: not numbers: {' '.join(words)!r}")
  return values
