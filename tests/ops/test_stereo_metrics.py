"""Tests of the errors of disparities."""

import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import stereo_metrics


class StereoMetricsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.truth = jnp.array([[[10.0, 100.0], [jnp.inf, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    self.disparity = self.truth + jnp.array(
      [[[3.5, 4.0], [0.0, 9.0]], [[0.5, 1.0], [1.5, 0.0]]]
    )
    self.disparity = jnp.where(jnp.isfinite(self.disparity), self.disparity, 7.0)
    self.mask = stereo_metrics.valid_disparities(self.truth, 192)

  def test_only_known_disparities_in_range_count(self):
    np.testing.assert_array_equal(self.mask[0], [[True, True], [False, False]])
    epe = stereo_metrics.end_point_error(self.disparity, self.truth, self.mask)
    np.testing.assert_allclose(epe, [3.75, 0.75])

  def test_rates(self):
    arguments = self.disparity, self.truth, self.mask
    np.testing.assert_allclose(stereo_metrics.bad_rate(*arguments, 1.0), [1.0, 0.25])
    # 4 of 100 pixels is below 5 %.
    np.testing.assert_allclose(stereo_metrics.d1_rate(*arguments), [0.5, 0.0])

  def test_an_empty_mask_gives_nan(self):
    empty = jnp.zeros_like(self.mask)
    epe = stereo_metrics.end_point_error(self.disparity, self.truth, empty)
    self.assertTrue(np.isnan(epe).all())

  def test_unequal_shapes_are_refused(self):
    with self.assertRaises(AssertionError):
      stereo_metrics.end_point_error(self.disparity[:1], self.truth, self.mask)


if __name__ == "__main__":
  absltest.main()
