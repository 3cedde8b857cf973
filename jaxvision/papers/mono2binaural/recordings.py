"""The user's recordings: mono sound of any rate, and pictures of what sounds."""

import dataclasses
from collections.abc import Sequence
from math import gcd

import numpy as np
from etils import epath

from jaxvision.data import images, sounds
from jaxvision.errors import UserError

PICTURES = (".png", ".jpg", ".jpeg", ".ppm")

_SILENT = 1e-5  # root mean square below which nothing is heard (-100 dB)
_FULL_SCALE = 0.9999
_MOST_CLIPPED = 0.01  # share of samples at full scale


@dataclasses.dataclass(frozen=True)
class Recording:
  """A sound to be placed.

  Attributes:
    path: its file.
    clip: [T, 2] float32, mono twice, or the two channels of a binaural recording.
    is_mono: whether the file has one channel.
    remarks: what was done to it, one line each.
  """

  path: epath.Path
  clip: np.ndarray
  is_mono: bool
  remarks: tuple[str, ...]


def read_samples(path: epath.PathLike) -> tuple[np.ndarray, int]:
  """Returns the samples [T, channels] float32 of a WAV file and their rate.

  Raises:
    UserError: missing or damaged file, no samples, or some that are not finite.
  """
  samples, rate = sounds.read_wav(path)
  if not len(samples) or rate <= 0:
    raise UserError(f"{path}: holds no samples")
  if not np.all(np.isfinite(samples)):
    raise UserError(f"{path}: holds samples that are not finite")
  return samples, rate


def read(
  path: epath.PathLike, rate: int, *, shortest: float, mix_down: bool = False
) -> Recording:
  """Returns a recording at the rate that a network was trained with.

  Args:
    path: a WAV file.
    rate: samples a second; a recording of another rate is resampled.
    shortest: seconds that it must have.
    mix_down: whether a binaural recording may be given, whose channels are then added
      and can be compared with those that are predicted.

  Raises:
    UserError: a damaged file; more channels than asked for; silence; too short, or
      clipped so often that levels tell nothing.
  """
  path = epath.Path(path)
  samples, own_rate = read_samples(path)
  channels = samples.shape[1]
  if channels > 2 or (channels == 2 and not mix_down):
    hint = "; a run with --config.mix_down=true adds both" if channels == 2 else ""
    raise UserError(
      f"{path}: {channels} channels where mono is expected: give one channel{hint}"
    )
  remarks = []
  clipped = float(np.mean(np.abs(samples) >= _FULL_SCALE))
  if clipped > _MOST_CLIPPED:
    raise UserError(
      f"{path}: clipped: {100 * clipped:.1f} % of its samples are at full scale"
    )
  if clipped > 0:
    remarks.append(f"{100 * clipped:.2g} % of its samples are clipped")
  if own_rate != rate:
    samples = resample(samples, own_rate, rate)
    remarks.append(f"resampled from {own_rate} to {rate} Hz")
  if len(samples) < round(shortest * rate):
    raise UserError(
      f"{path}: {len(samples) / rate:.2f} s, where {shortest:g} s are needed"
    )
  clip = samples if channels == 2 else np.repeat(samples, 2, axis=1)
  if np.sqrt(np.mean(np.square(np.sum(clip, axis=1) / 2))) < _SILENT:
    raise UserError(f"{path}: silent: there is nothing to place")
  return Recording(path, clip.astype(np.float32), channels == 1, tuple(remarks))


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
  """Returns samples [T, channels] at another rate, low-passed where it is lower."""
  if rate == wanted:
    return samples
  from scipy import signal  # a second to import, and few need it

  common = gcd(rate, wanted)
  return signal.resample_poly(samples, wanted // common, rate // common, axis=0).astype(
    np.float32
  )


def read_pictures(paths: Sequence[epath.Path]) -> list[np.ndarray]:
  """Returns the pictures [h, w, 3] uint8 of files, or of folders in order of names.

  Raises:
    UserError: a damaged file, a folder without pictures, or a film.
  """
  found = []
  for path in map(epath.Path, paths):
    if path.is_dir():
      inside = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES)
      if not inside:
        raise UserError(f"{path}: holds no pictures")
      found += inside
    elif path.suffix.lower() in PICTURES:
      found.append(path)
    else:
      raise UserError(
        f"{path}: neither a WAV file nor a picture; extract the frames of a film: "
        f"ffmpeg -i {path.name} -vf fps=10 frames/%06d.png"
      )
  if not found:
    raise UserError("give a picture, or a folder of frames, beside the WAV file")
  return [images.read_rgb(path) for path in found]
