"""Procedural videos of instruments, and what two ears hear of them.

Each kind of instrument is a shape of one colour and a timbre. A scene shows some of
them on a noisy background at azimuths that its sound has too; they bob while they play.
Azimuths are symmetric, so that what sounds does not tell where it is.
"""

import dataclasses

import chex
import jax
import numpy as np

from jaxvision.ops import binaural

WIDEST = np.pi / 3  # azimuth at the borders of the picture
FRAME_RATE = 10  # frames a second
NOISE = 0.03  # of each ear, in parts of the sound

# RGB in [0, 1], and shapes: |x|^p + |y|^p <= 1, a ring where it is hollow.
_COLORS = np.array(
  [[0.95, 0.25, 0.2], [0.25, 0.9, 0.3], [0.3, 0.45, 1.0], [0.95, 0.9, 0.25]],
  np.float32,
)
_POWERS = np.array([2.0, 8.0, 1.0, 2.0], np.float32)
_HOLLOW = np.array([0.0, 0.0, 0.0, 0.3], np.float32)
_RADIUS = 0.13  # of the picture's height

# Hz of the fundamentals, amplitudes of the harmonics.
_FUNDAMENTALS = np.array([140.0, 200.0, 285.0, 400.0])
_HARMONICS = np.array(
  [
    [1.0, 0.8, 0.6, 0.45, 0.35],
    [1.0, 0.1, 0.7, 0.1, 0.5],
    [0.6, 1.0, 0.3, 0.5, 0.1],
    [1.0, 0.5, 0.25, 0.1, 0.05],
  ]
)
KINDS = len(_FUNDAMENTALS)


@dataclasses.dataclass(frozen=True)
class Scenes:
  """Attributes: what a set of scenes has in common.

  Attributes:
    rate: samples a second.
    seconds: length of a scene.
    height, width: of its pictures.
    detune: semitones by which a fundamental differs from its kind's, at most.
  """

  rate: int = 4000
  seconds: float = 1.0
  height: int = 48
  width: int = 96
  detune: float = 2.0

  def draw(
    self, seed: int, count: int, sources: tuple[int, ...] = (1, 2, 2, 3)
  ) -> dict[str, np.ndarray]:
    """Returns scenes.

    Args:
      seed: of the draws.
      count: number of scenes.
      sources: numbers of instruments, one of which each scene has, of equal chance;
        at most `KINDS`.

    Returns:
      "audio" [N, T, 2] float32, left and right; "frames" [N, F, H, W, 3] uint8; "kinds"
      [N, S] int32, -1 where there is no instrument; "positions" [N, S, 2] float32, row
      and column of the pixels in which instruments rest.
    """
    rng = np.random.default_rng(seed)
    most = max(sources)
    present = np.arange(most) < rng.choice(sources, count)[:, None]
    kinds = np.argsort(rng.random((count, KINDS)), axis=1)[:, :most]
    places = _apart(rng, count, most)
    sounds = self._sounds(rng, kinds) * present[..., None]
    audio = _hear(sounds.astype(np.float32), WIDEST * places, self.rate)
    level = np.sqrt(np.mean(np.square(audio), axis=(1, 2), keepdims=True))
    audio += NOISE * level * rng.standard_normal(audio.shape).astype(np.float32)
    radius = _RADIUS * self.height
    columns = self.width / 2 + places * (self.width / 2 - radius - 1) - 0.5
    rows = self.height * rng.uniform(0.3, 0.7, places.shape)
    positions = np.stack([rows, columns], axis=-1).astype(np.float32)
    return {
      "audio": audio,
      "frames": self._pictures(rng, np.where(present, kinds, -1), positions),
      "kinds": np.where(present, kinds, -1).astype(np.int32),
      "positions": positions,
    }

  def _sounds(self, rng, kinds):
    """Returns [N, S, T] dry sounds of about equal level."""
    shape = (*kinds.shape, 1)
    time = np.arange(round(self.seconds * self.rate)) / self.rate
    pitch = _FUNDAMENTALS[kinds][..., None]
    pitch = pitch * 2 ** (rng.uniform(-1, 1, shape) * self.detune / 12)
    vibrato = 0.01 * np.sin(
      2 * np.pi * (rng.uniform(4, 6, shape) * time + rng.random(shape))
    )
    phase = 2 * np.pi * np.cumsum(pitch * (1 + vibrato), axis=-1) / self.rate
    sound = np.zeros(phase.shape)
    for number, amplitudes in enumerate(_HARMONICS.T, start=1):
      decay = np.exp(-rng.uniform(0, 2, shape) * number / 5)
      is_heard = number * pitch < 0.45 * self.rate
      partial = np.sin(number * phase + 2 * np.pi * rng.random(shape))
      sound += amplitudes[kinds][..., None] * decay * is_heard * partial
    # Notes with gaps between them; both ends of a note take some milliseconds.
    beat = np.sin(2 * np.pi * (rng.uniform(1.5, 3.5, shape) * time + rng.random(shape)))
    sound *= 1 / (1 + np.exp(-12 * (beat + rng.uniform(0.2, 0.6, shape))))
    return sound * rng.uniform(0.7, 1.0, shape)

  def _pictures(self, rng, kinds, positions):
    """Returns [N, F, H, W, 3] uint8."""
    count, frames = len(kinds), max(1, round(self.seconds * FRAME_RATE))
    coarse = rng.uniform(0.1, 0.5, (count, 4, 8, 3)).astype(np.float32)
    down, across = _weights(4, self.height), _weights(8, self.width)
    still = np.einsum("hr,nrck,wc->nhwk", down, coarse, across, optimize=True)[:, None]
    shape = (count, frames, self.height, self.width)
    shown = still + 0.04 * rng.standard_normal(shape, np.float32)[..., None]
    bob = rng.uniform(0.5, 1.5, (*kinds.shape, 1)) * np.sin(
      2 * np.pi * (np.arange(frames) / FRAME_RATE * 1.7 + rng.random((*kinds.shape, 1)))
    )
    radius = _RADIUS * self.height
    rows = np.arange(self.height, dtype=np.float32)
    columns = np.arange(self.width, dtype=np.float32)
    for source in range(kinds.shape[1]):
      kind = kinds[:, source]
      power = _POWERS[kind][:, None, None]
      row = (positions[:, source, :1] + bob[:, source])[..., None]  # [N, F, 1]
      y = (np.abs(rows - row) / radius) ** power
      x = np.abs(columns - positions[:, source, 1:, None]) / radius
      distance = y[..., None] + (x**power)[:, :, None]  # [N, F, H, W]
      inside = (distance <= 1) & (distance >= _HOLLOW[kind][:, None, None, None])
      inside &= (kind >= 0)[:, None, None, None]
      scene, *pixel = np.nonzero(inside)
      shown[scene, *pixel] = _COLORS[kind[scene]]
    return np.uint8(np.round(255 * np.clip(shown, 0, 1)))


def _weights(length: int, size: int) -> np.ndarray:
  """Returns [size, length] float32 that interpolates `length` samples linearly."""
  at = np.linspace(0, length - 1, size)[:, None]
  return np.maximum(1 - np.abs(at - np.arange(length)), 0).astype(np.float32)


def _apart(rng: np.random.Generator, count: int, most: int) -> np.ndarray:
  """Returns [count, most] float32 in [-1, 1], symmetric, neighbours 0.4 apart."""
  gap = 0.4
  free = 2 - gap * (most - 1)
  chex.assert_scalar_positive(free)
  ordered = np.sort(rng.random((count, most)), axis=1) * free - 1
  ordered += gap * np.arange(most)
  return rng.permuted(ordered, axis=1).astype(np.float32)


def _hear(sounds: np.ndarray, azimuths: np.ndarray, rate: int) -> np.ndarray:
  heard = jax.jit(binaural.spatialize, static_argnums=2)(sounds, azimuths, rate)
  return np.array(heard)
