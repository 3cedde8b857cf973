"""Tests of edge-aware smoothness."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops.smoothness import edge_aware_smoothness

FLAT = jnp.zeros((1, 6, 8, 3))
RAMP = jnp.broadcast_to(0.5 * jnp.arange(8.0)[:, None], (1, 6, 8, 1))


class SmoothnessTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_ramp_costs_its_slope_in_the_first_order_and_nothing_in_the_second(self):
    smoothness = self.variant(edge_aware_smoothness, static_argnames="order")
    np.testing.assert_allclose(smoothness(RAMP, FLAT), 0.5, rtol=1e-6)
    np.testing.assert_allclose(smoothness(RAMP, FLAT, order=2), 0.0, atol=1e-6)

  @parameterized.parameters(1, 2)
  def test_step_is_cheap_where_the_image_has_an_edge(self, order):
    step = jnp.zeros((1, 6, 8, 1)).at[:, :, 4:].set(1.0)
    edge = jnp.broadcast_to(step, FLAT.shape)
    smoothness = jax.jit(edge_aware_smoothness, static_argnames="order")
    flat = smoothness(step, FLAT, order=order)
    sharp = smoothness(step, edge, order=order)
    np.testing.assert_allclose(sharp, flat * np.exp(-10), rtol=1e-4)

  @parameterized.parameters(1, 2)
  def test_gradients_agree_with_finite_differences_and_vanish_at_0(self, order):
    with jax.enable_x64(True):
      key = jax.random.key(0)
      field = jax.random.normal(key, (1, 4, 5, 2), jnp.float64)
      image = jax.random.uniform(key, (1, 4, 5, 3), jnp.float64)

      @jax.jit
      def smoothness(field):
        return edge_aware_smoothness(field, image, order=order)

      jax.test_util.check_grads(smoothness, (field,), 1, modes=["rev"])
      gradient = jax.grad(smoothness)(jnp.zeros_like(field))
      np.testing.assert_array_equal(gradient, 0.0)

  def test_wrong_arguments_are_refused(self):
    with self.assertRaisesRegex(ValueError, "order is 3"):
      edge_aware_smoothness(RAMP, FLAT, order=3)
    with self.assertRaisesRegex(ValueError, "no differences"):
      edge_aware_smoothness(RAMP[:, :2], FLAT[:, :2], order=2)
    with self.assertRaises(AssertionError):
      edge_aware_smoothness(RAMP[:, :4], FLAT)


if __name__ == "__main__":
  absltest.main()
