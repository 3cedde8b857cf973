"""Tests of the digits."""

import numpy as np
from absl.testing import absltest
from sklearn import datasets

from jaxvision.data.digits import digits


class DigitsTest(absltest.TestCase):
  def test_every_digit_is_in_one_split_with_its_label(self):
    train, test = digits()["train"], digits()["test"]
    self.assertEqual(train["image"].shape, (1200, 8, 8, 1))
    self.assertEqual(test["image"].shape, (597, 8, 8, 1))
    self.assertEqual((train["image"].min(), train["image"].max()), (0.0, 1.0))
    images = np.concatenate([train["image"], test["image"]])[..., 0]
    labels = np.concatenate([train["label"], test["label"]])
    found = datasets.load_digits()

    def rows(images, labels):
      return sorted(map(tuple, np.c_[images.reshape(len(images), -1), labels].tolist()))

    self.assertEqual(rows(images, labels), rows(found.images / 16, found.target))
    self.assertGreater(min(np.bincount(test["label"])), 40)


if __name__ == "__main__":
  absltest.main()
