"""Tests of weighted_hausdorff's data, extraction of points and predictions."""

import json
import pathlib
import tempfile

import numpy as np
import scipy.io
from absl.testing import absltest, parameterized
from etils import epath
from skimage import transform

from jaxvision.data import builder, images, point_files
from jaxvision.errors import UserError
from jaxvision.papers.weighted_hausdorff import (
  coins,
  data,
  dataset,
  evaluation,
  extraction,
  figures,
  prediction,
)

SHAPE = (16, 16)


def spots(size, centers, sigma=2.0):
  """Returns a map [size, size] with a smooth spot at each centre."""
  y, x = np.mgrid[:size, :size]
  squares = [np.square(y - row) + np.square(x - column) for row, column in centers]
  return np.exp(-np.min(squares, axis=0) / (2 * sigma**2)).astype(np.float32)


class PrepareTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.example = {
      "name": "one.png",
      "image": rng.integers(0, 256, (20, 32, 3)).astype(np.uint8),
      "points": np.array([(0, 0), (19, 31), (10, 4)], np.float32),
    }

  def prepare(self, example, rng=None, **options):
    arguments = {"shape": SHAPE, "most_points": 5} | options
    return data.prepare(example, rng, **arguments)

  def test_points_are_scaled_rounded_and_padded(self):
    found = self.prepare(self.example)
    np.testing.assert_array_equal(found["points"][:3], [(0, 0), (15, 16), (8, 2)])
    np.testing.assert_array_equal(found["points"][3:], -1)
    np.testing.assert_array_equal(found["valid"], [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(found["size"], (20, 32))
    self.assertEqual(found["image"].shape, (*SHAPE, 3))
    self.assertTrue(np.all((found["image"] >= 0) & (found["image"] <= 1)))

  def test_flips_move_points_with_their_pixels(self):
    image = np.zeros((16, 16, 3), np.uint8)
    image[3, 5] = 255
    example = {"image": image, "points": np.array([(3, 5)], np.float32)}
    seen = set()
    for seed in range(12):
      found = self.prepare(example, np.random.default_rng(seed))
      row, column = found["points"][0].astype(int)
      self.assertEqual(found["image"][row, column].sum(), 3)
      seen.add((row, column))
    self.assertEqual(seen, {(3, 5), (12, 5), (3, 10), (12, 10)})
    for seed in range(12):
      found = self.prepare(example, np.random.default_rng(seed), flips=(True, False))
      self.assertEqual(found["points"][0, 0], 3)

  def test_no_points_at_all(self):
    for points in (np.zeros((0, 2)), np.array([])):
      found = self.prepare(self.example | {"points": points})
      self.assertFalse(np.any(found["valid"]))

  @parameterized.parameters(
    (np.zeros((6, 2)), 5, "one.png: 6 points, more than --config.most_points=5"),
    (np.zeros((257, 2)), 999, "257 points, more than the 256 pixels of a map"),
    (np.array([(3, 40)]), 5, r"the point \(3, 40\) lies outside the image of 20 x 32"),
    (np.array([(-3, 4)]), 5, r"the point \(-3, 4\) lies outside"),
  )
  def test_points_that_cannot_be_are_said(self, points, most, message):
    with self.assertRaisesRegex(UserError, message):
      self.prepare(self.example | {"points": points}, most_points=most)


class DataSetTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.manual = self.folder / "manual"
    self.manual.mkdir()

  def load(self, which, split):
    return builder.load(
      which, split, data_dir=self.folder / "built", manual_dir=self.manual
    )

  def picture(self, name, value=7):
    path = self.manual / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":
      images.write_jpeg(path, np.full((12, 16, 3), value, np.uint8))
    else:
      images.write_png(path, np.full((12, 16, 3), value, np.uint8))

  def test_csv_is_split_once(self):
    points = {}
    for index in range(20):
      self.picture(f"{index}.png", index)
      points[f"{index}.png"] = np.tile((index % 12, 3), (index % 3, 1))
    point_files.write_csv(self.manual / "gt.csv", points)
    found = {split: self.load(dataset.CsvPoints, split) for split in dataset.SPLITS}
    self.assertEqual([len(some) for some in found.values()], [16, 2, 2])
    names = set()
    for some in found.values():
      for index in range(len(some)):
        example = some[index]
        name = example["name"].decode()
        np.testing.assert_array_equal(example["points"], points[name])
        self.assertEqual(example["image"][0, 0, 0], int(name.removesuffix(".png")))
        names.add(name)
    self.assertEqual(names, set(points))
    prepared = data.prepare(found["train"][0], None, shape=SHAPE, most_points=3)
    self.assertEqual(prepared["image"].shape, (*SHAPE, 3))

  def test_csv_in_folders(self):
    for split in dataset.SPLITS:
      self.picture(f"{split}/a.png")
      point_files.write_csv(self.manual / split / "gt.csv", {"a.png": [(1, 2)]})
    self.assertLen(self.load(dataset.CsvPoints, "validation"), 1)

  def test_csv_that_names_no_picture(self):
    point_files.write_csv(self.manual / "gt.csv", {"a.png": [(1, 2)]})
    with self.assertRaisesRegex(UserError, "gt.csv: there is no a.png beside it"):
      self.load(dataset.CsvPoints, "train")

  def test_missing_files_are_listed(self):
    with self.assertRaisesRegex(UserError, "seq_.*mall_gt.mat.*mall_dataset.zip"):
      self.load(dataset.Mall, "train")
    self.picture("test/a.png")
    point_files.write_csv(self.manual / "test" / "gt.csv", {"a.png": []})
    with self.assertRaisesRegex(UserError, "neither gt.csv nor train/gt.csv"):
      self.load(dataset.CsvPoints, "train")

  def test_mall(self):
    for number in range(1, 11):
      self.picture(f"frames/seq_{number:06d}.jpg")
    # MATLAB's (x, y) from 1; a frame with one head, and one with none.
    heads = [[(5.0, 3.0), (8.0, 9.0)], [(2.0, 1.0)], np.zeros((0, 2))] + [[(1, 1)]] * 7
    frame = np.empty((1, 10), object)
    for index, some in enumerate(heads):
      frame[0, index] = {"loc": np.array(some, float)}
    content = {"frame": frame, "count": np.array([len(some) for some in heads])}
    scipy.io.savemat(self.manual / "mall_gt.mat", content)
    found = {}
    for split in dataset.SPLITS:
      some = self.load(dataset.Mall, split)
      found |= {some[i]["name"].decode(): some[i]["points"] for i in range(len(some))}
    self.assertLen(found, 10)
    np.testing.assert_array_equal(found["seq_000001.jpg"], [(2, 4), (8, 7)])
    np.testing.assert_array_equal(found["seq_000002.jpg"], [(0, 1)])
    self.assertEqual(found["seq_000003.jpg"].shape, (0, 2))

  def test_mall_with_frames_too_few_or_another_file(self):
    self.picture("frames/seq_000001.jpg")
    frame = np.empty((1, 2), object)
    frame[0, 0] = frame[0, 1] = {"loc": np.ones((1, 2))}
    scipy.io.savemat(self.manual / "mall_gt.mat", {"frame": frame})
    with self.assertRaisesRegex(UserError, "1 frames, but mall_gt.mat tells of 2"):
      self.load(dataset.Mall, "train")
    scipy.io.savemat(self.manual / "mall_gt.mat", {"other": frame})
    with self.assertRaisesRegex(UserError, "mall_gt.mat: damaged or not a"):
      self.load(dataset.Mall, "train")

  def test_streets(self):
    for part, count in (("train", 3), ("test", 2)):
      for number in range(1, count + 1):
        self.picture(f"{part}_data/images/IMG_{number}.jpg")
        info = np.empty((1, 1), object)
        info[0, 0] = {"location": np.array([(4.5, 2.5)] * number), "number": number}
        folder = self.manual / f"{part}_data" / "ground_truth"
        folder.mkdir(exist_ok=True)
        scipy.io.savemat(folder / f"GT_IMG_{number}.mat", {"image_info": info})
    test = self.load(dataset.ShanghaiTechB, "test")
    self.assertEqual([len(test[i]["points"]) for i in range(2)], [1, 2])
    np.testing.assert_array_equal(test[0]["points"], [(1.5, 3.5)])
    self.assertLen(self.load(dataset.ShanghaiTechB, "train"), 2)
    self.assertLen(self.load(dataset.ShanghaiTechB, "validation"), 1)


class CoinsTest(absltest.TestCase):
  def test_halves_hold_all_coins(self):
    halves = coins.halves()
    self.assertEqual(halves["train"]["image"].shape, (303, 188, 3))
    for half in halves.values():
      self.assertLen(half["points"], 12)
      rows, columns = half["points"].astype(int).T
      # Coins are brighter than what they lie on.
      bright = half["image"][rows, columns, 0].mean()
      self.assertGreater(bright, half["image"].mean() + 20)
    self.assertEqual(sum(len(tile["points"]) for tile in coins.tiles()), 12)

  def test_crops_keep_what_is_inside(self):
    crops = coins.crops(30, 48, 0, "test")
    self.assertEqual(crops["image"].shape, (30, 48, 48, 3))
    counts = crops["valid"].sum(axis=1)
    self.assertBetween(counts.min(), 1, 6)
    self.assertBetween(counts.max(), 5, coins.MOST)
    inside = crops["points"][crops["valid"]]
    self.assertTrue(np.all((inside >= 0) & (inside < 48)))


class ExtractionTest(parameterized.TestCase):
  @parameterized.parameters((12, 9, 23, 31), (24, 40, 9, 50), (16, 16, 16, 16))
  def test_resizes_as_skimage(self, height, width, rows, columns):
    saliency = np.random.default_rng(0).random((height, width))
    theirs = transform.resize(saliency, (rows, columns), order=1, mode="constant")
    ours = extraction.resize_map(saliency, (rows, columns))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)

  @parameterized.parameters(*extraction.METHODS, 0.5)
  def test_finds_spots_in_pixels_of_the_original(self, method):
    centers = np.array([(6, 8), (20, 25), (26, 5)])
    found = extraction.locate(spots(32, centers), 3.2, (64, 96), method=method)
    self.assertEqual(found.points.shape, (3, 2))
    self.assertEqual(found.points.dtype.kind, "i")
    scaled = (centers + 0.5) * (2, 3) - 0.5
    away = np.linalg.norm(found.points[:, None] - scaled, axis=-1)
    self.assertLess(away.min(axis=1).max(), 2.0)
    self.assertLess(away.min(axis=0).max(), 2.0)
    self.assertEqual(found.mask.shape, (64, 96))

  def test_fixed_and_adaptive_comparisons(self):
    saliency = np.array([[0.0, 0.3], [0.5, 1.0]], np.float32)
    np.testing.assert_array_equal(
      extraction.threshold(saliency, 0.5).mask, [[0, 0], [1, 1]]
    )
    otsu = extraction.threshold(saliency, extraction.OTSU)
    np.testing.assert_array_equal(otsu.mask, [[0, 0], [0, 1]])  # level 128 is not above
    self.assertAlmostEqual(float(otsu.value), 128 / 255, places=5)
    with self.assertRaisesRegex(ValueError, "'ots', not a number or otsu"):
      extraction.threshold(saliency, "ots")

  def test_nothing_on_is_nothing_found(self):
    found = extraction.locate(np.zeros((8, 8)), 3.0, (8, 8), method=0.5)
    self.assertEqual(found.points.shape, (0, 2))
    self.assertFalse(np.any(found.mask))

  @parameterized.parameters((0.2, 1), (5.0, 2))
  def test_at_least_one_and_at_most_the_pixels(self, count, expected):
    saliency = np.zeros((8, 8), np.float32)
    saliency[1, 2] = saliency[5, 6] = 1
    found = extraction.locate(saliency, count, (8, 8), method=0.5)
    self.assertLen(found.points, expected)

  def test_a_choice_among_too_many_pixels(self):
    saliency = spots(32, [(8, 8), (22, 24)], sigma=4.0)
    found = extraction.locate(saliency, 2, (32, 32), method=0.5, most_points=40)
    self.assertGreater(found.mask.sum(), 100)
    away = np.linalg.norm(found.points[:, None] - [(8, 8), (22, 24)], axis=-1)
    self.assertLess(away.min(axis=0).max(), 3.0)

  def test_measures_of_perfect_maps(self):
    truth = np.array([(6, 8), (20, 25)])
    image = np.zeros((32, 32, 3), np.uint8)
    perfect = evaluation.Prediction(image, spots(32, truth), 2.0, truth)
    empty = evaluation.Prediction(image, np.zeros((32, 32)), 0.0, np.zeros((0, 2)))
    scores = evaluation.measure([perfect, empty], 0.5, 2.0)
    self.assertEqual((scores.precision, scores.recall, scores.mae), (100, 100, 0))
    self.assertLess(scores.ahd, 2.0)


class PredictionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = epath.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.files = []
    for index, folder in enumerate(("a", "b")):
      path = self.folder / folder / "field.png"
      path.parent.mkdir()
      images.write_png(path, np.full((20, 24, 3), 40 * index, np.uint8))
      self.files.append(path)

  def find(self, saliency, count=2.0):
    class Fixed(evaluation.Predictor):
      """Says the same of every image."""

      def __init__(self):
        pass

      def __call__(self, images):
        return np.stack([saliency] * len(images)), np.full(len(images), count)

    examples = prediction.read(self.files)
    return prediction.locate(Fixed(), examples, SHAPE, "otsu", batch=2)

  def test_writes_points_and_pictures(self):
    out = self.folder / "out"
    out.mkdir()
    found = self.find(spots(16, [(4, 4), (12, 10)]))
    rows = prediction.write(out, found)
    names = ["field", "field-again1"]
    self.assertEqual(
      [row["overlay"] for row in rows], [f"{n}-points.png" for n in names]
    )
    points = point_files.read_csv(out / "points.csv")
    self.assertEqual(list(points), ["field.png", str(self.files[1])])
    np.testing.assert_array_equal(points["field.png"], found[0].points)
    self.assertEqual(json.loads((out / "predictions.json").read_text()), rows)
    overlay = images.read_rgb(out / "field-points.png")
    self.assertEqual(overlay.shape, (20, 24, 3))
    for row, column in found[0].points:
      self.assertEqual(tuple(overlay[row, column]), (255, 30, 30))
    self.assertEqual(images.read_rgb(out / "field-again1-map.png").shape, (20, 24, 3))

  def test_bad_files_are_told(self):
    images.write_png(self.folder / "dot.png", np.zeros((4, 30, 3), np.uint8))
    with self.assertRaisesRegex(UserError, "dot.png: 4 x 30 pixels, fewer than 8"):
      prediction.read([self.folder / "dot.png"])
    (self.folder / "text.png").write_text("no picture")
    with self.assertRaisesRegex(UserError, "text.png: not a PNG"):
      prediction.read([self.files[0], self.folder / "text.png"])

  def test_maps_that_are_not_finite_are_told(self):
    with self.assertRaisesRegex(UserError, "field.png: the network's map or count"):
      self.find(np.full(SHAPE, np.nan))
    with self.assertRaisesRegex(UserError, "field.png: the network's map or count"):
      self.find(np.zeros(SHAPE), np.inf)

  def test_crosses_stay_inside(self):
    image = np.zeros((9, 9, 3), np.uint8)
    shown = figures.overlay(image, np.array([(0, 0), (8, 8)]))
    self.assertEqual(shown.shape, image.shape)
    self.assertTrue(np.any(shown[0]) and np.any(shown[8]))
    self.assertFalse(np.any(image))


if __name__ == "__main__":
  absltest.main()
