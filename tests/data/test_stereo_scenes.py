"""Tests of the rendered stereo pairs."""

import numpy as np
from absl.testing import absltest

from jaxvision.data import stereo_scenes


class StereoScenesTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.pairs = stereo_scenes.random_pairs(3, 6, 48, 96, 24)

  def test_right_view_is_the_left_one_moved_by_the_disparity(self):
    y, x = np.mgrid[:48, :96]
    errors, wrong = [], []
    for k in range(6):
      seen = x - self.pairs["disparity"][k]
      column = np.clip(np.floor(seen).astype(int), 0, 94)
      share = (seen - column)[..., None]
      right = self.pairs["right"][k]
      warped = (1 - share) * right[y, column] + share * right[y, column + 1]
      keep = ~self.pairs["occluded"][k] & ~self.pairs["edge"][k]
      difference = np.abs(warped - self.pairs["left"][k])
      errors.append(difference[keep].mean())
      still = np.abs(right - self.pairs["left"][k])
      wrong.append(still[keep].mean())
    self.assertLess(np.mean(errors), 0.02)  # noise, gain, interpolation
    self.assertGreater(np.mean(wrong), 0.04)

  def test_disparities_and_masks_are_in_range(self):
    disparity = self.pairs["disparity"]
    self.assertGreater(disparity.min(), 0)
    self.assertLess(disparity.max(), 24)
    for name in ("occluded", "edge", "textureless"):
      self.assertEqual(self.pairs[name].dtype, bool)
      self.assertBetween(self.pairs[name].mean(), 0.02, 0.8)

  def test_textureless_surfaces_are_flat_but_for_noise(self):
    flat = self.pairs["textureless"] & ~self.pairs["edge"]
    steps = np.abs(np.diff(self.pairs["left"].mean(-1), axis=2))
    self.assertLess(steps[flat[:, :, 1:]].mean(), 0.01)
    self.assertGreater(steps[~flat[:, :, 1:]].mean(), 0.02)

  def test_seeds_are_reproducible_and_different(self):
    again = stereo_scenes.random_pairs(3, 1, 48, 96, 24)
    np.testing.assert_array_equal(again["left"][0], self.pairs["left"][0])
    other = stereo_scenes.random_pairs(4, 1, 48, 96, 24)
    self.assertGreater(np.abs(other["left"][0] - again["left"][0]).mean(), 0.01)

  def test_objects_without_slant_face_the_camera(self):
    for slant in (0.0, 0.12):
      pairs = stereo_scenes.random_pairs(3, 1, 48, 96, 24, slant=slant)
      near = pairs["disparity"][pairs["disparity"] > 0.35 * 24]  # no background
      self.assertEqual(len(np.unique(near)) <= 6, slant == 0)

  def test_textureless_surfaces_may_have_a_rim_with_texture(self):
    rimmed = stereo_scenes.random_pairs(3, 6, 48, 96, 24, rim=6.0)
    np.testing.assert_array_equal(rimmed["disparity"], self.pairs["disparity"])
    flat, before = rimmed["textureless"], self.pairs["textureless"]
    self.assertFalse((flat & ~before).any())
    self.assertBetween(flat.sum() / before.sum(), 0.2, 0.8)
    steps = np.abs(np.diff(rimmed["left"].mean(-1), axis=2))
    rim = before & ~flat & ~self.pairs["edge"]
    self.assertGreater(steps[rim[:, :, 1:]].mean(), 0.02)
    self.assertLess(steps[flat[:, :, 1:] & flat[:, :, :-1]].mean(), 0.01)

  def test_no_scenes_are_refused(self):
    with self.assertRaises(AssertionError):
      stereo_scenes.random_pairs(0, 0, 48, 96, 24)


if __name__ == "__main__":
  absltest.main()
