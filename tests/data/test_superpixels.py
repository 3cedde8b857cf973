"""Tests of superpixels."""

import numpy as np
import scipy.ndimage
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.data import superpixels


class SuperpixelsTest(absltest.TestCase):
  @settings(max_examples=10, deadline=None)
  @given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 30), st.integers(0, 99))
  def test_labels_are_connected_consecutive_and_not_small(self, h, w, count, seed):
    image = np.random.default_rng(seed).random((h, w, 3))
    labels = superpixels.slic(image, count)
    self.assertEqual(labels.shape, (h, w))
    found, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    np.testing.assert_array_equal(found, np.arange(len(found)))
    self.assertTrue(np.all(np.diff(first) > 0))
    for label in found:
      self.assertEqual(scipy.ndimage.label(labels == label)[1], 1)
    if len(found) > 1:
      self.assertGreaterEqual(sizes.min(), h * w / count / 4 - 1e-9)

  def test_number_is_about_what_is_asked_for(self):
    image = np.random.default_rng(0).random((64, 96, 3)) * 0.05 + 0.5
    found = superpixels.slic(image, 60).max() + 1
    self.assertBetween(found, 40, 75)

  def test_border_of_colours_is_a_border_of_superpixels(self):
    image = np.full((24, 40, 3), (0.9, 0.2, 0.1))
    image[:, 17:] = (0.1, 0.3, 0.9)  # not on the grid of centres
    labels = superpixels.slic(image, 15)
    self.assertEmpty(np.intersect1d(labels[:, :17], labels[:, 17:]))

  def test_image_of_one_colour_is_cut_into_equal_squares(self):
    labels = superpixels.slic(np.full((20, 20, 3), 0.5), 16)
    np.testing.assert_array_equal(np.bincount(labels.ravel()), [25] * 16)
    self.assertEqual(np.unique(labels[:5, :5]).size, 1)

  def test_wrong_shape_is_refused(self):
    with self.assertRaises(AssertionError):
      superpixels.slic(np.zeros((4, 4)), 3)


if __name__ == "__main__":
  absltest.main()
