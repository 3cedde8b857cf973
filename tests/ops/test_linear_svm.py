"""The support vector machine held to a hand-solved case and to optimality."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from absl.testing import absltest

from jaxvision.ops import linear_svm


class LinearSvmTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_two_points(self):
    # By symmetry b = 0, and w minimises w²/2 + 2 (1 - w)²: w = 4/5.
    weight, bias = self.variant(linear_svm.fit)(
      jnp.asarray([[1.0], [-1.0]]), jnp.asarray([True, False])
    )
    np.testing.assert_allclose([weight[0], bias], [0.8, 0.0], atol=1e-6)

  def test_it_minimises_the_loss(self):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    labels = x @ [1.0, -2.0, 0.0] + 0.5 + rng.normal(size=60) > 0

    def loss(plane):
      slack = np.maximum(1 - np.where(labels, 1, -1) * (x @ plane[:3] + plane[3]), 0)
      return 0.5 * plane @ plane + 2.0 * np.sum(slack**2)

    best = scipy.optimize.minimize(loss, np.zeros(4), tol=1e-10)
    weight, bias = jax.jit(lambda x, y: linear_svm.fit(x, y, penalty=2.0))(
      jnp.asarray(x, jnp.float32), labels
    )
    np.testing.assert_allclose([*weight, bias], best.x, atol=2e-4)
    decided = linear_svm.decide(jnp.asarray(x, jnp.float32), weight, bias)
    np.testing.assert_array_equal(decided, x @ best.x[:3] + best.x[3] > 0)

  def test_one_class_and_large_inputs_stay_finite(self):
    x = 1e3 * jnp.asarray(np.random.default_rng(1).normal(size=(20, 2)), jnp.float32)
    weight, bias = jax.jit(linear_svm.fit)(x, jnp.ones(20, bool))
    self.assertTrue(np.isfinite([*weight, bias]).all())
    self.assertTrue(linear_svm.decide(x, weight, bias).all())
    with self.assertRaises(AssertionError):
      linear_svm.fit(x, jnp.ones(19, bool))


if __name__ == "__main__":
  absltest.main()
