"""Tests of clip."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops.clip import clip


class ClipTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_values_and_gradient_at_and_beyond_the_bounds(self):
    values = jnp.array([-0.1, 0.0, 0.4, 1.0, 1.1])
    np.testing.assert_array_equal(
      self.variant(clip)(values), np.array([0, 0, 0.4, 1, 1], np.float32)
    )
    gradient = self.variant(jax.vmap(jax.grad(clip)))(values)
    np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 0])

  def test_bounds_broadcast(self):
    result = clip(jnp.array([[-3.0, 3.0], [0.5, 0.5]]), jnp.array([-1.0, 0.0]), 2.0)
    np.testing.assert_array_equal(result, [[-1.0, 2.0], [0.5, 0.5]])

  def test_nan_stays(self):
    self.assertTrue(jnp.isnan(clip(jnp.nan * jnp.ones(()))))

  def test_integers_are_refused(self):
    with self.assertRaisesRegex(AssertionError, "type"):
      clip(jnp.arange(3))


if __name__ == "__main__":
  absltest.main()
