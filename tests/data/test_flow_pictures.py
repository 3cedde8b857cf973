"""Tests of the colours of flow."""

import numpy as np
from absl.testing import absltest

from jaxvision.data import flow_pictures


class FlowPicturesTest(absltest.TestCase):
  def test_wheel_has_the_published_hues(self):
    wheel = flow_pictures.color_wheel()
    self.assertEqual(wheel.shape, (55, 3))
    np.testing.assert_array_equal(wheel[0], [1, 0, 0])
    np.testing.assert_array_equal(wheel[15], [1, 1, 0])
    np.testing.assert_array_equal(wheel[25], [0, 1, 1])
    np.testing.assert_allclose(wheel.max(axis=1), 1.0)

  def test_right_is_red_still_is_white_long_is_dark_unknown_is_black(self):
    flow = np.array([[[1.0, 0.0], [0.0, 0.0], [2.0, 0.0], [np.nan, 0.0], [2e9, 0.0]]])
    right, still, long, nan, unknown = flow_pictures.flow_picture(flow, largest=1.0)[0]
    np.testing.assert_allclose(right, [1, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(still, 1.0)
    np.testing.assert_allclose(long, [0.75, 0, 0], atol=1e-6)
    np.testing.assert_array_equal([nan, unknown], 0.0)

  def test_opposite_directions_differ_and_the_own_largest_is_saturated(self):
    axis = np.linspace(-3, 3, 13)
    flow = np.stack(np.meshgrid(axis, axis), axis=-1)
    picture = flow_pictures.flow_picture(flow)
    self.assertGreater(np.abs(picture - picture[::-1, ::-1])[0].max(), 0.5)
    np.testing.assert_allclose(picture[0, 0].min(), 0.0, atol=1e-6)
    np.testing.assert_array_equal(flow_pictures.flow_picture(0 * flow), 1.0)

  def test_legend_is_a_disc(self):
    legend = flow_pictures.wheel_picture(33)
    np.testing.assert_array_equal(legend[0, 0], 1.0)
    np.testing.assert_allclose(legend[16, 32], [1, 0, 0], atol=1e-5)


if __name__ == "__main__":
  absltest.main()
