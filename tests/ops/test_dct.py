"""Tests of the block DCT."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from absl.testing import absltest

from jaxvision.ops import dct


class DctTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_agrees_with_scipy_on_every_block(self):
    images = np.random.default_rng(0).uniform(size=(2, 16, 24, 3)).astype(np.float32)
    coefficients = self.variant(dct.block_dct)(images)
    chex.assert_shape(coefficients, (2, 2, 8, 3, 8, 3))
    blocks = images.reshape(2, 2, 8, 3, 8, 3)
    expected = scipy.fft.dctn(blocks, axes=(2, 4), norm="ortho")
    np.testing.assert_allclose(coefficients, expected, atol=1e-5)
    np.testing.assert_allclose(
      self.variant(dct.block_idct)(coefficients), images, atol=1e-6
    )

  def test_channels_are_mixed_on_the_way(self):
    rng = np.random.default_rng(1)
    images = rng.uniform(size=(8, 16, 3)).astype(np.float32)
    mix = rng.normal(size=(2, 3))
    mixed = (images @ mix.T).astype(np.float32)
    np.testing.assert_allclose(
      dct.block_dct(images, mix=mix), dct.block_dct(mixed), atol=2e-5
    )
    coefficients = dct.block_dct(images)
    np.testing.assert_allclose(dct.block_idct(coefficients, mix=mix), mixed, atol=2e-6)

  def test_integers_are_summed_exactly(self):
    blocks = np.full((1, 8, 1, 8, 1), 1 << 16, np.int32)
    matrix = np.full((8, 8), 2047, np.int32)
    expected = 8 * 2047 * (1 << 16)
    for transform in (dct.transform_rows, dct.transform_columns):
      result = transform(jnp.asarray(blocks), matrix)
      self.assertEqual(result.dtype, jnp.int32)
      np.testing.assert_array_equal(result, np.full_like(blocks, expected))

  def test_gradient_is_the_transposed_transform(self):
    images = jax.random.normal(jax.random.key(0), (8, 8, 1))
    weights = jax.random.normal(jax.random.key(1), (1, 8, 1, 8, 1))
    gradient = jax.jit(jax.grad(lambda x: jnp.vdot(weights, dct.block_dct(x))))(images)
    np.testing.assert_allclose(gradient, dct.block_idct(weights), atol=1e-5)

  def test_sizes_that_are_no_multiples_of_eight_are_refused(self):
    with self.assertRaisesRegex(AssertionError, "divisible"):
      dct.block_dct(jnp.zeros((8, 12, 3)))
    with self.assertRaisesRegex(AssertionError, "shape"):
      dct.block_idct(jnp.zeros((1, 8, 1, 4, 3)))


if __name__ == "__main__":
  absltest.main()
