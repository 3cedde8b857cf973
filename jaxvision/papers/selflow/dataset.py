"""Sintel and KITTI as their authors distribute them.

  examples = dataset.clips("Sintel", data_dir, (320, 896))
  examples = dataset.labelled("KITTI2015", data_dir, "train")

The authors' files lie in DATA_DIR/downloads/manual/{sintel,kitti2015,kitti2012}, see
the builders below; what is built of them is in DATA_DIR.
"""

import abc
import re
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from jaxvision.data import builder, fields, images, superpixels
from jaxvision.errors import UserError
from jaxvision.papers.selflow import hallucination

LENGTH = 5  # frames of a clip
_EVALUATED = range(9, 13)  # frames of KITTI that training must not see
_FIRST = 10  # the frame of KITTI whose flow is known

_SINTEL = (
  "Unpack MPI-Sintel-complete.zip of http://sintel.is.tue.mpg.de there; frames of the "
  "movie, if wanted, go to movie/CLIP/*.png"
)
_KITTI = "Unpack {} and the multi-view extension of www.cvlibs.net/datasets/kitti there"


class _Frames(builder.Builder):
  """Frames of videos in the order of time: one split a video."""

  @abc.abstractmethod
  def videos(self, folder: epath.Path) -> Mapping[str, Sequence[epath.Path]]:
    """Returns {name of the split: frames} of the authors' directory."""

  def _features(self):
    return {"image": builder.ImageFile()}

  def _split_generators(self, dl_manager):
    videos = self.videos(dl_manager.manual_dir)
    long = {name: paths for name, paths in videos.items() if len(paths) >= LENGTH}
    if not long:
      raise UserError(f"{dl_manager.manual_dir}: no video has {LENGTH} frames")
    return {name: self._generate_examples(paths) for name, paths in long.items()}

  def _generate_examples(self, paths):
    for path in paths:
      yield path.name, {"image": path}


class SintelFrames(_Frames):
  """Sintel's training frames, and the movie's.

  training/{clean,final}/SCENE/frame_NNNN.png and movie/CLIP/*.png.
  """

  FILES = ("training/clean/*/frame_*.png", "training/final/*/frame_*.png")
  INSTRUCTIONS = _SINTEL

  def videos(self, folder):
    folders = [
      path
      for kind in ("movie", "training/clean", "training/final")
      for path in sorted((folder / kind).glob("*"))
    ]
    return {
      _word(f"{path.parent.name}_{path.name}"): sorted(path.glob("*.png"))
      for path in folders
    }


class _KittiFrames(_Frames):
  """KITTI's multi-view frames without numbers 9 to 12, of which some are evaluated.

  {training,testing}/{VIEW}/NNNNNN_FF.png, FF from 00 to 20: two videos of each.
  """

  VIEW = ""

  def videos(self, folder):
    found = {}
    for part in ("training", "testing"):
      for name, frames in _kitti_videos(folder / part / self.VIEW).items():
        numbers = sorted(frames)
        for kind, chosen in (
          ("early", [n for n in numbers if n < _EVALUATED.start]),
          ("late", [n for n in numbers if n >= _EVALUATED.stop]),
        ):
          found[f"{part}_{name}_{kind}"] = [frames[n] for n in chosen]
    return found


class Kitti2015Frames(_KittiFrames):
  __doc__ = _KittiFrames.__doc__
  VIEW = "image_2"
  FILES = ("training/image_2/*_00.png",)
  INSTRUCTIONS = _KITTI.format("data_scene_flow.zip")


class Kitti2012Frames(_KittiFrames):
  __doc__ = _KittiFrames.__doc__
  VIEW = "colored_0"
  FILES = ("training/colored_0/*_00.png",)
  INSTRUCTIONS = _KITTI.format("data_stereo_flow.zip")


class _Labelled(builder.Builder):
  """Three frames with the flow of the middle one to the last."""

  def _features(self):
    return {
      "previous": builder.ImageFile(),
      "frame": builder.ImageFile(),
      "following": builder.ImageFile(),
      "flow": builder.Array(),
      "valid": builder.Array(),
      "occluded": builder.Array(),
    }


class SintelLabelled(_Labelled):
  """Sintel's training frames; the splits are "clean" and "final".

  training/{clean,final}/SCENE/frame_NNNN.png, training/flow/SCENE/frame_NNNN.flo and
  training/{occlusions,invalid}/SCENE/frame_NNNN.png.
  """

  FILES = (
    "training/clean/*/frame_*.png",
    "training/final/*/frame_*.png",
    "training/flow/*/frame_*.flo",
    "training/occlusions/*/frame_*.png",
    "training/invalid/*/frame_*.png",
  )
  INSTRUCTIONS = _SINTEL

  def _split_generators(self, dl_manager):
    folder = dl_manager.manual_dir / "training"
    return {
      render: self._generate_examples(folder, render) for render in ("clean", "final")
    }

  def _generate_examples(self, folder, render):
    for scene in sorted((folder / render).glob("*")):
      frames = sorted(scene.glob("frame_*.png"))
      for three in zip(frames, frames[1:], frames[2:], strict=False):
        name = f"{scene.name}/{three[1].stem}"
        invalid, hidden = (
          images.read_labels(folder / kind / f"{name}.png") > 0
          for kind in ("invalid", "occlusions")
        )
        flow = fields.read_flo(folder / "flow" / f"{name}.flo")
        yield name, _example(three, flow, ~invalid, hidden)


class _KittiLabelled(_Labelled):
  """KITTI's frames 9 to 11; the one split is "train".

  training/{VIEW}/NNNNNN_{09,10,11}.png and training/{flow_occ,flow_noc}/NNNNNN_10.png:
  all pixels, and those that the next frame shows.
  """

  VIEW = ""

  def __init_subclass__(cls, **kwargs):
    cls.FILES = tuple(
      [f"training/{cls.VIEW}/*_{number:02d}.png" for number in (9, 10, 11)]
      + [f"training/{kind}/*_10.png" for kind in ("flow_occ", "flow_noc")]
    )
    super().__init_subclass__(**kwargs)

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(dl_manager.manual_dir / "training")}

  def _generate_examples(self, folder):
    for name, frames in _kitti_videos(folder / self.VIEW).items():
      wanted = range(_FIRST - 1, _FIRST + 2)
      if not all(number in frames for number in wanted):
        continue
      file = f"{name}_{_FIRST}.png"
      flow, valid = fields.read_kitti_flow(folder / "flow_occ" / file)
      _, visible = fields.read_kitti_flow(folder / "flow_noc" / file)
      three = [frames[number] for number in wanted]
      yield name, _example(three, flow, valid, valid & ~visible)


class Kitti2015Labelled(_KittiLabelled):
  __doc__ = _KittiLabelled.__doc__
  VIEW = "image_2"
  INSTRUCTIONS = _KITTI.format("data_scene_flow.zip")


class Kitti2012Labelled(_KittiLabelled):
  __doc__ = _KittiLabelled.__doc__
  VIEW = "colored_0"
  INSTRUCTIONS = _KITTI.format("data_stereo_flow.zip")


# Of each data set: frames of videos, frames with flow, the splits of the latter.
BUILDERS = {
  "Sintel": (SintelFrames, SintelLabelled, ("clean", "final")),
  "KITTI2015": (Kitti2015Frames, Kitti2015Labelled, ("train",)),
  "KITTI2012": (Kitti2012Frames, Kitti2012Labelled, ("train",)),
}


class Clips:
  """Five consecutive frames at random access, for training without labels.

  Args:
    videos: {name: frames}, each {"image": [H, W, 3] uint8}.
    smallest: (height, width) below which a frame is refused.
  """

  def __init__(
    self, videos: Mapping[str, Sequence[Mapping]], smallest: tuple[int, int]
  ):
    self._videos, self._smallest = videos, smallest
    self._begins = [
      (name, first)
      for name, frames in videos.items()
      for first in range(len(frames) - LENGTH + 1)
    ]

  def __len__(self) -> int:
    return len(self._begins)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    """Returns "frames" [5, H, W, 3] in [0, 1] and "superpixels" [H, W] of frame 3."""
    name, first = self._begins[index]
    numbers = range(first, first + LENGTH)
    frames = stacked(
      [self._videos[name][number]["image"] for number in numbers],
      [f"{name}, frame {number}" for number in numbers],
      self._smallest,
    )
    count = hallucination.segments(*frames.shape[1:3])
    return {"frames": frames, "superpixels": superpixels.slic(frames[3], count)}


class Labelled:
  """Three frames with the flow of the middle one at random access.

  Args:
    examples: as `_Labelled` stores them.
    name: of the data set, for messages.
    smallest: see Clips.
  """

  def __init__(
    self, examples: Sequence[Mapping], name: str, smallest: tuple[int, int] = (1, 1)
  ):
    self._examples, self._name, self._smallest = examples, name, smallest

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    """Returns "frames" [3, H, W, 3], "flow" [H, W, 2], "valid", "occluded" [H, W]."""
    example = self._examples[index]
    kinds = ("previous", "frame", "following")
    where = f"{self._name}, example {index}"
    names = [f"{where}, {kind} frame" for kind in kinds]
    frames = stacked([example[kind] for kind in kinds], names, self._smallest)
    found = {name: example[name] for name in ("flow", "valid", "occluded")}
    for name, array in found.items():
      if array.shape[:2] != frames.shape[1:3]:
        raise UserError(
          f"{where}: {name} is {array.shape[:2]}, frames are {frames.shape[1:3]}"
        )
    return {"frames": frames, **found}


def clips(
  name: str,
  data_dir: epath.PathLike,
  smallest: tuple[int, int],
  manual_dir: epath.PathLike | None = None,
) -> Clips:
  """Returns all five consecutive frames of a data set.

  Args:
    name: a key of BUILDERS.
    data_dir: where the data set is, or is built.
    smallest: (height, width) below which a frame is refused when it is read.
    manual_dir: where the authors' files are, see the module.

  Raises:
    UserError: files are missing or damaged, or no video has five frames.
  """
  frames = BUILDERS[name][0]
  manual_dir = manual_dir or _manual(name, data_dir)

  def load(split):
    return builder.load(frames, split, data_dir=data_dir, manual_dir=manual_dir)

  load("all")  # Only what is built knows its splits.
  splits = frames(data_dir=data_dir, file_format="array_record").info.splits
  return Clips({split: load(split) for split in sorted(splits)}, smallest)


def labelled(
  name: str,
  data_dir: epath.PathLike,
  split: str,
  smallest: tuple[int, int] = (1, 1),
  manual_dir: epath.PathLike | None = None,
) -> Labelled:
  """Returns the frames of a data set whose flow is known.

  Args:
    name: a key of BUILDERS.
    data_dir: where the data set is, or is built.
    split: one of those that BUILDERS names.
    smallest: (height, width) below which a frame is refused when it is read.
    manual_dir: where the authors' files are, see the module.

  Raises:
    UserError: files are missing or damaged.
  """
  manual_dir = manual_dir or _manual(name, data_dir)
  examples = builder.load(
    BUILDERS[name][1], split, data_dir=data_dir, manual_dir=manual_dir
  )
  if not len(examples):
    raise UserError(f"{manual_dir}: holds no three consecutive frames with flow")
  return Labelled(examples, f"{name} {split}", smallest)


def read_frames(paths: Sequence[epath.PathLike]) -> np.ndarray:
  """Returns images of one size as [T, H, W, 3] float32 in [0, 1].

  Raises:
    UserError: one is missing, damaged or of another size.
  """
  return stacked([images.read_rgb(path) for path in paths], list(map(str, paths)))


def stacked(
  frames: Sequence[np.ndarray],
  names: Sequence[str],
  smallest: tuple[int, int] = (1, 1),
) -> np.ndarray:
  """Returns images [H, W, 3] uint8 of one size as [T, H, W, 3] float32 in [0, 1].

  Raises:
    UserError: one is smaller than `smallest` or of another size than the first.
  """
  for name, frame in zip(names, frames, strict=True):
    if frame.shape != frames[0].shape:
      (h, w), (height, width) = frame.shape[:2], frames[0].shape[:2]
      raise UserError(
        f"{name}: {w} x {h} pixels, but {names[0]} has {width} x {height}"
      )
  if frames[0].shape[0] < smallest[0] or frames[0].shape[1] < smallest[1]:
    raise UserError(f"{names[0]}: smaller than {smallest[1]} x {smallest[0]} pixels")
  return np.stack(frames).astype(np.float32) / 255


def _example(three, flow, valid, occluded) -> dict:
  previous, frame, following = three
  return {
    "previous": previous,
    "frame": frame,
    "following": following,
    "flow": flow,
    "valid": valid,
    "occluded": occluded,
  }


def _kitti_videos(folder: epath.Path) -> dict[str, dict[int, epath.Path]]:
  """Returns {name: {number of the frame: path}}."""
  found: dict[str, dict[int, epath.Path]] = {}
  for path in sorted(folder.glob("*.png")):
    parts = re.fullmatch(r"(\d+)_(\d+)", path.stem)
    if parts:
      found.setdefault(parts[1], {})[int(parts[2])] = path
  return found


def _word(name: str) -> str:
  """Returns a name that TFDS takes for a split."""
  return re.sub(r"\W", "_", name)


def _manual(name: str, data_dir: epath.PathLike) -> epath.Path:
  return epath.Path(data_dir) / "downloads" / "manual" / name.lower()
