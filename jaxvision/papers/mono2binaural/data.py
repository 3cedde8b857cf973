"""From clips to the segments and frames that networks are trained on.

A clip is a dict: "audio" [T, 2] float32 or int16, and its frames at a fixed rate,
either as "frames" [F, H, W, 3] uint8 or, of real videos, as the bytes of their files,
"encoded" [bytes] uint8, of which frame f has encoded[offsets[f] : offsets[f + 1]].
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from PIL import Image, ImageEnhance

from jaxvision.data import images, pipeline
from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.papers.mono2binaural.inference import FRAME_RATE, frame_indices

Clip = Mapping[str, np.ndarray]

_TAIL = 0.1  # seconds at the end of clips that no segment reaches
_LARGER = 15 / 14  # by which frames are larger before they are cropped
_FACTORS = 0.7, 1.3  # of brightness and of saturation


@dataclasses.dataclass(frozen=True)
class Preparation:
  """How a segment and its frame are cut out of a clip.

  Attributes:
    form: of the segment.
    height, width: of the frame.
    augment: whether frames are cropped, and their brightness and saturation changed.
    frame_rate: frames a second.
  """

  form: AudioFormat
  height: int = 224
  width: int = 448
  augment: bool = True
  frame_rate: float = FRAME_RATE

  def __call__(self, clip: Clip, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns {"audio": [T, 2], "frames": [H, W, 3] in [0, 1]} of a random segment."""
    audio = samples(clip["audio"])
    start, frame = self.random_segment(len(audio), clip, rng)
    return {"audio": audio[start : start + self.form.samples], "frames": frame}

  def random_segment(
    self, length: int, clip: Clip, rng: np.random.Generator
  ) -> tuple[int, np.ndarray]:
    """Returns the first sample of a segment, and the frame in its middle, prepared."""
    latest = length - int(_TAIL * self.form.rate) - self.form.samples
    start = int(rng.integers(max(latest, 0) + 1))
    middle = (start + self.form.samples / 2) / self.form.rate
    return start, self.frame(clip, middle, rng)

  def frame(
    self, clip: Clip, seconds: float, rng: np.random.Generator | None = None
  ) -> np.ndarray:
    """Returns the frame [H, W, 3] float32 in [0, 1] that shows a time of a clip.

    Args:
      clip: the clip.
      seconds: the time.
      rng: of the augmentation; None for none.
    """
    index = int(frame_indices(seconds, count_frames(clip), self.frame_rate))
    return self.picture(read_frame(clip, index), rng)

  def frames(self, clip: Clip) -> np.ndarray:
    """Returns all frames of a clip [F, H, W, 3] float32 in [0, 1], as in tests."""
    return np.stack(
      [self.picture(read_frame(clip, index)) for index in range(count_frames(clip))]
    )

  def picture(
    self, image: np.ndarray, rng: np.random.Generator | None = None
  ) -> np.ndarray:
    """Returns an image [h, w, 3] uint8 in the network's size, float32 in [0, 1]."""
    shape = self.height, self.width
    if rng is None or not self.augment:
      return _as_float(resized(image, shape))
    height, width = (round(_LARGER * side) for side in shape)
    row = int(rng.integers(height - shape[0] + 1))
    column = int(rng.integers(width - shape[1] + 1))
    larger = resized(image, (height, width))
    crop = larger[row : row + shape[0], column : column + shape[1]]
    changed = Image.fromarray(crop)
    for kind in (ImageEnhance.Brightness, ImageEnhance.Color):
      changed = kind(changed).enhance(rng.uniform(*_FACTORS))
    return _as_float(np.asarray(changed))


@dataclasses.dataclass(frozen=True)
class Mixing:
  """Segments of two clips that sound at once, and a frame of the first.

  Attributes:
    preparation: how segments and frames are cut out.
    clips: the clips.
    heard: [T, C] of each clip, what is mixed of it.
    partners: for each clip the indices of those that it may sound with.
  """

  preparation: Preparation
  clips: pipeline.Source
  heard: Sequence[np.ndarray]
  partners: Sequence[np.ndarray]

  def __call__(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns {"first", "second": [T, C], "frames": [H, W, 3]} of a clip's index."""
    size = self.preparation.form.samples
    first, second = self.heard[index], self.heard[rng.choice(self.partners[index])]
    clip = self.clips[index]
    start, frame = self.preparation.random_segment(len(first), clip, rng)
    other = int(rng.integers(len(second) - size + 1))
    return {
      "first": first[start : start + size],
      "second": second[other : other + size],
      "frames": frame,
    }


@dataclasses.dataclass(frozen=True)
class Head:
  """The first clips of a source, at most so many."""

  source: pipeline.Source
  most: int

  def __len__(self) -> int:
    return min(self.most, len(self.source))

  def __getitem__(self, index: int):
    return self.source[index]


def partners(
  count: int,
  kinds: np.ndarray | None = None,
  columns: np.ndarray | None = None,
  distance: float = 0.0,
) -> list[np.ndarray]:
  """Returns for each clip the indices of those that it may be mixed with.

  Args:
    count: number of clips.
    kinds: [count] what sounds in each, where it is known; then partners sound alike
      and nothing but their place tells one from the other. None lets all be mixed.
    columns: [count] where in the frame it is.
    distance: between the columns of partners, at least.
  """
  every = np.arange(count)
  if kinds is None:
    return [every[every != index] for index in every]
  found = []
  for kind, column in zip(kinds, columns, strict=True):
    is_apart = np.abs(columns - column) >= distance
    alike = np.flatnonzero((kinds == kind) & is_apart)
    # Where there are too few clips for it, another kind will do.
    found.append(alike if len(alike) else np.flatnonzero(columns != column))
  return found


def pairs(partners: Sequence[np.ndarray], most: int) -> list[tuple[int, int]]:
  """Returns pairs of clips that may be mixed, evenly out of all."""
  every = [(a, int(b)) for a, own in enumerate(partners) for b in own if a < b]
  picked = np.linspace(0, len(every) - 1, min(most, len(every))).astype(int)
  return [every[index] for index in picked]


def batch_shapes(
  batch: int, form: AudioFormat, height: int, width: int
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of a batch of segments."""
  return _shapes(batch, height, width, audio=(form.samples, 2))


def mixture_shapes(
  batch: int, form: AudioFormat, height: int, width: int, channels: int
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of a batch of mixtures."""
  sound = form.samples, channels
  return _shapes(batch, height, width, first=sound, second=sound)


def samples(audio: np.ndarray) -> np.ndarray:
  """Returns audio as float32, in [-1, 1] where it is stored in 16 bits."""
  if audio.dtype == np.int16:
    return audio.astype(np.float32) / 32768
  return np.asarray(audio, np.float32)


def count_frames(clip: Clip) -> int:
  return len(clip["frames"]) if "frames" in clip else len(clip["offsets"]) - 1


def read_frame(clip: Clip, index: int) -> np.ndarray:
  """Returns frame `index`, counted from 0, [h, w, 3] uint8."""
  if "frames" in clip:
    return clip["frames"][index]
  first, end = clip["offsets"][index : index + 2]
  return images.decode_rgb(clip["encoded"][first:end].tobytes(), f"frame {index + 1}")


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Returns [h, w, 3] uint8 resized bilinearly to (height, width)."""
  if image.shape[:2] == shape:
    return image
  size = shape[1], shape[0]
  return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _as_float(image: np.ndarray) -> np.ndarray:
  return np.asarray(image, np.float32) / 255


def _shapes(batch, height, width, **sounds):
  shapes = {name: (batch, *shape) for name, shape in sounds.items()}
  shapes["frames"] = (batch, height, width, 3)
  return {
    name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()
  }
