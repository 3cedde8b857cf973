"""Tests of the mixture of two beta distributions."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import beta_mixture

fit = jax.jit(beta_mixture.fit)


class BetaMixtureTest(parameterized.TestCase):
  def test_recovers_what_values_are_drawn_from(self):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.beta(2, 20, 6000), rng.beta(9, 3, 2000)])
    found = fit(jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(found.means, [2 / 22, 9 / 12], atol=0.01)
    np.testing.assert_allclose(found.weights, [0.75, 0.25], atol=0.01)
    np.testing.assert_allclose(found.a, [2, 9], rtol=0.15)
    np.testing.assert_allclose(found.b, [20, 3], rtol=0.15)
    self.assertBetween(int(found.iterations), 2, 200)

  @parameterized.parameters(
    ([0.0] * 60 + [1.0] * 4,),
    ([0.0] * 30 + [0.01] * 30 + [0.99, 1.0, 1.0, 1.0],),
    ([0.02] * 64,),
    ([1e-9] * 32 + [1.0] * 32,),
  )
  def test_extreme_values_stay_finite(self, values):
    found = fit(jnp.asarray(values, jnp.float32))
    for leaf in jax.tree.leaves(found):
      self.assertTrue(np.all(np.isfinite(leaf)), found)
    self.assertAlmostEqual(float(jnp.sum(found.weights)), 1.0, places=5)

  def test_zeros_and_ones_belong_to_their_side(self):
    values = jnp.asarray([0.0] * 48 + [1.0] * 16)
    found = fit(values)
    np.testing.assert_allclose(found.weights, [0.75, 0.25], atol=1e-6)
    np.testing.assert_allclose(found.means, [0, 1], atol=1e-6)

  def test_order_and_shape_do_not_matter(self):
    values = np.random.default_rng(1).beta(0.6, 2.0, 256).astype(np.float32)
    first = fit(values)
    again = fit(np.random.default_rng(2).permutation(values))
    np.testing.assert_allclose(first.means, again.means, rtol=1e-4)
    np.testing.assert_array_equal(
      first.means, jax.jit(lambda x: beta_mixture.fit(x).means)(values.reshape(16, 16))
    )


if __name__ == "__main__":
  absltest.main()
