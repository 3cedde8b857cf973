"""Norms, modulation and the spread of a batch held to their definitions."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import normalization


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


class NormalizationTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_norms_give_unit_moments(self):
    x = 5 + 3 * normal(0, 2, 4, 6, 3)
    pixels = self.variant(normalization.pixel_norm)(x)
    np.testing.assert_allclose(jnp.mean(pixels**2, axis=-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(
      pixels[..., 0] * x[..., 1], pixels[..., 1] * x[..., 0], rtol=1e-5
    )
    maps = self.variant(normalization.instance_norm)(x)
    np.testing.assert_allclose(jnp.mean(maps, axis=(1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(jnp.std(maps, axis=(1, 2)), 1.0, atol=1e-5)

  def test_constant_maps_become_zero_with_a_finite_gradient(self):
    def total(x):
      return jnp.sum(normalization.instance_norm(x) * jnp.arange(16.0).reshape(4, 4, 1))

    x = jnp.ones((1, 4, 4, 1))
    np.testing.assert_array_equal(normalization.instance_norm(x), 0.0)
    # The derivative there is (I - mean) / sqrt(epsilon).
    expected = 1e4 * (jnp.arange(16.0) - 7.5)
    found = jax.jit(jax.grad(total))(x).ravel()
    np.testing.assert_allclose(found, expected, rtol=1e-4)

  def test_bfloat16_keeps_its_type_and_float32_statistics(self):
    # In bfloat16 the mean of 1000 and 1001 would be 1000.
    x = jnp.asarray([1000.0, 1008.0] * 8, jnp.bfloat16).reshape(1, 4, 4, 1)
    found = normalization.instance_norm(x)
    chex.assert_type(found, jnp.bfloat16)
    np.testing.assert_allclose(
      found.astype(jnp.float32).ravel(), [-1.0, 1.0] * 8, atol=1e-2
    )

  def test_modulation(self):
    x = normal(1, 2, 3, 3, 2)
    scale, shift = normal(2, 2, 2), normal(3, 2, 2)
    found = normalization.modulate(x, scale, shift)
    np.testing.assert_allclose(
      found[1, :, :, 0], x[1, :, :, 0] * (1 + scale[1, 0]) + shift[1, 0], rtol=1e-5
    )
    with self.assertRaises(AssertionError):
      normalization.modulate(x, scale[:1], shift[:1])

  def test_spread_of_a_batch(self):
    x = np.zeros((4, 2, 2, 4), np.float32)
    x[2] = 2.0  # examples 0 and 2 are a group, and 1 and 3
    found = normalization.minibatch_stddev(x, group_size=2)
    self.assertEqual(found.shape, (4, 2, 2, 1))
    np.testing.assert_allclose(found[:, 0, 0, 0], [1.0, 1e-4, 1.0, 1e-4], rtol=1e-4)
    x = np.zeros((2, 2, 2, 4), np.float32)
    x[1, ..., 2:] = 4.0  # only the second half of the channels differs
    found = normalization.minibatch_stddev(x, num_features=2)
    np.testing.assert_allclose(found[0, 0, 0], [1e-4, 2.0], rtol=1e-4)

  def test_spread_has_a_gradient_where_examples_agree(self):
    gradient = jax.jit(
      jax.grad(lambda x: jnp.sum(normalization.minibatch_stddev(x, group_size=2)))
    )
    self.assertTrue(np.isfinite(gradient(jnp.ones((4, 1, 2, 2)))).all())

  def test_second_derivatives_of_the_spread(self):
    def slope(x):  # along a direction, as the penalties of gradients need it
      def total(x):
        return jnp.sum(normalization.minibatch_stddev(x, group_size=2) ** 2)

      return jnp.vdot(jax.grad(total)(x), direction)

    with jax.enable_x64(True):
      x, direction, other = np.random.default_rng(0).normal(size=(3, 4, 1, 2, 2))
      along = jax.jit(lambda t: slope(x + t * other))
      ahead, behind = along(1e-5), along(-1e-5)
      second = jnp.vdot(jax.jit(jax.grad(slope))(jnp.asarray(x)), other)
      np.testing.assert_allclose(second, (ahead - behind) / 2e-5, rtol=1e-6)

  def test_a_batch_that_forms_no_groups_is_told(self):
    with self.assertRaisesRegex(ValueError, "6 examples in groups of 4"):
      normalization.minibatch_stddev(jnp.zeros((6, 2, 2, 2)))


if __name__ == "__main__":
  absltest.main()
