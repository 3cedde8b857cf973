"""Segments of sound as the network sees them (M1, M2, M8)."""

import dataclasses
from typing import Literal

import chex
import jax.numpy as jnp
from jax import lax

from jaxvision.ops import spectrogram

LEVEL = 0.1  # root mean square of a normalised segment
FLOOR = 1e-4  # of the root mean square, so that silence stays silence
STRIDE = 32  # of the network: its input has so many frames, or a multiple

Resynthesis = Literal["exact", "published"]


@dataclasses.dataclass(frozen=True)
class AudioFormat:
  """How sound is cut and transformed.

  Attributes:
    rate: samples a second.
    n_fft, hop, window: of `ops.spectrogram.stft`, in samples.
    segment: seconds of what the network sees at a time.
  """

  rate: int = 16_000
  n_fft: int = 512
  hop: int = 160
  window: int = 400
  segment: float = 0.63

  def __post_init__(self):
    if self.frames % STRIDE or (self.n_fft // 2) % STRIDE:
      raise ValueError(
        f"a segment has {self.n_fft // 2} frequencies in {self.frames} frames, which "
        f"must be multiples of {STRIDE}"
      )

  @property
  def samples(self) -> int:
    """Samples of a segment."""
    return int(self.segment * self.rate)

  @property
  def frames(self) -> int:
    """Frames of a segment's spectrum."""
    return 1 + self.samples // self.hop

  @property
  def bins(self) -> int:
    """Frequencies of a spectrum, the Nyquist frequency included."""
    return self.n_fft // 2 + 1


def normalize(audio: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns segments of one level, and the gains that undo it.

  Args:
    audio: [..., T, channels] float.

  Returns:
    [..., T, channels], whose root mean square over both axes is `LEVEL`, and [...].
  """
  square = jnp.mean(jnp.square(audio), axis=(-2, -1))
  # Of silence the root has no gradient, so the floor comes first.
  gain = jnp.sqrt(jnp.maximum(square, FLOOR**2)) / LEVEL
  return audio / gain[..., None, None], gain


def sum_and_difference(audio: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns left + right and left - right, [..., T], of audio [..., T, 2]."""
  chex.assert_axis_dimension(audio, -1, 2)
  return audio[..., 0] + audio[..., 1], audio[..., 0] - audio[..., 1]


def spectrum(x: chex.Array, form: AudioFormat) -> chex.Array:
  """Returns planes [..., F, N, 2] of signals [..., T], F = n_fft / 2 + 1."""
  found = spectrogram.stft(x, n_fft=form.n_fft, hop=form.hop, window=form.window)
  return jnp.stack([found.real, found.imag], axis=-1)


def resynthesize(
  planes: chex.Array,
  form: AudioFormat,
  *,
  n_fft: Resynthesis = "exact",
  length: int | None = None,
) -> chex.Array:
  """Returns signals of planes, least squares over overlapping frames.

  Args:
    planes: [..., F, N, 2].
    form: the spectra's.
    n_fft: "exact" takes the format's, and what lies beyond F for zero; "published"
      takes 2 (F - 1) as the authors' call does, which for planes without the Nyquist
      frequency shifts every frequency (by 0.4 % of 256).
    length: samples of the result; hop · (N - 1) when None.

  Returns:
    [..., length].
  """
  chex.assert_axis_dimension(planes, -1, 2)
  return spectrogram.istft(
    lax.complex(planes[..., 0], planes[..., 1]),
    n_fft=form.n_fft if n_fft == "exact" else None,
    hop=form.hop,
    window=form.window,
    length=length,
  )


def complex_product(mask: chex.Array, planes: chex.Array) -> chex.Array:
  """Returns the complex product of two arrays of planes [..., 2] (M5)."""
  chex.assert_equal_shape([mask, planes])
  real = planes[..., 0] * mask[..., 0] - planes[..., 1] * mask[..., 1]
  imaginary = planes[..., 0] * mask[..., 1] + planes[..., 1] * mask[..., 0]
  return jnp.stack([real, imaginary], axis=-1)
