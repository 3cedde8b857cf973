"""Discontinuities of transients: filters, peaks and their signs (A1, A2, T4)."""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import peaks

TAPS = 101
_BLOCK = 128  # bins that one row of a matrix product filters
_ROWS = 8  # transients that are filtered together, to stay in the cache


@dataclasses.dataclass(frozen=True)
class Detector:
  """How discontinuities are found.

  Attributes:
    exp_coefficients: c of the detector's exponential tail; the strongest response
      of all pairs (c, σ) counts.
    sigmas: σ of the Gaussian exp(-t² / σ²) in units of 10 bins: σ = 1 is a standard
      deviation of about 7 bins. To be scaled with the bins' width.
    count: K, how many discontinuities are kept.
    two_sided: whether falling edges (maxima) count too, not only rising ones.
    sort: whether the K paths are sorted by length; else by prominence.
    subbin: whether a parabola through three responses refines the bin's centre.
  """

  exp_coefficients: tuple[float, ...] = (0.0,)
  sigmas: tuple[float, ...] = (1.0,)
  count: int = 1
  two_sided: bool = False
  sort: bool = False
  subbin: bool = False


CONCAVE = Detector((0.0, 1.0), count=4, two_sided=True, sort=True)
CONVEX = Detector((0.0, 1.0), count=3, two_sided=True, sort=True)
PLANE = Detector((0.3,), count=1, two_sided=True, sort=True)
VASE = Detector((0.0,), sigmas=(0.75,), count=2)


class Detection(NamedTuple):
  """Discontinuities of each transient.

  Attributes:
    paths: [n, K] Fermat path lengths, in the bins' unit; NaN where there is none.
    signs: [n, K] +1 where the transient rises, -1 where it falls, 0 where there is
      no discontinuity.
    prominences: [n, K] of the responses, in [0, 2] of the strongest one; 0 where
      there is no discontinuity.
  """

  paths: chex.Array
  signs: chex.Array
  prominences: chex.Array


def discontinuity_filter(exp_coefficient: float, sigma: float) -> np.ndarray:
  """Returns the 101 taps of a difference of Gaussians with an exponential tail.

  Args:
    exp_coefficient: c; the second Gaussian has weight exp(-0.001 c).
    sigma: of the Gaussians, in units of 10 taps, without the usual factor 2.

  Source: A1.
  """
  gaussian = np.exp(-np.square(np.linspace(-5, 5, TAPS) / sigma))
  delayed = np.concatenate([[0.0], gaussian[:-1]])
  return gaussian - np.exp(-0.001 * exp_coefficient) * delayed


def scaled_to_bins(
  detector: Detector, width: float, reference: float = 0.12
) -> Detector:
  """Returns the detector for bins of another width: its taps are one bin apart.

  Args:
    detector: for bins of the reference width.
    width: of the bins, cm.
    reference: the authors' width, cm.
  """
  sigmas = tuple(sigma * reference / width for sigma in detector.sigmas)
  return dataclasses.replace(detector, sigmas=sigmas)


def filter_responses(
  transients: chex.Array, detector: Detector
) -> tuple[chex.Array, chex.Array]:
  """Returns how strongly each bin looks like a rising and like a falling edge.

  Args:
    transients: [n, m], in any unit.
    detector: its filters.

  Returns:
    [n, m] the strongest response of all filters, 1 at its maximum, and [n, m]
    booleans: whether a rising filter gave it. Transients that are not finite, or
    nowhere positive, have the response 0.
  """
  chex.assert_rank(transients, 2)
  chex.assert_type(transients, float)
  respond = functools.partial(_respond, detector=detector)
  return jax.lax.map(respond, transients, batch_size=_ROWS)


def detect(transients: chex.Array, bins: chex.Array, detector: Detector) -> Detection:
  """Returns the most prominent discontinuities of every transient.

  Args:
    transients: [n, m], in any unit.
    bins: [m] or [n, m] path lengths of the bins' centres, ascending.
    detector: filters and number of discontinuities.

  Raises:
    ValueError: a transient has no bins.

  Source: A2.
  """
  chex.assert_rank(transients, 2)
  chex.assert_rank(bins, {1, 2})
  chex.assert_type([transients, bins], float)
  if transients.shape[-1] == 0:
    raise ValueError("transients have no bins")
  chex.assert_shape(bins, (..., transients.shape[-1]))

  def one(transient, centres):
    response, rising = _respond(transient, detector)
    found = peaks.find(response, detector.count)
    exists = found.indices >= 0
    at = jnp.maximum(found.indices, 0)
    paths = centres[at]
    if detector.subbin:
      paths += _parabola(response, at) * _bin_width(centres, at)
    paths = jnp.where(exists, paths, jnp.nan)
    signs = jnp.where(exists, jnp.where(rising[at], 1, -1), 0)
    detection = Detection(paths, signs, jnp.where(exists, found.prominences, 0.0))
    if detector.sort:
      order = jnp.argsort(jax.lax.stop_gradient(paths))  # NaN last
      detection = jax.tree.map(lambda leaf: leaf[order], detection)
    return detection

  if bins.ndim == 1:
    return jax.lax.map(lambda row: one(row, bins), transients, batch_size=_ROWS)
  chex.assert_equal_shape([transients, bins])
  return jax.lax.map(lambda row: one(*row), (transients, bins), batch_size=_ROWS)


def first_returns(detection: Detection) -> chex.Array:
  """Returns the [n] shortest of each transient's paths, the baseline of A9 (i)."""
  paths = jnp.where(jnp.isnan(detection.paths), jnp.inf, detection.paths)
  first = jnp.min(paths, axis=1)
  return jnp.where(jnp.isfinite(first), first, jnp.nan)


def _respond(transient, detector):
  usable = jnp.all(jnp.isfinite(transient)) & (jnp.max(transient) > 0)
  transient = jnp.where(usable, transient, 0.0)
  highest = jnp.max(transient)
  transient = transient / jnp.where(usable, highest, 1.0)
  pairs = [(c, s) for c in detector.exp_coefficients for s in detector.sigmas]
  rising = np.stack([discontinuity_filter(c, s) for c, s in pairs])
  # The filters of one σ differ by a small multiple of one Gaussian: of their maximum
  # only one product is needed per sign, but the exact taps cost little more.
  kernels = np.concatenate([rising, rising[:, ::-1]]) if detector.two_sided else rising
  blocks = _convolve(transient, kernels)
  up = jnp.max(blocks[:, : len(pairs)], axis=1).reshape(-1)[: transient.size]
  response, is_rising = up, jnp.ones_like(up, bool)
  if detector.two_sided:
    down = jnp.max(blocks[:, len(pairs) :], axis=1).reshape(-1)[: transient.size]
    response, is_rising = jnp.maximum(up, down), up >= down
  strongest = jnp.max(response)
  response = response / jnp.where(strongest > 0, strongest, 1.0)
  return response, is_rising


def _convolve(signal, kernels):
  """Convolves a signal with kernels, as wide as the signal, zeros beyond its ends.

  Windows of the signal times Toeplitz matrices: XLA's convolutions of one channel
  are many times slower on CPU.

  Returns:
    [blocks, kernels, _BLOCK]; the last block goes on beyond the signal's end.
  """
  reach = TAPS // 2
  count = -(-signal.size // _BLOCK)
  padded = jnp.pad(signal, (_BLOCK, (count + 1) * _BLOCK - signal.size))
  rows = padded.reshape(count + 2, _BLOCK)
  windows = jnp.concatenate([rows[:-2, -reach:], rows[1:-1], rows[2:, :reach]], axis=1)
  toeplitz = np.zeros((_BLOCK + 2 * reach, len(kernels), _BLOCK))
  for bin_ in range(_BLOCK):
    toeplitz[bin_ : bin_ + TAPS, :, bin_] = kernels[:, ::-1].T
  matrix = jnp.asarray(toeplitz.reshape(len(toeplitz), -1), signal.dtype)
  product = jnp.matmul(windows, matrix, precision=jax.lax.Precision.HIGHEST)
  return product.reshape(count, len(kernels), _BLOCK)


def _parabola(response, at):
  """Returns where, in bins from a peak, the parabola through it culminates."""
  before, after = response[at - 1], response[jnp.minimum(at + 1, response.size - 1)]
  bend = before - 2 * response[at] + after
  offset = 0.5 * (before - after) / jnp.where(bend < 0, bend, 1.0)
  return jnp.where(bend < 0, jnp.clip(offset, -0.5, 0.5), 0.0)


def _bin_width(centres, at):
  return centres[jnp.minimum(at + 1, centres.size - 1)] - centres[at]
