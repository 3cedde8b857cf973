"""Distances between binaural clips, as the authors' evaluation computes them."""

import chex
import jax.numpy as jnp

from jaxvision.ops import spectrogram
from jaxvision.papers.mono2binaural import audio
from jaxvision.papers.mono2binaural.audio import AudioFormat


def normalize_peak(clip: chex.Array) -> chex.Array:
  """Returns [..., T, 2] divided by its largest magnitude over both channels."""
  peak = jnp.max(jnp.abs(clip), axis=(-2, -1), keepdims=True)
  return clip / jnp.maximum(peak, 1e-20)


def stft_distance(
  predicted: chex.Array, truth: chex.Array, form: AudioFormat, *, normalize: bool = True
) -> chex.Array:
  """Returns the mean squared difference of real and imaginary parts, summed over ears.

  The paper writes a Euclidean norm; its numbers come from this.

  Args:
    predicted, truth: [..., T, 2].
    form: of the spectra.
    normalize: whether each clip is first divided by its peak.

  Returns:
    [...].
  """
  chex.assert_equal_shape([predicted, truth])
  chex.assert_axis_dimension(truth, -1, 2)
  if normalize:
    predicted, truth = normalize_peak(predicted), normalize_peak(truth)
  # The transform is linear: that of the difference is the difference of both.
  planes = audio.spectrum(jnp.swapaxes(predicted - truth, -1, -2), form)
  return jnp.sum(jnp.mean(jnp.square(planes), axis=(-3, -2, -1)), axis=-1)


def envelope_distance(
  predicted: chex.Array, truth: chex.Array, *, normalize: bool = True
) -> chex.Array:
  """Returns the root mean squared difference of envelopes, summed over ears.

  Args:
    predicted, truth: [..., T, 2].
    normalize: whether each clip is first divided by its peak.

  Returns:
    [...].
  """
  chex.assert_equal_shape([predicted, truth])
  chex.assert_axis_dimension(truth, -1, 2)
  if normalize:
    predicted, truth = normalize_peak(predicted), normalize_peak(truth)
  envelopes = [
    spectrogram.envelope(jnp.swapaxes(x, -1, -2)) for x in (predicted, truth)
  ]
  square = jnp.mean(jnp.square(envelopes[0] - envelopes[1]), axis=-1)
  return jnp.sum(jnp.sqrt(square), axis=-1)
