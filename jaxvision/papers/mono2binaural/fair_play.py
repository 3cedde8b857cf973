"""FAIR-Play as its authors distribute it: binaural sounds, frames, and ten splits.

The files lie in DATA_DIR/downloads/manual/fair_play_split1 (or 2 to 10), which may be
one directory under ten names (links):

  binaural_audios/000001.wav, ...            two channels, of any rate
  frames/000001.mp4/000001.png, 000002.png   ten frames a second, counted from 1
  splits/split1/train.h5, val.h5, test.h5    "audio": paths of the sounds

The paths in the splits are those of the authors' machine; only their names count.
Other data sets (REC-STREET, YT-CLEAN, YT-MUSIC) are read where they lie so.
"""

import dataclasses

import numpy as np
from etils import epath

from jaxvision.data import builder, files, hdf5, images
from jaxvision.errors import UserError
from jaxvision.papers.mono2binaural import recordings

RATE = 16_000
SPLITS = ("train", "val", "test")

_INSTRUCTIONS = (
  "Get FAIR-Play's audios, videos and splits of "
  "https://github.com/facebookresearch/FAIR-Play there; frames are extracted by "
  "ffmpeg -i videos/NAME.mp4 -vf fps=10 frames/NAME.mp4/%06d.png"
)


class FairPlay(builder.Builder):
  """Clips of 10 s: sound at 16 kHz in 16 bits, and the files of their frames."""

  SPLIT = 1
  INSTRUCTIONS = _INSTRUCTIONS

  def __init_subclass__(cls, **kwargs):
    super().__init_subclass__(**kwargs)
    cls.FILES = tuple(f"splits/split{cls.SPLIT}/{name}.h5" for name in SPLITS)

  def _features(self):
    return {name: builder.Array() for name in ("audio", "encoded", "offsets")}

  def _split_generators(self, dl_manager):
    folder = dl_manager.manual_dir
    lists = folder / "splits" / f"split{self.SPLIT}"
    return {
      name: self._generate_examples(folder, lists / f"{name}.h5") for name in SPLITS
    }

  def _generate_examples(self, folder, listing):
    for name in names(listing):
      clip = read_clip(
        folder / "binaural_audios" / f"{name}.wav", folder / "frames" / f"{name}.mp4"
      )
      yield name, clip


def split(number: int) -> type[FairPlay]:
  """Returns the builder of one of the ten splits, counted from 1."""
  if not 1 <= number <= 10:
    raise UserError(f"FAIR-Play has splits 1 to 10, not {number}")
  return type(f"FairPlaySplit{number}", (FairPlay,), {"SPLIT": number})


def names(listing: epath.PathLike) -> list[str]:
  """Returns the names of the clips that a split's HDF5 file lists, in its order."""
  paths = hdf5.read_hdf5(listing, ("audio",))["audio"].reshape(-1)
  texts = [p.decode() if isinstance(p, bytes) else str(p) for p in paths]
  if not texts:
    raise UserError(f"{listing}: lists no clip")
  return [text.rpartition("/")[2].removesuffix(".wav") for text in texts]


def read_clip(sound: epath.Path, frames: epath.Path) -> dict[str, np.ndarray]:
  """Returns a clip: "audio" [T, 2] int16, and its frames' files (see `data`).

  Raises:
    UserError: a file is missing or damaged, or the sound is not of two channels.
  """
  samples, rate = recordings.read_samples(sound)
  if samples.shape[1] != 2:
    raise UserError(f"{sound}: {samples.shape[1]} channels where two are expected")
  samples = recordings.resample(samples, rate, RATE)
  paths = sorted(frames.glob("*.png")) if frames.is_dir() else []
  if not paths:
    raise UserError(f"{frames}: holds no frames")
  encoded = []
  for path in paths:
    encoded.append(files.read_bytes(path))
    images.decode_rgb(encoded[-1], path)  # damage is found while building
  return {
    "audio": np.int16(np.clip(np.rint(32768 * samples), -32768, 32767)),
    "encoded": np.frombuffer(b"".join(encoded), np.uint8),
    "offsets": np.cumsum([0, *map(len, encoded)]),
  }


@dataclasses.dataclass(frozen=True)
class Half:
  """Every second clip of a source, from the first (0) or the second (1).

  One half of the training clips trains binaural sound, the other separation.
  """

  source: builder.Examples
  first: int

  def __len__(self) -> int:
    return (len(self.source) + 1 - self.first) // 2

  def __getitem__(self, index: int):
    return self.source[2 * index + self.first]
