"""Tests of the images of plants and eyes."""

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import counting_scenes


class CountingScenesTest(parameterized.TestCase):
  @parameterized.parameters(counting_scenes.random_plants, counting_scenes.random_eyes)
  def test_a_seed_makes_the_same_and_another_others(self, make):
    first, again, more = make(4, 32, 5), make(4, 32, 5), make(6, 32, 5)
    for name, array in first.items():
      np.testing.assert_array_equal(array, again[name])
      np.testing.assert_array_equal(array, more[name][:4])
    self.assertEqual(first["image"].shape, (4, 32, 32, 3))
    self.assertEqual(first["image"].dtype, np.uint8)
    self.assertFalse(np.array_equal(first["image"], make(4, 32, 6)["image"]))

  def test_numbers_from_fewest_to_most(self):
    scenes = counting_scenes.random_plants(80, 64, 0, most=4, fewest=1)
    self.assertEqual(set(scenes["valid"].sum(axis=1)), {1, 2, 3, 4})
    self.assertEqual(scenes["points"].shape, (80, 4, 2))
    inside = scenes["points"][scenes["valid"]]
    self.assertTrue(np.all((inside >= 0) & (inside <= 63)))
    self.assertTrue(np.all(scenes["points"][~scenes["valid"]] == -1))
    empty = counting_scenes.random_plants(30, 32, 1)["valid"].sum(axis=1)
    self.assertEqual((empty.min(), empty.max() <= 12), (0, True))

  def test_plants_are_greener_than_soil(self):
    scenes = counting_scenes.random_plants(20, 64, 2, fewest=1)
    greener = []
    for image, points, valid in zip(*scenes.values(), strict=True):
      green = image[..., 1].astype(float) - image[..., 0]
      rows, columns = np.round(points[valid]).astype(int).T
      greener.append(green[rows, columns] > np.median(green))
    self.assertGreater(np.mean(np.concatenate(greener)), 0.95)

  def test_pupils_are_dark(self):
    scenes = counting_scenes.random_eyes(20, 64, 3)
    rows, columns = np.round(scenes["points"][:, 0]).astype(int).T
    pupils = scenes["image"][np.arange(20), rows, columns].mean(axis=-1)
    self.assertLess(np.median(pupils), 30)
    self.assertGreater(np.median(scenes["image"].mean(axis=(1, 2, 3))), 50)


if __name__ == "__main__":
  absltest.main()
