"""How well estimated sources match true ones: BSS-eval's SDR, SIR and SAR.

An estimate is projected on the true source, filtered by up to L taps, and on all
sources so filtered. What the first projection holds counts as the source, what only
the second holds as interference, and the rest as artefacts.

Source: Vincent, Gribonval, Févotte, Performance measurement in blind audio source
  separation, IEEE TASLP 2006; with 512 taps this is `bss_eval_sources` of mir_eval
  without its search for permutations.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Quality(NamedTuple):
  """Ratios in dB, [S] each: to distortion, to interference, to artefacts."""

  sdr: chex.Array
  sir: chex.Array
  sar: chex.Array


def bss_eval(
  references: chex.Array, estimates: chex.Array, *, filter_length: int = 512
) -> Quality:
  """Returns the quality of each estimate of the source of the same index.

  With hundreds of taps the normal equations want float64 (`jax.enable_x64`).

  Args:
    references: [S, T] float, true sources.
    estimates: [S, T] float.
    filter_length: taps of the filter that is not counted as distortion; 1 allows a
      gain only.

  Returns:
    Ratios in dB; infinite where there is no distortion, interference or artefact.
  """
  chex.assert_rank([references, estimates], 2)
  chex.assert_equal_shape([references, estimates])
  chex.assert_type([references, estimates], float)
  chex.assert_scalar_positive(filter_length)
  sources, length = references.shape
  padded = length + filter_length - 1
  size = 1 << (padded - 1).bit_length()
  spectra = jnp.fft.rfft(references, size)
  theirs = jnp.fft.rfft(estimates, size)

  def correlate(a, b):
    """Returns [..., lag] of the sums of a(t) b(t + lag), lags modulo `size`."""
    return jnp.fft.irfft(jnp.conj(a) * b, size)

  taps = jnp.arange(filter_length)
  lags = taps[:, None] - taps[None, :]
  between = correlate(spectra[:, None], spectra[None, :])[..., lags]  # [S, S, L, L]
  onto = correlate(spectra[None, :], theirs[:, None])[..., :filter_length]  # [S, S, L]

  def project(gram, rights, of):
    """Returns [T + L - 1], the best sum of filtered sources."""
    ridge = jnp.finfo(gram.dtype).eps * len(gram) * jnp.max(jnp.diag(gram))
    gram = gram + ridge * jnp.eye(len(gram), dtype=gram.dtype)
    filters = jax.scipy.linalg.solve(gram, rights.reshape(-1), assume_a="pos")
    filters = jnp.fft.rfft(filters.reshape(-1, filter_length), size)
    return jnp.fft.irfft(jnp.sum(filters * of, axis=0), size)[:padded]

  every = jnp.swapaxes(between, 1, 2).reshape(sources * filter_length, -1)

  def judge(index):
    own = project(between[index, index], onto[index, index], spectra[index][None])
    everyone = project(every, onto[index], spectra)
    estimate = jnp.pad(estimates[index], (0, filter_length - 1))
    return (
      _decibels(own, estimate - own),
      _decibels(own, everyone - own),
      _decibels(everyone, estimate - everyone),
    )

  return Quality(*jax.lax.map(judge, jnp.arange(sources)))


def _decibels(signal: chex.Array, rest: chex.Array) -> chex.Array:
  return 10 * jnp.log10(jnp.sum(jnp.square(signal)) / jnp.sum(jnp.square(rest)))
