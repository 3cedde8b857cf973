"""Separating two clips by their pictures, from spectra of both ears (M11).

The sounds of two clips are added; a network that sees the frame of one of them finds,
for each ear, which part of each time and frequency is that clip's. The paper tells the
masks and the loss; that they come out of a sigmoid and that the mixture's phases are
kept is our reading.
"""

from collections.abc import Mapping
from typing import Any, Literal

import chex
import jax.numpy as jnp
from jax import lax

from jaxvision.ops import source_separation, spectrogram
from jaxvision.papers.mono2binaural import audio, training
from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.papers.mono2binaural.networks import AudioVisualNet, ratio_mask

Kind = Literal["mono", "mono_mono", "binaural", "true_binaural"]
KINDS = ("mono", "mono_mono", "binaural", "true_binaural")
CHANNELS = {"mono": 1, "mono_mono": 2, "binaural": 2, "true_binaural": 2}

_EPSILON = 1e-8


def heard(kind: Kind, truth: chex.Array, predicted: chex.Array) -> chex.Array:
  """Returns the channels [..., T, C] that a kind of separation hears of a clip.

  Args:
    kind: "mono": the mean of both channels; "mono_mono": the same twice; "binaural":
      what was predicted from it and the frames; "true_binaural": the recording.
    truth: [..., T, 2], the recording.
    predicted: [..., T, 2].
  """
  if kind == "true_binaural":
    return truth
  if kind == "binaural":
    return predicted
  mean = 0.5 * (truth[..., :1] + truth[..., 1:])
  return mean if kind == "mono" else jnp.concatenate([mean, mean], axis=-1)


def mask_loss(
  network: AudioVisualNet,
  form: AudioFormat,
  variables: Mapping[str, Any],
  batch: training.Batch,
  train: bool,
) -> tuple[chex.Array, dict[str, Any]]:
  """Returns the mean absolute error of the first clip's ratio masks.

  Args:
    network: with as many outputs as there are channels.
    form: of the segments.
    variables: of the network.
    batch: {"first", "second": [B, T, C], "frames": [B, H, W, 3] of the first clip}.
    train: whether statistics are the batch's.

  Returns:
    The loss, and the collections besides the parameters.
  """
  _, gain = audio.normalize(batch["first"] + batch["second"])
  first, second = (
    _spectra(batch[name] / gain[:, None, None], form) for name in ("first", "second")
  )
  mixture = jnp.abs(first + second)
  logits, state = training.apply(network, variables, mixture, batch["frames"], train)
  bins = logits.shape[1]
  first, second = jnp.abs(first[:, :bins]), jnp.abs(second[:, :bins])
  target = first / (first + second + _EPSILON)
  return jnp.mean(jnp.abs(ratio_mask(logits) - target)), state


def separate(
  network: AudioVisualNet,
  variables: Mapping[str, Any],
  mixture: chex.Array,
  frames: chex.Array,
  form: AudioFormat,
) -> chex.Array:
  """Returns what in mixtures comes from the things that frames show.

  Args:
    network: the network.
    variables: of the network.
    mixture: [B, T, C], as long as the format's segment.
    frames: [B, H, W, 3] in [0, 1].
    form: of the segments.

  Returns:
    [B, T, C].
  """
  normal, gain = audio.normalize(mixture)
  spectra = _spectra(normal, form)
  logits, _ = training.apply(network, variables, jnp.abs(spectra), frames, False)
  masked = ratio_mask(logits) * spectra[:, : logits.shape[1]]
  signal = spectrogram.istft(
    jnp.moveaxis(masked, -1, 1),
    n_fft=form.n_fft,
    hop=form.hop,
    window=form.window,
    length=mixture.shape[1],
  )
  return jnp.moveaxis(signal, 1, -1) * gain[:, None, None]


def quality(
  sources: chex.Array, estimates: chex.Array, *, filter_length: int = 512
) -> source_separation.Quality:
  """Returns SDR, SIR and SAR [P, 2] of the two clips of each mixture.

  Both are compared as mono, so that kinds with one channel and with two compare.

  Args:
    sources, estimates: [P, 2, T, C], of both clips of each pair.
    filter_length: see `ops.source_separation.bss_eval`.
  """
  chex.assert_equal_shape([sources, estimates])
  mono = jnp.mean(sources, axis=-1), jnp.mean(estimates, axis=-1)
  return lax.map(
    lambda pair: source_separation.bss_eval(*pair, filter_length=filter_length), mono
  )


def _spectra(signals: chex.Array, form: AudioFormat) -> chex.Array:
  """Returns complex [B, F, N, C] of signals [B, T, C]."""
  found = spectrogram.stft(
    jnp.moveaxis(signals, -1, 1), n_fft=form.n_fft, hop=form.hop, window=form.window
  )
  return jnp.moveaxis(found, 1, -1)
