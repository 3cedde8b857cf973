"""Tests of procedural videos with sound for two ears."""

import numpy as np
from absl.testing import absltest

from jaxvision.data import binaural_scenes
from jaxvision.data.binaural_scenes import Scenes


class ScenesTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.scenes = Scenes(seconds=0.5, height=24, width=48)
    cls.made = cls.scenes.draw(3, 40)
    cls.single = cls.scenes.draw(4, 40, (1,))

  def test_shapes_and_ranges(self):
    self.assertEqual(self.made["audio"].shape, (40, 2000, 2))
    self.assertEqual(self.made["audio"].dtype, np.float32)
    self.assertEqual(self.made["frames"].shape, (40, 5, 24, 48, 3))
    self.assertTrue(np.all(np.isfinite(self.made["audio"])))
    counts = np.sum(self.made["kinds"] >= 0, axis=1)
    self.assertEqual(set(counts), {1, 2, 3})
    for kinds in self.made["kinds"]:
      seen = kinds[kinds >= 0]
      self.assertLen(set(seen), len(seen))

  def test_the_louder_ear_is_on_the_side_of_what_is_seen(self):
    energy = np.sum(np.square(self.single["audio"]), axis=1)
    columns = self.single["positions"][:, 0, 1]
    is_right = columns > 24 + 4
    is_left = columns < 24 - 4
    self.assertGreater(is_right.sum(), 5)
    self.assertGreater(is_left.sum(), 5)
    self.assertTrue(np.all(energy[is_right, 1] > energy[is_right, 0]))
    self.assertTrue(np.all(energy[is_left, 0] > energy[is_left, 1]))

  def test_the_kinds_colour_is_seen_where_it_is(self):
    colors = binaural_scenes._COLORS
    for index in range(10):
      kind = self.single["kinds"][index, 0]
      if kind == 3:
        continue  # a ring, hollow in the middle
      row, column = np.round(self.single["positions"][index, 0]).astype(int)
      seen = self.single["frames"][index, 0, row, column] / 255
      np.testing.assert_allclose(seen, colors[kind], atol=0.01)

  def test_a_seed_gives_the_same_scenes(self):
    again = self.scenes.draw(3, 40)
    for name, array in self.made.items():
      np.testing.assert_array_equal(array, again[name])
    other = self.scenes.draw(5, 40)
    self.assertGreater(np.abs(other["audio"] - again["audio"]).max(), 0.1)


if __name__ == "__main__":
  absltest.main()
