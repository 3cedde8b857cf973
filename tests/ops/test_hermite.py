"""Tests of cubic Hermite splines."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.interpolate
from absl.testing import absltest
from jax.test_util import check_grads

from jaxvision.ops import hermite


class InterpolateTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_agrees_with_scipy_inside(self):
    rng = np.random.default_rng(0)
    values, tangents = rng.normal(size=(2, 8)).astype(np.float32)
    x = rng.uniform(0, 7, (5, 4)).astype(np.float32)
    spline = scipy.interpolate.CubicHermiteSpline(np.arange(8), values, tangents)
    ours = self.variant(hermite.interpolate)(x, values, tangents)
    np.testing.assert_allclose(ours, spline(x), atol=1e-5)

  def test_follows_the_tangents_outside(self):
    values, tangents = jnp.array([1.0, 2.0, 5.0]), jnp.array([0.5, 0.0, -3.0])
    x = jnp.array([-2.0, 0.0, 2.0, 4.0])
    np.testing.assert_allclose(
      hermite.interpolate(x, values, tangents), [0.0, 1.0, 5.0, -1.0]
    )
    gradient = jax.jit(jax.vmap(jax.grad(hermite.interpolate), (0, None, None)))
    np.testing.assert_allclose(gradient(x, values, tangents), [0.5, 0.5, -3, -3])

  def test_gradients(self):
    with jax.enable_x64(True):
      arguments = jnp.array([-1.0, 0.3, 1.7, 3.5]), jnp.arange(3.0) ** 2, jnp.ones(3)
      check_grads(jax.jit(hermite.interpolate), arguments, order=2, modes=["rev"])

  def test_one_knot_is_refused(self):
    with self.assertRaisesRegex(ValueError, "two knots"):
      hermite.interpolate(jnp.zeros(1), jnp.zeros(1), jnp.zeros(1))


if __name__ == "__main__":
  absltest.main()
