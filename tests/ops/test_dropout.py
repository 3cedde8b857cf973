"""Tests of cheap dropout."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import dropout

KEY = jax.random.key(0)


class DropoutTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.parameters(0.0, 0.2, 0.7)
  def test_rate_of_rows_columns_and_all(self, rate):
    mask = self.variant(dropout.keep_mask, static_argnums=(1, 2))(
      KEY, (2, 500, 400), rate
    )
    self.assertEqual((mask.shape, mask.dtype), ((2, 500, 400), bool))
    deviation = np.sqrt(rate * (1 - rate))
    self.assertLessEqual(abs(mask.mean() - (1 - rate)), 5 * deviation / 400_000**0.5)
    for axis, count in ((1, 500), (2, 400)):
      means = mask.mean(axis=axis)
      self.assertLessEqual(np.abs(means - (1 - rate)).max(), 6 * deviation / count**0.5)
      self.assertLess(means.std(), 1.2 * deviation / count**0.5 + 1e-9)

  def test_masks_of_neighbours_and_of_other_keys_are_independent(self):
    mask = np.asarray(dropout.keep_mask(KEY, (1000, 64), 0.5)) - 0.5
    other = np.asarray(dropout.keep_mask(jax.random.key(1), (1000, 64), 0.5)) - 0.5
    rows, columns = 4 * mask @ mask.T / 64, 4 * mask.T @ mask / 1000
    for correlation, count in ((rows, 64), (columns, 1000)):
      off = correlation[~np.eye(len(correlation), dtype=bool)]
      self.assertLess(off.std(), 1.3 / count**0.5)
    self.assertLess(abs(4 * np.mean(mask * other)), 5 / 64_000**0.5)
    np.testing.assert_array_equal(mask + 0.5, dropout.keep_mask(KEY, (1000, 64), 0.5))

  def test_what_is_kept_is_scaled(self):
    x = jax.random.normal(KEY, (50, 30))
    kept = dropout.keep_mask(KEY, x.shape, 0.2)
    np.testing.assert_allclose(
      dropout.dropout(x, KEY, 0.2), jnp.where(kept, x / 0.8, 0), rtol=1e-6
    )
    np.testing.assert_allclose(
      dropout.relu_dropout(x, KEY, 0.2),
      dropout.dropout(jax.nn.relu(x), KEY, 0.2),
      rtol=1e-6,
    )
    with self.assertRaises(AssertionError):
      dropout.dropout(x, KEY, 1.0)

  def test_gradient_is_that_of_its_definition(self):
    x = jax.random.normal(KEY, (20, 10))
    weight = jax.random.normal(jax.random.key(3), x.shape)

    def fused(x):
      return jnp.sum(weight * dropout.relu_dropout(x, KEY, 0.3))

    def plain(x):
      return jnp.sum(weight * dropout.dropout(jax.nn.relu(x), KEY, 0.3))

    np.testing.assert_allclose(jax.grad(fused)(x), jax.grad(plain)(x), rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
