"""Whole clips through windows that overlap, in one call (M7), and baselines (M9)."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import spectrogram
from jaxvision.papers.mono2binaural import audio
from jaxvision.papers.mono2binaural.audio import AudioFormat, Resynthesis
from jaxvision.papers.mono2binaural.networks import (
  AudioVisualNet,
  normalize_frames,
  signed_mask,
)

HOP = 0.05  # seconds between windows
FRAME_RATE = 10.0  # frames a second
BATCH = 32  # windows, or frames, that pass the network at a time


def window_starts(length: int, size: int, hop: int) -> np.ndarray:
  """Returns where windows start: every `hop` samples, and one that ends with the clip.

  Raises:
    ValueError: the clip is shorter than a window.
  """
  if length < size:
    raise ValueError(f"a clip of {length} samples is shorter than a window of {size}")
  return np.array([*range(0, length - size, hop), length - size])


def frame_indices(seconds: np.ndarray, frames: int, rate: float) -> np.ndarray:
  """Returns the frame that shows each time, counted from 0.

  The authors' files count from 1, and theirs of a time t is round((t + 0.05) 10).

  Args:
    seconds: [...] times in a clip.
    frames: number of frames.
    rate: frames a second.
  """
  numbers = np.rint((np.asarray(seconds) + 0.5 / rate) * rate).astype(int)
  return np.clip(numbers, 1, frames) - 1


def mono_mono(clip: np.ndarray, frames: np.ndarray | None = None) -> np.ndarray:
  """Returns both channels of [..., T, 2] replaced by their mean: the baseline."""
  del frames
  chex.assert_axis_dimension(clip, -1, 2)
  return np.broadcast_to(np.mean(clip, axis=-1, keepdims=True), clip.shape)


def binauralize(
  network: AudioVisualNet,
  variables: Mapping[str, Any],
  clip: chex.Array,
  frames: chex.Array | None,
  form: AudioFormat,
  *,
  hop: float = HOP,
  frame_rate: float = FRAME_RATE,
  n_fft: Resynthesis = "exact",
  batch: int = BATCH,
) -> chex.Array:
  """Returns what both ears hear, guessed from the sum of both channels and frames.

  Args:
    network: the network.
    variables: of the network.
    clip: [T, 2] float. Only its sum and the level of each window are used; of a mono
      recording both channels are that.
    frames: [F, H, W, 3] in [0, 1]; one is shown all the time. None for a network that
      only hears.
    form: of the segments, which are the windows.
    hop: seconds between windows.
    frame_rate: frames a second.
    n_fft: see `audio.resynthesize`.
    batch: windows that pass the network at a time; more take more memory.

  Returns:
    [T, 2], left and right, whose sum is the clip's.
  """
  chex.assert_shape(clip, (None, 2))
  length, size = len(clip), form.samples
  step = round(hop * form.rate)
  starts = window_starts(length, size, step)
  regular = len(starts) - 1
  windows = clip[None, -size:]
  if regular:
    pieces = spectrogram.frames(clip.T, size, step)[:, :regular]
    windows = jnp.concatenate([jnp.moveaxis(pieces, 0, -1), windows])
  mix, _ = audio.sum_and_difference(windows)

  visual, shown = None, np.zeros(len(starts), int)
  if network.visual is not None:
    seconds = (starts + size / 2) / form.rate
    used, shown = np.unique(
      frame_indices(seconds, len(frames), frame_rate), return_inverse=True
    )
    see = functools.partial(network.apply, variables, method="see")
    visual = in_batches(see, (normalize_frames(frames[used]),), batch)

  def differences(windows, shown):
    normal, gain = audio.normalize(windows)
    spectra = audio.spectrum(audio.sum_and_difference(normal)[0], form)
    features = None if visual is None else visual[shown]
    logits = network.apply(variables, spectra, features, method="hear")
    predicted = audio.complex_product(
      signed_mask(logits), spectra[:, : logits.shape[1]]
    )
    signal = audio.resynthesize(predicted, form, n_fft=n_fft, length=size)
    return signal * gain[:, None]

  difference = in_batches(differences, (windows, jnp.asarray(shown)), batch)
  ears = jnp.stack([mix + difference, mix - difference]) / 2  # [2, windows, size]
  return _average(ears, starts, step, length).T


def in_batches(function: Callable, arrays: tuple[chex.Array, ...], batch: int):
  """Returns function(*arrays) over the leading axes, `batch` at a time."""
  if len(arrays[0]) <= batch:
    return function(*arrays)
  count = len(arrays[0])
  padded = -(-count // batch) * batch
  cut = [
    jnp.pad(x, [(0, padded - count)] + [(0, 0)] * (x.ndim - 1)).reshape(
      -1, batch, *x.shape[1:]
    )
    for x in arrays
  ]
  found = jax.lax.map(lambda xs: function(*xs), tuple(cut))
  return found.reshape(padded, *found.shape[2:])[:count]


def _average(pieces, starts, hop, length):
  """Returns [..., length], the mean of all windows [..., N, size] over each sample."""
  size = pieces.shape[-1]
  counts = np.zeros(length)
  for start in starts:
    counts[start : start + size] += 1
  outer = [(0, 0)] * (pieces.ndim - 2)
  total = jnp.pad(pieces[..., -1, :], [*outer, (length - size, 0)])
  if len(starts) > 1:
    some = spectrogram.overlap_add(pieces[..., :-1, :], hop)
    total += jnp.pad(some, [*outer, (0, length - some.shape[-1])])
  return total / jnp.asarray(counts, total.dtype)
