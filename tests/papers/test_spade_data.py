"""Tests of spade's readers, on small files in the authors' layouts, and resizing."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import builder, images
from jaxvision.errors import UserError
from jaxvision.papers.spade import data, preprocessing
from jaxvision.papers.spade.preprocessing import Preprocessing, prepare
from jaxvision.papers.spade.variants import DATA_SETS

RNG = np.random.default_rng(0)
SHAPE = (6, 8)


def write_image(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = RNG.integers(256, size=(*SHAPE, 3)).astype(np.uint8)
  (images.write_png if path.suffix == ".png" else images.write_jpeg)(path, pixels)
  return pixels


def write_map(path, classes, dtype=np.uint8):
  path.parent.mkdir(parents=True, exist_ok=True)
  values = RNG.choice(classes, size=SHAPE).astype(dtype)
  values.flat[: len(classes)] = classes
  images.write_png(path, values)
  return values


class ReadersTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data_dir, self.manual = root / "data", root / "manual"

  def load(self, kind, split):
    return builder.load(kind, split, data_dir=self.data_dir, manual_dir=self.manual)

  def test_coco_stuff(self):
    written = {}
    for split, name in (("train", "b"), ("train", "a"), ("val", "c")):
      write_image(self.manual / f"{split}_img/{name}.jpg")
      labels = write_map(self.manual / f"{split}_label/{name}.png", [0, 181, 255])
      instances = write_map(self.manual / f"{split}_inst/{name}.png", [0, 3, 255])
      written[name] = labels, instances
    train, val = self.load(data.CocoStuff, "train"), self.load(data.CocoStuff, "val")
    self.assertEqual((len(train), len(val)), (2, 1))
    example = train[0]
    self.assertEqual(example["image"].shape, (*SHAPE, 3))
    np.testing.assert_array_equal(example["labels"], written["a"][0])
    np.testing.assert_array_equal(example["instances"], written["a"][1])
    np.testing.assert_array_equal(val[0]["labels"], written["c"][0])

  def test_ade20k_anywhere_in_one_tree(self):
    tree = self.manual / "ADEChallengeData2016"
    for split, folder in (("train", "training"), ("val", "validation")):
      write_image(tree / f"images/{folder}/ADE_{split}_00000001.jpg")
      labels = write_map(
        tree / f"annotations/{folder}/ADE_{split}_00000001.png", [0, 1, 150]
      )
    example = self.load(data.Ade20k, "val")[0]
    # As the released model was trained: 0 stays the unknown, 150 stays 150.
    np.testing.assert_array_equal(example["labels"], labels)
    self.assertNotIn("instances", example)

  def test_ade20k_without_a_partner_or_pictures(self):
    (self.manual / "images").mkdir(parents=True)
    with self.assertRaisesRegex(UserError, r"no \*_train_\*.jpg.*sceneparsing"):
      self.load(data.Ade20k, "train")
    write_image(self.manual / "images/ADE_train_1.jpg")
    with self.assertRaisesRegex(UserError, "there is no ADE_train_1.png"):
      self.load(data.Ade20k, "train")

  def test_cityscapes_with_deep_instances(self):
    for split in data.SPLITS:
      stem = "aachen_000000_000019"
      image = write_image(
        self.manual / f"leftImg8bit/{split}/aachen/{stem}_leftImg8bit.png"
      )
      folder = self.manual / f"gtFine/{split}/aachen"
      labels = write_map(folder / f"{stem}_gtFine_labelIds.png", [0, 7, 34])
      instances = write_map(
        folder / f"{stem}_gtFine_instanceIds.png", [7, 26001, 33999], np.uint16
      )
    example = self.load(data.Cityscapes, "val")[0]
    np.testing.assert_array_equal(example["image"], image)
    np.testing.assert_array_equal(example["labels"], labels)
    np.testing.assert_array_equal(example["instances"], instances)

  def facades(self, classes=(0, 12)):
    for split in data.SPLITS:
      write_image(self.manual / f"{split}_img/1.jpg")
      write_map(self.manual / f"{split}_label/1.png", list(classes))

  def test_a_label_that_is_none_names_its_file(self):
    self.facades((0, 13))
    with self.assertRaisesRegex(UserError, r"1\.png: label 13 is none of 0 to 12"):
      self.load(data.Facades, "train")

  def test_unknown_is_refused_where_it_has_no_class(self):
    self.facades((0, 255))
    with self.assertRaisesRegex(UserError, "label 255"):
      self.load(data.Facades, "train")

  def test_missing_and_damaged_files_are_said(self):
    self.manual.mkdir()
    with self.assertRaisesRegex(UserError, "train_img.*tylecr1/facade"):
      self.load(data.Facades, "train")
    self.facades()
    write_image(self.manual / "train_img/2.jpg")
    with self.assertRaisesRegex(UserError, "train_label/2.png: no such file"):
      self.load(data.Facades, "train")
    (self.manual / "train_label/2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with self.assertRaisesRegex(UserError, "train_label/2.png"):
      self.load(data.Facades, "train")
    self.assertFalse(any(self.data_dir.rglob("*.array_record*")))

  def test_one_example_of_the_users_own(self):
    image = write_image(self.manual / "x.png")
    labels = write_map(self.manual / "x_label.png", [0, 150, 255])
    found = data.read_example(
      self.manual / "x.png", self.manual / "x_label.png", None, DATA_SETS["ade20k"]
    )
    np.testing.assert_array_equal(found["image"], image)
    np.testing.assert_array_equal(found["labels"], labels)
    with self.assertRaisesRegex(UserError, "y.png: no such file"):
      data.read_example(
        self.manual / "x.png", self.manual / "y.png", None, DATA_SETS["ade20k"]
      )


class PreparationTest(parameterized.TestCase):
  @parameterized.parameters(
    ("resize_and_crop", (40, 40)),
    ("scale_width", (30, 40)),
    ("scale_width_and_crop", (30, 40)),
    ("scale_shortside", (40, 53)),
    ("crop", (60, 80)),
    ("fixed", (16, 32)),
    ("none", (64, 64)),
  )
  def test_sizes(self, mode, expected):
    options = Preprocessing(mode, load_size=40, crop_size=32, aspect_ratio=2.0)
    self.assertEqual(options.size(60, 80), expected)

  def test_short_side_of_upright_pictures(self):
    options = Preprocessing("scale_shortside", load_size=30)
    self.assertEqual(options.size(80, 60), (40, 30))

  @parameterized.parameters(0, 1, 2, 3)
  def test_picture_and_maps_stay_together(self, seed):
    # Pixels that say where they are, so that cropping and flipping show in all.
    rows, columns = np.mgrid[:20, :24]
    image = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    options = Preprocessing("crop", crop_size=16)
    found = prepare(
      image, rows.astype(np.uint8), columns, options, np.random.default_rng(seed)
    )
    self.assertEqual(found["image"].shape, (16, 16, 3))
    pixels = np.round(255 * found["image"]).astype(int)
    np.testing.assert_array_equal(pixels[..., 0], found["labels"])
    np.testing.assert_array_equal(pixels[..., 1], found["instances"])

  def test_flips_half_and_only_in_training(self):
    image = np.zeros((16, 16, 3), np.uint8)
    columns = np.mgrid[:16, :16][1]
    options = Preprocessing("crop", crop_size=16)
    firsts = [
      prepare(image, columns, None, options, np.random.default_rng(seed))["labels"][
        0, 0
      ]
      for seed in range(40)
    ]
    self.assertEqual(set(firsts), {0, 15})
    self.assertBetween(firsts.count(15), 10, 30)
    self.assertEqual(prepare(image, columns, None, options)["labels"][0, 0], 0)

  def test_labels_are_never_mixed(self):
    labels = RNG.choice([0, 100, 255], size=(20, 30)).astype(np.uint8)
    image = RNG.integers(256, size=(20, 30, 3)).astype(np.uint8)
    options = Preprocessing("resize_and_crop", load_size=47, crop_size=32)
    found = prepare(image, labels, None, options, np.random.default_rng(0))
    self.assertLessEqual(set(np.unique(found["labels"])), {0, 100, 255})
    self.assertEqual(found["labels"].dtype, np.int32)
    self.assertTrue(0 <= found["image"].min() <= found["image"].max() <= 1)

  def test_what_does_not_fit_is_said(self):
    image, labels = np.zeros((10, 12, 3), np.uint8), np.zeros((10, 12), np.uint8)
    with self.assertRaisesRegex(UserError, "x: labels are 11 x 10 .* image is 12 x 10"):
      prepare(image, labels[:, 1:], None, preprocessing.TESTING, name="x")
    with self.assertRaisesRegex(UserError, "12 x 10 pixels are smaller .* 16"):
      prepare(image, labels, None, Preprocessing("crop", crop_size=16))
    with self.assertRaisesRegex(ValueError, "'zoom'"):
      prepare(image, labels, None, Preprocessing("zoom"))


if __name__ == "__main__":
  absltest.main()
