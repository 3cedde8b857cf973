"""Tests of ImageNet's folders and crops."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from jaxvision.data import builder, imagenet, images
from jaxvision.errors import UserError


class ImagenetTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data_dir, self.manual = root / "data", root / "manual"

  def load(self, split):
    return builder.load(
      imagenet.Imagenet, split, data_dir=self.data_dir, manual_dir=self.manual
    )

  def test_folders_are_classes_in_the_order_of_their_names(self):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
      for number, synset in enumerate(("n02", "n01", "n10")):
        folder = self.manual / split / synset
        folder.mkdir(parents=True)
        photograph = rng.integers(256, size=(6, 5 + number, 3), dtype=np.uint8)
        images.write_jpeg(folder / f"{synset}_1.JPEG", photograph)
    train = self.load("train")
    self.assertEqual([train[i]["label"] for i in range(3)], [0, 1, 2])
    # n01 was written second, so its picture is 6 wide.
    self.assertEqual([train[i]["image"].shape[1] for i in range(3)], [6, 5, 7])
    self.assertLen(self.load("val"), 3)

  def test_missing_folders_are_listed(self):
    self.manual.mkdir()
    with self.assertRaisesRegex(UserError, r"missing .*train/\*/\*.JPEG.*image-net"):
      self.load("train")


class CropTest(absltest.TestCase):
  def test_centre_of_a_gradient(self):
    ramp = np.broadcast_to(
      np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], (30, 60, 3)
    )
    crop = imagenet.center_crop(ramp, 8, 30)  # nothing to resize
    np.testing.assert_array_equal(crop, ramp[11:19, 26:34])
    half = imagenet.center_crop(ramp, 14, 15)
    self.assertEqual(half.shape, (14, 14, 3))
    self.assertAlmostEqual(half.mean(), ramp.mean(), delta=3)

  def test_random_parts_stay_inside_and_differ(self):
    # Green is the row, blue the column.
    rows, columns = np.mgrid[:90, :120].astype(np.uint8)
    image = np.stack([np.full_like(rows, 7), rows, columns], axis=-1)
    areas = []
    for seed in range(30):
      crop = imagenet.random_resized_crop(image, 16, np.random.default_rng(seed))
      self.assertEqual(crop.shape, (16, 16, 3))
      self.assertTrue((crop[..., 0] == 7).all())
      height = np.ptp(crop[..., 1].astype(int)) * 16 / 15
      width = np.ptp(crop[..., 2].astype(int)) * 16 / 15
      areas.append(height * width / (90 * 120))
      self.assertBetween(width / height, 0.65, 1.5)
    self.assertBetween(min(areas), 0.05, 0.35)
    self.assertBetween(max(areas), 0.6, 1.05)

  def test_long_images_end_in_the_central_square(self):
    image = np.zeros((4, 400, 3), np.uint8)
    image[:, 198:202] = 255
    crop = imagenet.random_resized_crop(image, 4, np.random.default_rng(0))
    self.assertTrue((crop == 255).all())


if __name__ == "__main__":
  absltest.main()
