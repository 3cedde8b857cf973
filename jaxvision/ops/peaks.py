"""Peaks of sampled signals and their topographic prominence.

A peak is a sample that the signal rises to and falls from; of a flat top it is the
first sample (MATLAB's rule; SciPy takes the middle one). The ends are never peaks. Its
prominence is its height above the higher one of two minima: those of the signal between
the peak and the nearest strictly higher sample, or the end, on either side.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

_SCALES = 9  # windows of up to 256 samples bound a prominence before it is computed


class Peaks(NamedTuple):
  """The most prominent peaks of each signal, most prominent first.

  Attributes:
    indices: [..., K] samples, int32; -1 where a signal has fewer peaks.
    prominences: [..., K] in the signal's unit; -inf where there is no peak.
  """

  indices: chex.Array
  prominences: chex.Array


def find(signals: chex.Array, count: int) -> Peaks:
  """Returns the most prominent peaks; of equal ones the earlier comes first.

  Peaks are looked at in the order of an upper bound of their prominence, until no
  other one can be among the first: exact for any signal, and fast for those with few
  tall peaks and many small ones.

  Args:
    signals: [..., N] floats. One with NaN has no peaks.
    count: how many peaks, K ≥ 1.
  """
  chex.assert_type(signals, float)
  if count < 1:
    raise ValueError(f"count is {count}, not positive")
  *batch, size = signals.shape
  flat = jax.lax.stop_gradient(signals).reshape(-1, size)
  flat = jnp.where(jnp.all(jnp.isfinite(flat), axis=1, keepdims=True), flat, 0.0)
  bounds = jnp.where(is_peak(flat), flat - _saddle_bound(flat), -jnp.inf)
  found = jax.vmap(lambda x, bound: _best_first(x, bound, count))(flat, bounds)
  return jax.tree.map(lambda leaf: leaf.reshape(*batch, count), found)


def is_peak(signals: chex.Array) -> chex.Array:
  """Returns [..., N] booleans: which samples are peaks."""
  chex.assert_type(signals, float)
  *batch, size = signals.shape
  steps = jnp.sign(jnp.diff(signals.reshape(-1, size), axis=1)).astype(jnp.int8)
  rises = jnp.pad(steps, ((0, 0), (1, 0))) > 0

  def look_further(scale, following):
    later = _shift(following, 2**scale, 0)
    return jnp.where(following == 0, later, following)

  # The sign of the first step that is not flat, found in windows of doubling size.
  following = jnp.pad(steps, ((0, 0), (0, 1)))
  scales = max(size - 1, 1).bit_length()
  following = jax.lax.fori_loop(0, scales, look_further, following)
  return (rises & (following < 0)).reshape(*batch, size)


def _saddle_bound(x):
  """Returns [B, N] levels that the bases of peaks do not lie below."""
  rows, size = x.shape
  reach = 2 ** (_SCALES - 1)
  # Beyond the ends the signal counts as higher than anything.
  padded = jnp.pad(x, ((0, 0), (reach, reach)), constant_values=jnp.inf)

  def widen(scale, carry):
    highest, lowest, bound = carry  # of as many samples as `width` from each one on
    width = 2**scale
    for start in (reach + 1, reach - width):  # right and left of each sample
      high, low = (
        jax.lax.dynamic_slice(level, (0, start), (rows, size))
        for level in (highest, lowest)
      )
      bound = jnp.maximum(bound, jnp.where(high > x, low, -jnp.inf))
    highest = jnp.maximum(highest, _shift(highest, width, jnp.inf))
    lowest = jnp.minimum(lowest, _shift(lowest, width, jnp.inf))
    return highest, lowest, bound

  lowest = jnp.broadcast_to(jnp.min(x, axis=1, keepdims=True), x.shape)
  return jax.lax.fori_loop(0, _SCALES, widen, (padded, padded, lowest))[2]


def _shift(rows, steps, fill):
  """Returns rows [B, N] moved to the left; steps may be traced, at most N."""
  padded = jnp.pad(rows, ((0, 0), (0, rows.shape[1])), constant_values=fill)
  return jax.lax.dynamic_slice(padded, (0, steps), rows.shape)


def _best_first(x, bounds, count):
  positions = jnp.arange(x.size, dtype=jnp.int32)

  def unsettled(carry):
    bounds, best = carry
    highest = jnp.max(bounds)
    return (highest > -jnp.inf) & (highest >= best.prominences[-1])

  def look(carry):
    bounds, best = carry
    peak = jnp.argmax(bounds).astype(jnp.int32)
    higher = x > x[peak]
    left = jnp.max(jnp.where(higher & (positions < peak), positions, -1))
    right = jnp.min(jnp.where(higher & (positions > peak), positions, x.size))
    before = (positions > left) & (positions <= peak)
    after = (positions >= peak) & (positions < right)
    base = jnp.maximum(
      jnp.min(jnp.where(before, x, jnp.inf)), jnp.min(jnp.where(after, x, jnp.inf))
    )
    bounds = jnp.where(positions == peak, -jnp.inf, bounds)
    return bounds, _insert(best, peak, x[peak] - base)

  nothing = Peaks(
    jnp.full(count, -1, jnp.int32), jnp.full(count, -jnp.inf, dtype=x.dtype)
  )
  return jax.lax.while_loop(unsettled, look, (bounds, nothing))[1]


def _insert(best, index, prominence):
  """Returns `best` with one more peak at its place, the last one dropped."""
  before = best.prominences > prominence
  before |= (best.prominences == prominence) & (best.indices < index)
  rank, slots = jnp.sum(before), jnp.arange(before.size)

  def inserted(old, new):
    shifted = jnp.where(slots > rank, jnp.roll(old, 1), old)
    return jnp.where(slots == rank, new, shifted)

  return Peaks(inserted(best.indices, index), inserted(best.prominences, prominence))
