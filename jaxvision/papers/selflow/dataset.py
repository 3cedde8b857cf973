"""Sintel and KITTI as their authors distribute them, read file by file.

Sintel:  DATA_DIR/sintel/training/{clean,final}/SCENE/frame_0001.png, ...
         DATA_DIR/sintel/training/{flow,occlusions,invalid}/SCENE/frame_0001.{flo,png}
         DATA_DIR/sintel/movie/CLIP/*.png, frames of the movie, a folder a clip
KITTI:   DATA_DIR/kitti/training/image_2/000000_09.png (2012: colored_0), ...
         DATA_DIR/kitti/training/{flow_occ,flow_noc}/000000_10.png
         and testing/image_2, all with the multi-view extension (frames 0 to 20)
"""

import re
from collections.abc import Sequence

import numpy as np
from etils import epath

from jaxvision.data import fields, images, superpixels
from jaxvision.errors import UserError
from jaxvision.papers.selflow import hallucination

SINTEL = "http://sintel.is.tue.mpg.de (MPI-Sintel-complete.zip)"
KITTI = "https://www.cvlibs.net/datasets/kitti (flow 2015 or 2012, with multi-view)"
_EVALUATED = range(9, 13)  # frames of KITTI that training must not see
_FIRST = 10  # the frame of KITTI whose flow is known


class Clips:
  """Five consecutive frames at random access, for training without labels.

  Args:
    clips: five paths each.
    smallest: (height, width) below which a frame is refused.
  """

  def __init__(self, clips: Sequence[Sequence[epath.Path]], smallest: tuple[int, int]):
    self._clips, self._smallest = clips, smallest

  def __len__(self) -> int:
    return len(self._clips)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    """Returns "frames" [5, H, W, 3] in [0, 1] and "superpixels" [H, W] of frame 3."""
    frames = read_frames(self._clips[index], self._smallest)
    count = hallucination.segments(*frames.shape[1:3])
    return {"frames": frames, "superpixels": superpixels.slic(frames[3], count)}


class Labelled:
  """Three frames with the flow of the middle one at random access.

  Args:
    examples: (three paths of frames, function that reads flow, valid, occluded).
    smallest: see Clips.
  """

  def __init__(self, examples: Sequence[tuple], smallest: tuple[int, int] = (1, 1)):
    self._examples, self._smallest = examples, smallest

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    """Returns "frames" [3, H, W, 3], "flow" [H, W, 2], "valid", "occluded" [H, W]."""
    paths, read = self._examples[index]
    frames = read_frames(paths, self._smallest)
    flow, valid, occluded = read()
    if flow.shape[:2] != frames.shape[1:3]:
      raise UserError(f"{paths[1]}: flow is {flow.shape[:2]}, not {frames.shape[1:3]}")
    return {"frames": frames, "flow": flow, "valid": valid, "occluded": occluded}


def read_frames(
  paths: Sequence[epath.PathLike], smallest: tuple[int, int] = (1, 1)
) -> np.ndarray:
  """Returns images of one size as [T, H, W, 3] float32 in [0, 1].

  Raises:
    UserError: one is missing, damaged, smaller than `smallest` or of another size.
  """
  frames = [images.read_rgb(path) for path in paths]
  for path, frame in zip(paths, frames, strict=True):
    if frame.shape != frames[0].shape:
      (h, w), (height, width) = frame.shape[:2], frames[0].shape[:2]
      raise UserError(
        f"{path}: {w} x {h} pixels, but {paths[0]} has {width} x {height}"
      )
  if frames[0].shape[0] < smallest[0] or frames[0].shape[1] < smallest[1]:
    raise UserError(f"{paths[0]}: smaller than {smallest[1]} x {smallest[0]} pixels")
  return np.stack(frames).astype(np.float32) / 255


def sintel_clips(data_dir: epath.PathLike, smallest: tuple[int, int]) -> Clips:
  """Returns all five consecutive frames of the movie, and of clean and final."""
  root = _root(data_dir, "sintel", SINTEL)
  folders = sorted(root.glob("movie/*")) + sorted(root.glob("training/[cf]*a[nl]/*"))
  return Clips(_fives([sorted(f.glob("*.png")) for f in folders], root), smallest)


def sintel_labelled(
  data_dir: epath.PathLike, render: str = "clean", smallest: tuple[int, int] = (1, 1)
) -> Labelled:
  """Returns the training frames of a rendering ("clean", "final") that have flow."""
  root = _root(data_dir, "sintel", SINTEL) / "training"
  examples = []
  for folder in sorted(root.glob(f"{render}/*")):
    frames = sorted(folder.glob("frame_*.png"))
    for last, path, following in zip(frames, frames[1:], frames[2:], strict=False):
      flow = root / "flow" / folder.name / f"{path.stem}.flo"
      masks = [
        root / kind / folder.name / path.name for kind in ("invalid", "occlusions")
      ]
      examples.append(((last, path, following), _SintelTruth(flow, *masks)))
  return _some(examples, root / render, smallest)


def kitti_clips(data_dir: epath.PathLike, smallest: tuple[int, int]) -> Clips:
  """Returns five consecutive frames of the multi-view sequences, without 9 to 12."""
  root = _root(data_dir, "kitti", KITTI)
  sequences = []
  for split in ("training", "testing"):
    for frames in _kitti_sequences(root / split).values():
      early = [path for number, path in frames.items() if number < _EVALUATED.start]
      late = [path for number, path in frames.items() if number >= _EVALUATED.stop]
      sequences += [early, late]
  return Clips(_fives(sequences, root), smallest)


def kitti_labelled(
  data_dir: epath.PathLike, smallest: tuple[int, int] = (1, 1)
) -> Labelled:
  """Returns frames 9 to 11 of the training sequences, with the flow of frame 10."""
  root = _root(data_dir, "kitti", KITTI) / "training"
  examples = []
  for name, frames in _kitti_sequences(root).items():
    wanted = range(_FIRST - 1, _FIRST + 2)
    if all(number in frames for number in wanted):
      file = f"{name}_{_FIRST}.png"
      truth = _KittiTruth(root / "flow_occ" / file, root / "flow_noc" / file)
      examples.append((tuple(frames[number] for number in wanted), truth))
  return _some(examples, root, smallest)


class _SintelTruth:
  def __init__(self, flow: epath.Path, invalid: epath.Path, occluded: epath.Path):
    self._flow, self._masks = flow, (invalid, occluded)

  def __call__(self):
    invalid, occluded = (images.read_labels(path) > 0 for path in self._masks)
    return fields.read_flo(self._flow), ~invalid, occluded


class _KittiTruth:
  def __init__(self, everything: epath.Path, visible: epath.Path):
    self._everything, self._visible = everything, visible

  def __call__(self):
    flow, valid = fields.read_kitti_flow(self._everything)
    _, visible = fields.read_kitti_flow(self._visible)
    return flow, valid, valid & ~visible


def _root(data_dir: epath.PathLike, name: str, where: str) -> epath.Path:
  root = epath.Path(data_dir) / name
  if not root.is_dir():
    raise UserError(f"{root}: no such directory; get the data set from {where}")
  return root


def _kitti_sequences(folder: epath.Path) -> dict[str, dict[int, epath.Path]]:
  """Returns {sequence: {number of the frame: path}}."""
  sequences: dict[str, dict[int, epath.Path]] = {}
  for kind in ("image_2", "colored_0"):
    for path in sorted(folder.glob(f"{kind}/*.png")):
      found = re.fullmatch(r"(\d+)_(\d+)", path.stem)
      if found:
        sequences.setdefault(found[1], {})[int(found[2])] = path
  return sequences


def _fives(sequences, root) -> list[tuple[epath.Path, ...]]:
  clips = [
    tuple(frames[start : start + 5])
    for frames in sequences
    for start in range(len(frames) - 4)
  ]
  if not clips:
    raise UserError(f"{root}: holds no five consecutive frames")
  return clips


def _some(examples, root, smallest) -> Labelled:
  if not examples:
    raise UserError(f"{root}: holds no three consecutive frames with flow")
  return Labelled(examples, smallest)
