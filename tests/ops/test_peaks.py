"""Peaks and prominences against their definition and against SciPy."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays
from scipy import signal

from jaxvision.ops import peaks

find = jax.jit(peaks.find, static_argnums=1)


def by_definition(row, count):
  """The peaks of one signal, looked for sample by sample."""
  found = []
  for at in range(1, len(row) - 1):
    end = at
    while end < len(row) - 1 and row[end + 1] == row[at]:
      end += 1
    if row[at] > row[at - 1] and end < len(row) - 1 and row[end + 1] < row[at]:
      found.append(at)
  prominences = signal.peak_prominences(row, found)[0] if found else []
  order = sorted(range(len(found)), key=lambda i: (-prominences[i], found[i]))[:count]
  indices, heights = np.full(count, -1), np.full(count, -np.inf)
  indices[: len(order)] = [found[i] for i in order]
  heights[: len(order)] = [prominences[i] for i in order]
  return indices, heights


class PeaksTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_known_signal(self):
    row = jnp.array([0.0, 2.0, 1.0, 5.0, 3.0, 4.0, 0.5, 0.7, 0.6])
    found = self.variant(functools.partial(peaks.find, count=5))(row)
    np.testing.assert_array_equal(found.indices, [3, 1, 5, 7, -1])
    # The highest peak stands on the higher of the minima towards the two ends.
    np.testing.assert_allclose(
      found.prominences, [4.5, 1.0, 1.0, 0.1, -np.inf], rtol=1e-5
    )

  def test_flat_top_counts_at_its_first_sample_and_a_flat_end_not_at_all(self):
    row = jnp.array([0.0, 1.0, 1.0, 1.0, 0.0, 0.5, 0.5, 2.0, 2.0])
    np.testing.assert_array_equal(find(row, 3).indices, [1, -1, -1])

  @hypothesis.settings(max_examples=60, deadline=None)
  @hypothesis.given(
    arrays.arrays(
      np.float32, (3, 40), elements=strategies.integers(-4, 4).map(np.float32)
    ),
    strategies.booleans(),
  )
  def test_agrees_with_the_definition_on_signals_full_of_ties(self, rows, add):
    if add:
      rows = np.cumsum(rows, axis=1)
    found = find(jnp.asarray(rows), 4)
    for row, indices, prominences in zip(rows, *found, strict=True):
      expected = by_definition(row, 4)
      np.testing.assert_array_equal(indices, expected[0])
      np.testing.assert_allclose(prominences, expected[1])

  def test_long_signals_whose_prominences_reach_beyond_every_window(self):
    rng = np.random.default_rng(0)
    rows = np.stack(
      [
        rng.normal(size=1500),
        np.cumsum(rng.normal(size=1500)),
        np.arange(1500) * (-1.0) ** np.arange(1500),  # every swing wider than the last
      ]
    ).astype(np.float32)
    found = find(jnp.asarray(rows), 6)
    for row, indices, prominences in zip(rows, *found, strict=True):
      expected = by_definition(row, 6)
      np.testing.assert_array_equal(indices, expected[0])
      np.testing.assert_allclose(prominences, expected[1], rtol=1e-5)

  def test_signal_with_nan_has_no_peaks_and_leaves_others_alone(self):
    rows = jnp.array([[0.0, 1.0, 0.0, jnp.nan], [0.0, 1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(find(rows, 1).indices, [[-1], [1]])

  def test_wrong_calls_are_refused(self):
    with self.assertRaises(ValueError):
      peaks.find(jnp.zeros(4), 0)
    with self.assertRaises(AssertionError):
      peaks.find(jnp.zeros(4, int), 1)


if __name__ == "__main__":
  absltest.main()
