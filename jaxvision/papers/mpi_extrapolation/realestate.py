"""Triplets of RealEstate10K: two sources and a target of one clip.

The data set is addresses of videos and camera files; who trains extracts the frames.
They lie as

    DIR/cameras/train/CLIP.txt, DIR/cameras/test/CLIP.txt   the authors' camera files
    DIR/frames/train/CLIP/TIMESTAMP.png (or .jpg), ...      one image a line of these
"""

import functools

import numpy as np
from etils import epath

from jaxvision.data import images, realestate
from jaxvision.errors import UserError
from jaxvision.papers.mpi_extrapolation.data import Batch, shrink

WINDOW = 10  # frames from which a triplet is drawn
STRIDES = (1, 5)  # smallest and largest distance of these frames
INSIDE = 0.13  # of the targets lie between the sources


class Clips:
  """Reads random triplets of a split, as `data.training_batches` wants them.

  Attributes:
    clips: names of the clips.
  """

  def __init__(
    self, data_dir: epath.PathLike, split: str, height: int, width: int, scale: float
  ):
    """Finds the clips.

    Args:
      data_dir: DIR of the module's docstring.
      split: "train" or "test".
      height: of the images, which are averaged to it.
      width: likewise.
      scale: by which translations are multiplied, so that depths lie in 1 to 100.

    Raises:
      UserError: there is no clip with frames.
    """
    self._directory = epath.Path(data_dir)
    self._split, self._size, self._scale = split, (height, width), scale
    found = sorted((self._directory / "cameras" / split).glob("*.txt"))
    self.clips = [path.stem for path in found if self._frames(path.stem).exists()]
    if not self.clips:
      raise UserError(
        f"no clip of RealEstate10K in {self._directory}: cameras/{split}/CLIP.txt with "
        f"frames/{split}/CLIP/TIMESTAMP.png is needed"
      )

  def __call__(self, rng: np.random.Generator, count: int) -> Batch:
    """Returns `count` triplets, see `data.render_examples`."""
    triplets = [self.triplet(rng) for _ in range(count)]
    return {name: np.stack([one[name] for one in triplets]) for name in triplets[0]}

  def triplet(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns one triplet of a random clip."""
    clip = self.clips[rng.integers(len(self.clips))]
    cameras = self._cameras(clip)
    reference, source, target = draw_frames(rng, len(cameras), clip)
    poses = cameras.poses.copy()
    poses[:, :3, 3] *= self._scale
    frame = functools.partial(self._image, clip, cameras)
    return {
      "reference": frame(reference),
      "sources": frame(source)[None],
      "target": frame(target),
      "reference_pose": poses[reference],
      "source_poses": poses[source][None],
      "target_pose": poses[target],
      "intrinsics": cameras.matrix(reference, *self._size),
    }

  def _frames(self, clip):
    return self._directory / "frames" / self._split / clip

  def _cameras(self, clip):
    path = self._directory / "cameras" / self._split / f"{clip}.txt"
    return realestate.read_cameras(path)

  def _image(self, clip, cameras, index):
    stem = self._frames(clip) / str(cameras.timestamps[index])
    path = next(
      (p for p in (stem.with_suffix(s) for s in (".png", ".jpg")) if p.exists()),
      stem.with_suffix(".png"),
    )
    image = images.read_rgb(path).astype(np.float32) / 255
    return shrink(image, *self._size)


def draw_frames(
  rng: np.random.Generator, frames: int, clip: str = "the clip"
) -> tuple[int, int, int]:
  """Returns the numbers of reference, source and target of a clip.

  Ten frames with a random stride; two neighbours among them are the sources, and the
  target lies outside them in 87 of 100.

  Args:
    rng: source of randomness.
    frames: of the clip.
    clip: its name.

  Raises:
    UserError: fewer frames than a triplet takes.
  """
  if frames < 3:
    raise UserError(f"{clip}: {frames} frames, fewer than three")
  window = min(WINDOW, frames)
  longest = max((frames - 1) // (window - 1), 1)
  stride = int(rng.integers(STRIDES[0], min(STRIDES[1], longest) + 1))
  first = int(rng.integers(frames - stride * (window - 1)))
  if rng.random() < INSIDE:
    low = int(rng.integers(window - 2))
    chosen = low, low + 2, low + 1
  else:
    low = int(rng.integers(window - 1))
    others = [i for i in range(window) if not low <= i <= low + 1]
    chosen = low, low + 1, int(rng.choice(others))
  if rng.random() < 0.5:
    chosen = chosen[1], chosen[0], chosen[2]
  return tuple(first + stride * index for index in chosen)
