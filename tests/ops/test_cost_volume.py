"""Tests of cost volumes and of disparities out of them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import cost_volume


def views():
  rng = np.random.default_rng(0)
  return (rng.standard_normal((2, 3, 6, 2)).astype(np.float32) for _ in range(2))


class CostVolumeTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_concatenation_pairs_x_with_x_minus_i(self):
    left, right = views()
    volume = self.variant(cost_volume.concatenation_volume, static_argnums=2)(
      left, right, 4
    )
    chex.assert_shape(volume, (2, 4, 3, 6, 4))
    for i in range(4):
      np.testing.assert_array_equal(volume[:, i, :, i:, :2], left[:, :, i:])
      np.testing.assert_array_equal(volume[:, i, :, i:, 2:], right[:, :, : 6 - i])
      np.testing.assert_array_equal(volume[:, i, :, :i], 0)

  def test_difference_is_zero_at_the_true_disparity(self):
    left, _ = views()
    right = np.roll(left, -2, axis=2)
    cost = cost_volume.absolute_difference_volume(left, right, 4)
    found = cost_volume.winner_takes_all(cost)
    np.testing.assert_array_equal(found[:, :, 2:], 2)
    np.testing.assert_allclose(cost[:, 2, :, 2:], 0, atol=1e-7)

  def test_what_is_out_of_view_costs_most(self):
    left, right = views()
    cost = cost_volume.absolute_difference_volume(left, right, 3)
    np.testing.assert_allclose(cost[:, 2, :, 0].max(axis=1), cost.max(axis=(1, 2, 3)))
    cost = cost_volume.absolute_difference_volume(left, right, 3, truncation=0.5)
    np.testing.assert_array_equal(cost[:, 1:, :, 0], 0.5)
    self.assertLessEqual(float(cost.max()), 0.5)

  def test_regression_of_a_sharp_minimum_is_exact_and_differentiable(self):
    cost = np.full((1, 5, 1, 2), 1e3, np.float32)
    cost[0, 3, 0, 0] = cost[0, 1, 0, 1] = 0
    np.testing.assert_allclose(
      cost_volume.softmin_disparity(cost), [[[3.0, 1.0]]], rtol=1e-6
    )
    cost = np.random.default_rng(1).standard_normal((1, 5, 1, 2)).astype(np.float32)
    jax.test_util.check_grads(
      cost_volume.softmin_disparity, (cost,), order=1, modes=["rev"], eps=1e-2
    )

  def test_regression_does_not_normalise(self):
    np.testing.assert_allclose(
      cost_volume.expected_disparity(jnp.full((1, 3, 1, 1), 2.0)), 6.0
    )

  def test_unequal_views_are_refused(self):
    left, right = views()
    with self.assertRaises(AssertionError):
      cost_volume.concatenation_volume(left, right[:, :, :5], 3)


if __name__ == "__main__":
  absltest.main()
