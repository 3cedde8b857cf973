"""Tests of the Wasserstein-1 distance in one dimension."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops.wasserstein import wasserstein_1d


class WassersteinTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_a_shift_is_its_own_distance(self):
    values = jax.random.uniform(jax.random.key(0), (50,))
    distance = self.variant(wasserstein_1d)(values, values + 0.25)
    np.testing.assert_allclose(distance, 0.25, rtol=1e-5)

  @settings(max_examples=15, deadline=None)
  @given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**20))
  def test_agrees_with_scipy(self, n, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(size=m)
    weights = rng.random(n) + 0.1, rng.random(m) + 0.1
    expected = scipy.stats.wasserstein_distance(a, b, *weights)
    ours = wasserstein_1d(*map(np.float32, (a, b, *weights)))
    np.testing.assert_allclose(ours, expected, atol=1e-5)

  def test_weight_zero_leaves_values_out(self):
    a, b = jnp.array([1.0, 2.0, 100.0]), jnp.array([1.5, 2.5])
    distance = wasserstein_1d(a, b, jnp.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(distance, 0.5, rtol=1e-6)

  def test_nothing_to_compare_is_nan(self):
    a = jnp.array([1.0, 2.0])
    self.assertTrue(np.isnan(wasserstein_1d(a, a, jnp.zeros(2))))

  def test_gradient_agrees_with_finite_differences(self):
    a, b = jnp.array([0.1, 0.9, 0.4]), jnp.array([0.2, 0.65])
    jax.test_util.check_grads(
      wasserstein_1d, (a, b), order=1, modes=["rev"], eps=1e-3, rtol=1e-2, atol=1e-2
    )


if __name__ == "__main__":
  absltest.main()
