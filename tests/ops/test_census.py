"""Tests of the census transform."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops import census

GREY = 255 * jax.random.uniform(jax.random.key(0), (2, 9, 10))


class CensusTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_entries_are_soft_signs_of_differences_row_by_row(self):
    ours = self.variant(census.census_transform)(GREY)
    self.assertEqual(ours.shape, (2, 49, 9, 10))
    difference = GREY[:, 2, 7] - GREY[:, 4, 5]  # two rows up, two columns right
    expected = difference / np.sqrt(0.81 + difference**2)
    np.testing.assert_allclose(ours[:, 1 * 7 + 5, 4, 5], expected, rtol=1e-5)
    np.testing.assert_array_equal(ours[:, 24], 0.0)
    corner = -GREY[:, 0, 0]  # outside is 0
    np.testing.assert_allclose(
      ours[:, 0, 0, 0], corner / np.sqrt(0.81 + corner**2), rtol=1e-5
    )

  @settings(max_examples=10, deadline=None)
  @given(st.floats(-40, 40, width=32))
  def test_brighter_image_is_the_same_inside(self, constant):
    pair = [census.census_transform(GREY + c) for c in (0.0, constant)]
    distance = census.census_distance(*pair)[:, 3:-3, 3:-3]
    np.testing.assert_allclose(distance, 0.0, atol=1e-3)

  def test_distance_saturates_and_is_symmetric(self):
    opposite = jnp.ones((1, 8, 2, 2))
    distance = census.census_distance(opposite, -opposite)
    np.testing.assert_allclose(distance, 8 * 4 / 4.1, rtol=1e-6)

  def test_gradients_agree_with_finite_differences(self):
    with jax.enable_x64(True):
      grey = jax.random.uniform(jax.random.key(1), (2, 1, 4, 5), jnp.float64) * 4

      @jax.jit
      def distance(first, second):
        pair = [census.census_transform(x, radius=1) for x in (first, second)]
        return census.census_distance(*pair)

      jax.test_util.check_grads(distance, tuple(grey), 1, modes=["rev"])

  def test_interior_and_luminance(self):
    inside = census.interior(5, 6, 2)
    np.testing.assert_array_equal(np.argwhere(inside), [[2, 2], [2, 3]])
    np.testing.assert_allclose(
      census.luminance_255(jnp.eye(3)), [76.2195, 149.685, 29.07], rtol=1e-5
    )
    with self.assertRaises(AssertionError):
      census.luminance_255(jnp.zeros((2, 2, 1)))


if __name__ == "__main__":
  absltest.main()
