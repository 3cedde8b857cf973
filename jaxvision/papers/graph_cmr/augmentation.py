"""Crops of people and their random changes, with all that is annotated in them.

Pictures are turned by whole degrees of the plane, scaled, mirrored and tinted; joints,
poses and cameras follow. Cropping rounds as the authors' code does, because their
weights have seen such crops.
"""

import dataclasses

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from jaxvision.papers.graph_cmr import keypoints

BOX = 200.0  # pixels along a box of scale 1


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """How much pictures change; all zero for none.

  Attributes:
    flip: probability of mirroring.
    noise: largest change of each channel's gain.
    rotation: standard deviation of the turn, in degrees; twice that at most.
    upright: probability that there is no turn.
    scale: standard deviation, and largest change, of the box's side.
  """

  flip: float = 0.5
  noise: float = 0.4
  rotation: float = 30.0
  upright: float = 0.6
  scale: float = 0.25

  def draw(self, rng: np.random.Generator) -> "Change":
    """Returns a random change."""
    flipped = rng.random() < self.flip
    gain = rng.uniform(1 - self.noise, 1 + self.noise, 3)
    limit = 2 * self.rotation
    turn = float(np.clip(rng.normal() * self.rotation, -limit, limit))
    if rng.random() < self.upright:
      turn = 0.0
    scale = float(
      np.clip(1 + rng.normal() * self.scale, 1 - self.scale, 1 + self.scale)
    )
    return Change(flipped, gain, turn, scale)


@dataclasses.dataclass(frozen=True)
class Change:
  """One picture's change.

  Attributes:
    flipped: whether it is mirrored, after all else.
    gain: [3] factor of each channel.
    turn: degrees.
    scale: factor of the box's side.
  """

  flipped: bool
  gain: np.ndarray
  turn: float
  scale: float


NO_AUGMENTATION = Augmentation(0.0, 0.0, 0.0, 1.0, 0.0)
NO_CHANGE = Change(False, np.ones(3), 0.0, 1.0)


def crop_matrix(
  center: np.ndarray, scale: float, size: tuple[int, int], turn: float = 0.0
) -> np.ndarray:
  """Returns the matrix [3, 3] from pixels of a picture to those of its crop.

  Args:
    center: (x, y) of the box.
    scale: its side over 200 pixels.
    size: (height, width) of the crop.
    turn: degrees about the crop's centre.
  """
  side = BOX * scale
  height, width = size
  matrix = np.array(
    [
      [width / side, 0, width * (0.5 - center[0] / side)],
      [0, height / side, height * (0.5 - center[1] / side)],
      [0, 0, 1],
    ]
  )
  if turn:
    angle = -np.deg2rad(turn)
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    shift = np.eye(3)
    shift[:2, 2] = -width / 2, -height / 2
    matrix = np.linalg.inv(shift) @ rotation @ shift @ matrix
  return matrix


def crop_points(
  points: np.ndarray,
  center: np.ndarray,
  scale: float,
  size: tuple[int, int],
  *,
  turn: float = 0.0,
  inverse: bool = False,
) -> np.ndarray:
  """Returns where points are in the crop, in whole pixels that count from 1.

  Args:
    points: [N, 2] pixels that count from 1.
    center: (x, y) of the box.
    scale: its side over 200 pixels.
    size: (height, width) of the crop.
    turn: degrees.
    inverse: whether points are the crop's, and their places in the picture wanted.

  Returns:
    [N, 2] int64, decimals cut off.

  Source: utils/imutils.py:transform.
  """
  matrix = crop_matrix(center, scale, size, turn)
  if inverse:
    matrix = np.linalg.inv(matrix)
  homogeneous = np.concatenate([points - 1, np.ones((len(points), 1))], axis=1)
  return (homogeneous @ matrix.T)[:, :2].astype(np.int64) + 1


def crop(
  image: np.ndarray,
  center: np.ndarray,
  scale: float,
  size: int,
  *,
  turn: float = 0.0,
  stretch: bool = True,
) -> np.ndarray:
  """Returns the box of a picture, turned and resized, black outside the picture.

  Args:
    image: [H, W, 3] uint8.
    center: (x, y) of the box in pixels.
    scale: its side over 200 pixels.
    size: of the crop, in pixels.
    turn: degrees.
    stretch: whether contrast is stretched from the darkest to the brightest value of
      the crop, as the authors' scipy did.

  Returns:
    [size, size, 3] float32 in [0, 255].

  Source: utils/imutils.py:crop.
  """
  corners = np.array([[1.0, 1.0], [size + 1.0, size + 1.0]])
  low, high = crop_points(corners, center, scale, (size, size), inverse=True) - 1
  high = np.maximum(high, low + 1)
  margin = 0
  if turn:
    extent = high - low
    # Room for the corners that turn into the box.
    margin = int(np.linalg.norm(extent) / 2 - extent[0] / 2)
    low, high = low - margin, high + margin
  window = np.zeros((*(high - low)[::-1], 3), np.float64)
  height, width = image.shape[:2]
  start, stop = np.maximum(low, 0), np.minimum(high, (width, height))
  if np.all(stop > start):
    rows = slice(start[1] - low[1], stop[1] - low[1])
    columns = slice(start[0] - low[0], stop[0] - low[0])
    window[rows, columns] = image[start[1] : stop[1], start[0] : stop[0]]
  pixels = _bytes(window, stretch)
  if turn:
    pixels = pixels.rotate(turn, Image.Resampling.BILINEAR)
    inner = margin, margin, pixels.width - margin, pixels.height - margin
    pixels = pixels.crop(inner)
  pixels = pixels.resize((size, size), Image.Resampling.BILINEAR)
  return np.asarray(pixels, np.float32)


def crop_keypoints(
  keypoints_: np.ndarray, center: np.ndarray, scale: float, size: int, change: Change
) -> np.ndarray:
  """Returns joints [J, 3] in [-1, 1] over the crop, with whether they are annotated.

  Args:
    keypoints_: [J, 3] as (x, y, annotated) in pixels of the picture.
    center: (x, y) of the box.
    scale: its side over 200 pixels, before the change.
    size: of the crop.
    change: of the picture.
  """
  places = crop_points(
    keypoints_[:, :2] + 1,
    center,
    scale * change.scale,
    (size, size),
    turn=change.turn,
  )
  found = np.concatenate([2.0 * places / size - 1, keypoints_[:, 2:]], axis=1)
  return keypoints.mirror(found) if change.flipped else found


def turn_joints(joints: np.ndarray, change: Change) -> np.ndarray:
  """Returns joints [J, 3 or 4] in space as the changed picture shows them."""
  angle = -np.deg2rad(change.turn)
  cosine, sine = np.cos(angle), np.sin(angle)
  rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
  turned = joints.copy()
  turned[:, :3] = joints[:, :3] @ rotation.T
  return keypoints.mirror(turned) if change.flipped else turned


def turn_pose(pose: np.ndarray, change: Change) -> np.ndarray:
  """Returns axis-angles [72] of the body as the changed picture shows it."""
  turned = pose.copy()
  turned[:3] = turn_axis_angle(pose[:3], change.turn)
  return keypoints.mirror_pose(turned) if change.flipped else turned


def turn_axis_angle(axis_angle: np.ndarray, turn: float) -> np.ndarray:
  """Returns a rotation [3] followed by a turn of the picture, in degrees."""
  in_plane = Rotation.from_rotvec([0, 0, -np.deg2rad(turn)])
  return (in_plane * Rotation.from_rotvec(axis_angle)).as_rotvec()


def _bytes(window: np.ndarray, stretch: bool) -> Image.Image:
  if stretch:
    low, high = window.min(), window.max()
    window = (window - low) * (255.0 / max(high - low, 1.0))
  return Image.fromarray(np.uint8(np.clip(window + 0.5, 0, 255)))
