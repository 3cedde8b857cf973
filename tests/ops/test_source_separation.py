"""Tests of BSS-eval, against projections by least squares."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import source_separation

RNG = np.random.default_rng(0)


def delayed(sources, taps):
  """Every source delayed by 0 to taps - 1 samples, a column each."""
  return np.stack(
    [np.pad(s, (k, taps - 1 - k)) for s in sources for k in range(taps)], axis=1
  )


def by_definition(references, estimates, taps):
  rows = []
  for index, estimate in enumerate(estimates):
    estimate = np.pad(estimate, (0, taps - 1))

    def onto(basis, estimate=estimate):
      return basis @ np.linalg.lstsq(basis, estimate, rcond=None)[0]

    own = onto(delayed(references[[index]], taps))
    every = onto(delayed(references, taps))
    pairs = ((own, estimate - own), (own, every - own), (every, estimate - every))
    rows.append([10 * np.log10(np.sum(a**2) / np.sum(b**2)) for a, b in pairs])
  return np.array(rows)


@jax.jit
def by_gain(references, estimates):
  return source_separation.bss_eval(references, estimates, filter_length=1)


class BssEvalTest(parameterized.TestCase):
  @parameterized.parameters(1, 7)
  def test_ratios_are_those_of_least_squares(self, taps):
    references = RNG.standard_normal((3, 90))
    mixing = np.eye(3) + 0.3 * RNG.standard_normal((3, 3))
    estimates = mixing @ references + 0.1 * RNG.standard_normal((3, 90))
    estimates[1] = np.convolve(estimates[1], [0.5, 0.4, -0.2])[:90]
    with jax.enable_x64(True):
      found = jax.jit(
        lambda r, e: source_separation.bss_eval(r, e, filter_length=taps)
      )(references, estimates)
      found = np.stack(found, axis=1)
    expected = by_definition(references, estimates, taps)
    np.testing.assert_allclose(found, expected, rtol=1e-6)

  def test_gains_do_not_count_and_interference_does(self):
    references = jnp.asarray(np.eye(2, 50), jnp.float32)  # orthogonal
    estimates = jnp.stack([3 * references[0] + 0.3 * references[1], references[1]])
    found = by_gain(references, estimates)
    np.testing.assert_allclose(found.sir[0], 20.0, rtol=1e-4)
    np.testing.assert_allclose(found.sdr[0], 20.0, rtol=1e-4)
    self.assertGreater(found.sar[0], 100)
    self.assertGreater(found.sdr[1], 100)

  def test_silence_has_no_quality_but_ends(self):
    references = jnp.asarray(RNG.standard_normal((2, 50)), jnp.float32)
    found = by_gain(references, jnp.zeros((2, 50)))
    self.assertTrue(np.all(np.isnan(found.sdr)))


if __name__ == "__main__":
  absltest.main()
