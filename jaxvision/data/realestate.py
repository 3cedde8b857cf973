"""Camera files of RealEstate10K: the poses of a video's frames.

The first line is the video's address; each other line is `timestamp fx fy cx cy k1 k2`
and the rows of a 3 x 4 matrix from the world to the camera: 19 numbers. Timestamps are
microseconds; fx and cx are in widths of the image, fy and cy in heights, whose corner
is (0, 0). The distortions k1 and k2 are 0 in all published files.

Source: Zhou et al., Stereo Magnification, SIGGRAPH 2018;
  google.github.io/realestate10k.
"""

import dataclasses

import chex
import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError

_NUMBERS = 19


@dataclasses.dataclass(frozen=True)
class Cameras:
  """The cameras of one clip, in the order of its frames.

  Attributes:
    url: of the video.
    timestamps: [N] int64 microseconds.
    intrinsics: [N, 4] fx, fy, cx, cy in parts of width and height.
    poses: [N, 4, 4] from the world to the camera.
  """

  url: str
  timestamps: np.ndarray
  intrinsics: np.ndarray
  poses: np.ndarray

  def __len__(self) -> int:
    return len(self.timestamps)

  def matrix(self, index: int, height: int, width: int) -> np.ndarray:
    """Returns the intrinsics [3, 3] float32 of a frame in pixels."""
    return pixel_intrinsics(self.intrinsics[index], height, width)


def pixel_intrinsics(intrinsics: np.ndarray, height: int, width: int) -> np.ndarray:
  """Returns [3, 3] float32 in pixels of fx, fy, cx, cy in parts of the image."""
  chex.assert_shape(intrinsics, (4,))
  fx, fy, cx, cy = intrinsics * np.array([width, height, width, height])
  return np.float32([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def read_cameras(path: epath.PathLike) -> Cameras:
  """Returns the cameras in a file.

  Raises:
    UserError: the file is missing, has no camera, or a line is no camera: not 19
      finite numbers, a focal length that is not positive, or a matrix whose left part
      is no rotation; names file and line.
  """
  with files.decoding(path, "camera file"):
    lines = files.read_bytes(path).decode().splitlines()
  rows = []
  for number, line in enumerate(lines[1:], start=2):
    if line.strip():
      rows.append(_camera(f"{path}:{number}", line.split()))
  if not rows:
    raise UserError(f"{path}: holds no camera")
  table = np.array([row[1:] for row in rows])
  poses = np.zeros((len(rows), 4, 4), np.float32)
  poses[:, :3] = table[:, 6:].reshape(-1, 3, 4)
  poses[:, 3, 3] = 1
  return Cameras(
    lines[0].strip(), np.array([row[0] for row in rows], np.int64), table[:, :4], poses
  )


def write_cameras(path: epath.PathLike, cameras: Cameras) -> None:
  """Writes cameras as `read_cameras` reads them."""
  lines = [cameras.url]
  rows = zip(cameras.timestamps, cameras.intrinsics, cameras.poses, strict=True)
  for timestamp, intrinsics, pose in rows:
    numbers = [*intrinsics, 0, 0, *np.asarray(pose)[:3].ravel()]
    lines.append(" ".join([str(int(timestamp)), *(f"{x:.9g}" for x in numbers)]))
  files.write_bytes(path, ("\n".join(lines) + "\n").encode())


def _camera(place, words):
  try:
    values = [int(words[0]), *map(float, words[1:])]
  except (ValueError, IndexError):
    raise UserError(f"{place}: not numbers: {' '.join(words)[:60]!r}") from None
  if len(values) != _NUMBERS or not np.all(np.isfinite(values)):
    raise UserError(f"{place}: {len(values)} numbers, not {_NUMBERS} finite ones")
  if min(values[1:3]) <= 0:
    raise UserError(f"{place}: focal lengths {values[1]} and {values[2]}")
  rotation = np.array(values[7:]).reshape(3, 4)[:, :3]
  if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.05:
    raise UserError(f"{place}: the left part of the pose is no rotation")
  return values
