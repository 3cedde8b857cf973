"""Motion between the user's own RGB-D frames, as poses, a trajectory and pictures."""

import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Sequence

import jax
import numpy as np
from etils import epath

from jaxvision.data import files, images, tum
from jaxvision.errors import UserError
from jaxvision.papers.inverse_compositional import figures, views
from jaxvision.papers.inverse_compositional.tracker import Tracker

SMALLEST = 16  # pixels along each side
FEWEST = 0.02  # share of the pixels that must have depth in both views


@dataclasses.dataclass(frozen=True)
class Frame:
  """One RGB-D frame.

  Attributes:
    name: of the colour file.
    time: in seconds, from the file's name; else the frame's number.
    image: [H, W, 3] uint8.
    depth: [H, W] float32 metres, 0 where not known.
  """

  name: str
  time: float
  image: np.ndarray
  depth: np.ndarray


@dataclasses.dataclass(frozen=True)
class Prediction:
  """The motion between two frames.

  Attributes:
    first, second: names of the files.
    times: of both.
    pose: [4, 4] from the first camera to the second; the identity where not valid.
    valid: whether there was depth enough, and the pose is finite.
    shown: share of the first view that the second shows too.
    before, after: mean |difference of luminance| over it, before and after alignment.
    residuals: [2, H, W], before and after; NaN where not shown.
    pictures: first view, second view, second view warped, [H, W, 3] each.
  """

  first: str
  second: str
  times: tuple[float, float]
  pose: np.ndarray
  valid: bool
  shown: float
  before: float
  after: float
  residuals: np.ndarray
  pictures: tuple[np.ndarray, np.ndarray, np.ndarray]

  def line(self) -> str:
    """Returns the prediction in one line."""
    if not self.valid:
      return f"{self.first} -> {self.second}: not aligned, too little depth"
    distance = 100 * np.linalg.norm(self.pose[:3, 3])
    cosine = (np.trace(self.pose[:3, :3]) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return (
      f"{self.first} -> {self.second}: {distance:.1f} cm, {angle:.2f} degrees; "
      f"residual {self.before:.4f} -> {self.after:.4f}"
    )


def read_frames(inputs: Sequence[epath.Path], depth_scale: float) -> list[Frame]:
  """Returns the frames of colour and depth files in turn, or of folders.

  Args:
    inputs: files: colour, depth, colour, depth, ...; or folders, of which each holds
      `rgb` or `color`, and `depth`, with equally many PNG files.
    depth_scale: values of the depth files a metre.

  Raises:
    UserError: naming the file that is missing, damaged or of another size, or saying
      that the files make no two frames.
  """
  couples: list[tuple[epath.Path, epath.Path]] = []
  loose = []
  for path in map(epath.Path, inputs):
    if path.is_dir():
      couples += _in_folder(path)
    else:
      loose.append(path)
  if len(loose) % 2:
    raise UserError(f"{loose[-1]}: a colour file without a depth file behind it")
  couples += zip(loose[::2], loose[1::2], strict=True)
  if len(couples) < 2:
    raise UserError("two frames are needed: colour, depth, colour, depth")
  frames = []
  for number, (color, depth) in enumerate(couples):
    image = images.read_rgb(color)
    metres = tum.read_depth(depth, depth_scale)
    if image.shape[:2] != metres.shape:
      raise UserError(
        f"{depth}: {metres.shape[1]} x {metres.shape[0]} pixels, but {color} has "
        f"{image.shape[1]} x {image.shape[0]}"
      )
    if frames and image.shape != frames[0].image.shape:
      raise UserError(
        f"{color}: {image.shape[1]} x {image.shape[0]} pixels, but {couples[0][0]} has "
        f"{frames[0].image.shape[1]} x {frames[0].image.shape[0]}"
      )
    if min(metres.shape) < SMALLEST:
      raise UserError(f"{color}: smaller than {SMALLEST} x {SMALLEST} pixels")
    stamp = re.fullmatch(r"\d+\.\d+", color.stem)
    time = float(color.stem) if stamp else float(number)
    frames.append(Frame(color.name, time, image, metres))
  return frames


def align(
  tracker: Tracker,
  variables: tuple[dict, dict],
  frames: Sequence[Frame],
  intrinsics: Sequence[float],
  size: tuple[int, int],
) -> list[Prediction]:
  """Returns the motion between every two consecutive frames.

  Args:
    tracker: what aligns.
    variables: its parameters and statistics.
    frames: at least two.
    intrinsics: fx, fy, cx, cy of the files.
    size: height and width at which they are aligned; the width gives way to the files'
      proportions.
  """
  old = frames[0].image.shape[:2]
  size = size[0], max(round(size[0] * old[1] / old[0]), SMALLEST)
  matrix = views.resize_intrinsics(np.asarray(intrinsics), old, size)
  near, far = tracker.depth_range
  seen = []
  for frame in frames:
    depth = views.resize_nearest(frame.depth, size)
    seen.append((views.resize_color(frame.image, size), np.clip(depth, near, far)))
  track = jax.jit(functools.partial(tracker.track, *variables))
  predictions = []
  for number, (first, second) in enumerate(itertools.pairwise(frames)):
    pair = {"intrinsics": matrix}
    for view, (image, depth) in enumerate(seen[number : number + 2]):
      pair |= {f"image{view}": image, f"depth{view}": depth}
    pose = np.asarray(
      track({name: array[None] for name, array in pair.items()}).poses[0, -1]
    )
    known = [
      np.mean((pair[f"depth{i}"] > near) & (pair[f"depth{i}"] < far)) for i in (0, 1)
    ]
    valid = bool(np.all(np.isfinite(pose)) and min(known) >= FEWEST)
    pose = pose if valid else np.eye(4, dtype=np.float32)
    both = np.stack([np.eye(4, dtype=np.float32), pose])
    residuals, warped = figures.warped_residual(pair, both, tracker.depth_range)
    shown = np.isfinite(residuals).all(axis=0)
    before, after = (
      float(np.mean(np.abs(one[shown]))) if shown.any() else 0.0 for one in residuals
    )
    predictions.append(
      Prediction(
        first=first.name,
        second=second.name,
        times=(first.time, second.time),
        pose=pose,
        valid=valid,
        shown=float(shown.mean()),
        before=before,
        after=after,
        residuals=np.where(shown, residuals, np.nan),
        pictures=(pair["image0"], pair["image1"], warped[1]),
      )
    )
  return predictions


def trajectory(predictions: Sequence[Prediction]) -> tuple[list[float], np.ndarray]:
  """Returns times [N + 1] and poses [N + 1, 4, 4], camera to the first camera."""
  times, poses = [predictions[0].times[0]], [np.eye(4)]
  for one in predictions:
    times.append(one.times[1])
    poses.append(poses[-1] @ np.linalg.inv(one.pose.astype(np.float64)))
  return times, np.stack(poses)


def write(directory: epath.Path, predictions: Sequence[Prediction]) -> None:
  """Writes poses.json, trajectory.txt (TUM's format) and a picture of each pair."""
  from matplotlib import pyplot as plt

  rows = [
    {
      "first": one.first,
      "second": one.second,
      "valid": one.valid,
      "rotation": one.pose[:3, :3].tolist(),
      "translation_metres": one.pose[:3, 3].tolist(),
      "shown": one.shown,
      "residual_before": one.before,
      "residual_after": one.after,
    }
    for one in predictions
  ]
  for number, one in enumerate(predictions):
    titles = ("first view", "second view", "second, warped")
    row = dict(zip(titles, one.pictures, strict=True))
    row |= {"before": one.residuals[0], "after": one.residuals[1]}
    figure = figures.residual_figure([row])
    picture = directory / f"residual-{number:04d}.png"
    with picture.open("wb") as stream:
      figure.savefig(stream, format="png", dpi=160, facecolor="white")
    plt.close(figure)
  tum.write_trajectory(directory / "trajectory.txt", *trajectory(predictions))
  text = json.dumps(rows, indent=2) + "\n"
  files.write_bytes(directory / "poses.json", text.encode())


def _in_folder(folder: epath.Path) -> list[tuple[epath.Path, epath.Path]]:
  """Returns the colour and depth files of a folder, in the order of their names."""
  colors = next((folder / n for n in ("rgb", "color") if (folder / n).is_dir()), None)
  if colors is None or not (folder / "depth").is_dir():
    raise UserError(f"{folder}: has no folders `rgb` (or `color`) and `depth`")
  pictures, depths = (sorted(d.glob("*.png")) for d in (colors, folder / "depth"))
  if len(pictures) != len(depths):
    raise UserError(f"{folder}: {len(pictures)} colour files, {len(depths)} of depth")
  return list(zip(pictures, depths, strict=True))
