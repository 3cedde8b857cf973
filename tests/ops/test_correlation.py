"""Tests of the local correlation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops.correlation import local_correlation, unit_length

correlation = jax.jit(local_correlation, static_argnames="radius")


def by_hand(first, second, radius):
  """The definition, pixel by pixel."""
  _, height, width, _ = first.shape
  side = 2 * radius + 1
  cost = np.zeros((*first.shape[:3], side * side))
  for y, x in np.ndindex(height, width):
    for k, (dy, dx) in enumerate(np.ndindex(side, side)):
      row, column = y + dy - radius, x + dx - radius
      if 0 <= row < height and 0 <= column < width:
        cost[:, y, x, k] = np.sum(first[:, y, x] * second[:, row, column], axis=-1)
  return cost


class CorrelationTest(chex.TestCase):
  @settings(max_examples=6, deadline=None)
  @given(st.integers(1, 4), st.integers(1, 21), st.integers(0, 3), st.integers(0, 99))
  def test_is_the_inner_product_with_every_neighbour(self, height, width, radius, seed):
    rng = np.random.default_rng(seed)
    pair = rng.normal(size=(2, 2, height, width, 3)).astype(np.float32)
    ours = correlation(*pair, radius=radius)
    np.testing.assert_allclose(ours, by_hand(*pair, radius), atol=1e-5)

  @chex.variants(with_jit=True, without_jit=True)
  def test_shifted_image_is_found_where_it_went(self):
    features = unit_length(jax.random.normal(jax.random.key(0), (1, 12, 40, 8)))
    moved = jnp.roll(features, (2, -3), axis=(1, 2))
    cost = self.variant(local_correlation)(features, moved)
    best = jnp.argmax(cost[:, :-2, 4:], axis=-1)  # what stays inside
    np.testing.assert_array_equal(best, (2 + 4) * 9 - 3 + 4)
    np.testing.assert_allclose(jnp.max(cost[:, :-2, 4:], axis=-1), 1.0, rtol=1e-5)

  def test_gradients_agree_with_finite_differences(self):
    with jax.enable_x64(True):
      pair = jax.random.normal(jax.random.key(1), (2, 1, 3, 18, 2), jnp.float64)

      @jax.jit
      def cost(first, second):
        return local_correlation(unit_length(first), second, radius=1)

      jax.test_util.check_grads(cost, tuple(pair), 1, modes=["rev"])

  def test_zero_features_have_length_zero_and_finite_gradient(self):
    np.testing.assert_array_equal(unit_length(jnp.zeros((2, 3))), 0.0)
    gradient = jax.grad(lambda x: unit_length(x).sum())(jnp.zeros((2, 3)))
    self.assertTrue(np.all(np.isfinite(gradient)))

  def test_unequal_images_are_refused(self):
    with self.assertRaises(AssertionError):
      local_correlation(jnp.zeros((1, 4, 5, 2)), jnp.zeros((1, 4, 6, 2)))


if __name__ == "__main__":
  absltest.main()
