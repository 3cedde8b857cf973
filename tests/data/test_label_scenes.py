"""Tests of the labelled scenes."""

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import label_scenes
from jaxvision.data.label_scenes import CLASSES, HOUSE, SKY, SUN


class LabelScenesTest(parameterized.TestCase):
  def test_a_seed_makes_the_same_scenes_and_another_others(self):
    first, again = (label_scenes.random_scenes(6, 24, 3) for _ in range(2))
    for name, array in first.items():
      np.testing.assert_array_equal(array, again[name])
    self.assertEqual(first["image"].shape, (6, 24, 24, 3))
    self.assertEqual(first["image"].dtype, np.uint8)
    other = label_scenes.random_scenes(6, 24, 4)
    self.assertFalse(np.array_equal(first["labels"], other["labels"]))
    # More of them begin with the same ones.
    more = label_scenes.random_scenes(7, 24, 3)
    np.testing.assert_array_equal(more["image"][:6], first["image"])

  def test_every_class_and_uniform_maps_occur(self):
    scenes = label_scenes.random_scenes(120, 24, 0)
    self.assertEqual(set(np.unique(scenes["labels"])), set(range(len(CLASSES))))
    alone = [len(np.unique(labels)) == 1 for labels in scenes["labels"]]
    self.assertBetween(np.mean(alone), 0.04, 0.3)

  def test_an_instance_is_of_one_class_in_cells(self):
    rng = np.random.default_rng(1)
    for _ in range(20):
      layout = label_scenes.random_layout(rng, 16)
      for number in np.unique(layout["instances"]):
        found = layout["labels"][layout["instances"] == number]
        self.assertLen(np.unique(found), 1)

  @parameterized.parameters(range(len(CLASSES)))
  def test_light_scales_each_channel_of_a_class(self, label):
    layout = label_scenes.uniform_layout(label, 16)
    pictures = [
      label_scenes.render(
        layout["labels"],
        label_scenes.Look(np.array(gain, np.float32)),
        np.random.default_rng(0),
      ).astype(float)
      for gain in ([0.8, 0.8, 0.8], [0.4, 0.8, 0.2])
    ]
    np.testing.assert_allclose(pictures[0] * [0.5, 1, 0.25], pictures[1], atol=0.76)

  def test_classes_look_different_under_one_light(self):
    white = label_scenes.Look(np.ones(3, np.float32))
    means = [
      label_scenes.render(
        label_scenes.uniform_layout(label, 32)["labels"],
        white,
        np.random.default_rng(0),
      ).mean(axis=(0, 1))
      for label in range(len(CLASSES))
    ]
    for i, one in enumerate(means):
      for other in means[:i]:
        self.assertGreater(np.linalg.norm(one - other), 15)
    self.assertGreater(np.linalg.norm(means[SUN] - means[HOUSE]), 40)
    self.assertGreater(means[SKY][2], means[SKY][0])

  def test_looks_differ_in_warmth_and_brightness(self):
    rng = np.random.default_rng(0)
    gains = np.stack([label_scenes.random_look(rng).gain for _ in range(200)])
    self.assertTrue(np.all(gains > 0))
    warmth = gains[:, 0] / gains[:, 2]
    self.assertLess(warmth.min(), 0.6)
    self.assertGreater(warmth.max(), 1.6)
    self.assertGreater(gains[:, 1].std(), 0.1)


if __name__ == "__main__":
  absltest.main()
