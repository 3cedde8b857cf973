"""Tests of spade's readers, on small files in the authors' layouts, and resizing."""

import json
import pathlib
import tempfile
import types

import numpy as np
from absl.testing import absltest, parameterized
from etils import epath
from skimage import draw

from jaxvision.data import builder, images
from jaxvision.errors import UserError
from jaxvision.papers.spade import coco_instances, data, prediction, preprocessing
from jaxvision.papers.spade.preprocessing import Preprocessing, prepare
from jaxvision.papers.spade.variants import DATA_SETS, DataSet

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

  def test_coco_instances_are_painted_from_its_annotations(self):
    square = [2, 2, 5, 2, 5, 4, 2, 4]  # corners counted from 1: columns 1-4, rows 1-3
    triangle = [6.0, 1.0, 8.0, 1.0, 8.0, 6.0]
    crowd = {"counts": [3, 4], "size": [6, 8]}
    for split in data.SPLITS:
      write_image(self.manual / f"{split}_img/000000000785.jpg")
      labels = write_map(self.manual / f"{split}_label/000000000785.png", [0, 181, 255])
      annotations = {
        "images": [{"id": 785, "file_name": "000000000785.jpg"}],
        "annotations": [
          {"id": 1, "image_id": 785, "segmentation": [triangle]},
          {"id": 2, "image_id": 785, "segmentation": crowd, "iscrowd": 1},
          {"id": 3, "image_id": 785, "segmentation": [triangle, square]},
        ],
      }
      path = self.manual / f"annotations/instances_{split}2017.json"
      path.parent.mkdir(exist_ok=True)
      path.write_text(json.dumps(annotations))
    found = self.load(data.CocoStuff, "val")[0]["instances"]
    expected = labels.copy()
    expected[draw.polygon([0, 0, 5], [5, 7, 7], SHAPE)] = 1  # the later one is on top
    expected[1:4, 1:5] = 2
    np.testing.assert_array_equal(found, expected)
    self.assertFalse(list(self.manual.glob(".*part")))

  def test_coco_annotations_that_do_not_fit_are_said(self):
    labels = self.manual / "train_label"
    write_map(labels / "1.png", [0, 1])
    path = self.manual / "instances.json"
    out = self.manual / "train_inst"
    for content, message in (
      ('{"images": []', "instances.json: .*annotation file"),
      ('{"images": [], "annotations": []}', "knows no picture 1"),
    ):
      path.write_text(content)
      with self.assertRaisesRegex(UserError, message):
        coco_instances.write(path, labels, out)
    with self.assertRaisesRegex(UserError, "other.json: no such file"):
      coco_instances.write(self.manual / "other.json", labels, out)
    self.assertFalse(out.exists())

  def test_flickr_has_cocos_classes_without_instances(self):
    for split in data.SPLITS:
      image = write_image(self.manual / f"{split}_img/lake.jpg")
      labels = write_map(self.manual / f"{split}_label/lake.png", [0, 181, 255])
    example = self.load(data.Flickr, "val")[0]
    np.testing.assert_array_equal(example["labels"], labels)
    self.assertEqual(example["image"].shape, image.shape)
    self.assertNotIn("instances", example)

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


class BatchesTest(absltest.TestCase):
  def test_examples_of_every_data_set_have_the_batches_shapes(self):
    for name, kind in DATA_SETS.items():
      image = RNG.integers(256, size=(300, 320, 3)).astype(np.uint8)
      example = {"image": image, "labels": image[..., 0] % kind.num_classes}
      if kind.instances:
        example["instances"] = image[..., 1]
      options = Preprocessing("fixed", 0, kind.crop_size, kind.aspect_ratio)
      found = data.to_batch(options)(example, np.random.default_rng(0))
      shapes = data.batch_shapes(1, kind)
      self.assertEqual(set(found), set(shapes), name)
      for key, array in found.items():
        self.assertEqual((1, *array.shape), shapes[key].shape)
        self.assertEqual(array.dtype, shapes[key].dtype)


class PredictionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.classes = DataSet(3, False, True, crop_size=4)

  def test_label_maps_pictures_and_instances_are_told_apart(self):
    labels = write_map(self.folder / "a_label.png", [0, 1, 2])
    instances = write_map(self.folder / "a_inst.png", [0, 700], np.uint16)
    found = prediction.read(self.folder / "a_label.png", self.classes)
    columns, rows = np.arange(4) * 2 + 1, [0, 2, 3, 5]
    for name, array in (("labels", labels), ("instances", instances)):
      np.testing.assert_array_equal(found.maps[name], array[np.ix_(rows, columns)])
    self.assertEqual(found.instances.name, "a_inst.png")

    palette = np.uint8([[0, 0, 0], [255, 0, 0], [0, 255, 0]])
    images.write_labels(self.folder / "b.png", labels, palette)
    found = prediction.read(self.folder / "b.png", self.classes)
    self.assertIsNone(found.instances)
    np.testing.assert_array_equal(found.maps["instances"], found.maps["labels"])

    write_image(self.folder / "style.png")
    style = prediction.read(self.folder / "style.png", self.classes)
    self.assertEqual(style.image.shape, (4, 4, 3))
    self.assertTrue(0 <= style.image.min() < style.image.max() <= 1)

  def test_what_is_wrong_is_said(self):
    write_map(self.folder / "a.png", [0, 3])
    write_map(self.folder / "b_label.png", [0, 2])
    images.write_png(self.folder / "b_inst.png", np.zeros((2, 2), np.uint8))
    (self.folder / "c.png").write_bytes(b"")
    for name, message in (
      ("a.png", "a.png: label 3 is none of 0 to 2"),
      ("b_label.png", "b_inst.png: its size"),
      ("c.png", "c.png: not a PNG"),
      ("d.png", "d.png: no such file"),
    ):
      with self.assertRaisesRegex(UserError, message):
        prediction.read(self.folder / name, self.classes)

  def label(self, name):
    maps = {"labels": np.ones((4, 4), np.int32)}
    return prediction.LabelMap(epath.Path(name), maps, None)

  def test_every_label_map_in_every_style(self):
    class Maker:
      networks = types.SimpleNamespace(latent=3)

      def __call__(self, batch, key, style_images=None):
        shade = 0.25 if style_images is None else style_images.mean()
        return np.full((*batch["labels"].shape, 3), shade, np.float32)

    labels = [self.label("x/a.png"), self.label("y/a.png")]
    style = prediction.StylePicture(epath.Path("s.jpg"), np.ones((4, 4, 3)))
    made = prediction.synthesize(Maker(), labels, [style], 2, 0)
    self.assertEqual([name for name, *_ in made], ["a-s.png", "a-s-again1.png"])
    drawn = prediction.synthesize(Maker(), labels[:1], [], 2, 0)
    self.assertEqual([name for name, *_ in drawn], ["a-0.png", "a-1.png"])
    rows = prediction.write(epath.Path(self.folder), made + drawn)
    self.assertEqual(images.read_rgb(self.folder / "a-s.png").min(), 255)
    self.assertEqual(images.read_rgb(self.folder / "a-1.png").max(), 64)
    self.assertEqual(rows, json.loads((self.folder / "predictions.json").read_text()))

  def test_nothing_is_written_of_images_that_are_not_finite(self):
    row = {"file": "a.png"}
    made = [
      ("a.png", np.zeros((4, 4, 3)), row),
      ("b.png", np.full((4, 4, 3), np.nan), row),
    ]
    with self.assertRaisesRegex(UserError, "a.png: .* not finite"):
      prediction.write(epath.Path(self.folder), made)
    self.assertFalse(list(self.folder.iterdir()))


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
