"""Tests of robust_loss: what needs no network, data sets, predictions."""

import json
import pathlib
import tempfile
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from absl.testing import absltest, parameterized

from jaxvision.data import clouds, images
from jaxvision.errors import UserError
from jaxvision.ops import rigid, robust
from jaxvision.papers.robust_loss import (
  celeba,
  claims,
  data,
  density,
  kitti,
  likelihoods,
  prediction,
  regression,
  sampling,
  speed,
)
from jaxvision.train import jit_once

registration = jit_once(data.registration, static_argnames="count")
sample = jit_once(robust.sample, static_argnums=3)
RULE = density.Fit(steps=200, batch=128, levels=2)


class SamplingTest(absltest.TestCase):
  def test_distribution_function_of_the_normal_density(self):
    x, inside = sampling.distribution_function(2.0)
    np.testing.assert_allclose(inside, scipy.special.erf(x / np.sqrt(2)), atol=1e-5)

  def test_only_draws_of_the_density_are_near_it(self):
    draws = sample(jax.random.key(0), 0.5, 1.0, (4000,))
    self.assertLess(sampling.kolmogorov_smirnov(draws, 0.5), 0.03)
    self.assertGreater(sampling.kolmogorov_smirnov(1.3 * draws, 0.5), 0.04)
    self.assertGreater(sampling.kolmogorov_smirnov(draws, 1.5), 0.04)
    self.assertGreater(sampling.kolmogorov_smirnov(draws + 0.2, 0.5), 0.04)


class RegressionTest(absltest.TestCase):
  def test_a_tenth_of_the_points_is_thrown_across(self):
    x, y = regression.points(jax.random.key(3))
    error = np.asarray(y - regression.SLOPE * x - regression.OFFSET)
    self.assertEqual(np.sum(np.abs(error) > 0.11), 5)
    thrown = np.round(np.asarray(y)[np.abs(error) > 0.11].astype(float), 3)
    self.assertContainsSubset(set(thrown), {0.05, 0.45, 0.85})

  def test_adaptive_loss_leaves_the_outliers_out(self):
    x, y = regression.points(jax.random.key(1))
    ours = regression.fit(x, y, "adaptive")
    squared = regression.fit(x, y, "squared")
    self.assertLess(regression.rmse(ours), 0.012)
    self.assertGreater(regression.rmse(squared), 3 * regression.rmse(ours))
    # Squared error has a closed form, which it must reach.
    slope, offset = np.polyfit(x, y, 1)
    self.assertAlmostEqual(float(squared.slope), slope, places=3)
    self.assertAlmostEqual(float(squared.offset), offset, places=3)

  def test_unknown_losses_are_refused(self):
    with self.assertRaisesRegex(ValueError, "'huber' is none of"):
      regression.fit(jnp.zeros(3), jnp.zeros(3), "huber")


class DensityTest(parameterized.TestCase):
  def test_normal_density_is_fitted_by_its_deviation(self):
    noise = 0.3 * jax.random.normal(jax.random.key(0), (400, 4, 4, 3))
    found = density.fit(jax.random.key(1), noise, "normal", "pixels", RULE)
    score = density.log_likelihood(found, noise, "normal", "pixels", RULE)
    deviation = np.std(np.asarray(noise))
    expected = -48 * (0.5 + np.log(deviation * np.sqrt(2 * np.pi)))
    self.assertAlmostEqual(float(score), expected, delta=0.3)

  def test_adaptive_density_learns_heavy_tails(self):
    noise = sample(jax.random.key(0), 0.9, 0.1, (400, 4, 4, 3))
    scores = {}
    for name in ("normal", "adaptive"):
      found = density.fit(jax.random.key(1), noise, name, "pixels", RULE)
      scores[name] = density.log_likelihood(found, noise, name, "pixels", RULE)
    self.assertGreater(scores["adaptive"], scores["normal"] + 1)
    alpha, scale = density.shape_and_scale(found, RULE)
    self.assertEqual(alpha.shape, (4, 4, 3))
    self.assertAlmostEqual(float(jnp.mean(alpha)), 0.9, delta=0.2)
    self.assertAlmostEqual(float(jnp.mean(scale)), 0.1, delta=0.03)

  def test_schedule_is_constant_then_a_cosine(self):
    rate = density.schedule(0.1, 100)
    np.testing.assert_allclose(
      [rate(0), rate(79), rate(90), rate(100)], [0.1, 0.1, 0.05, 0], atol=1e-7
    )

  def test_every_published_number_has_its_place(self):
    self.assertEqual(likelihoods.PAPER_ELBO["wavelets"]["adaptive"], 36316)
    self.assertEqual(likelihoods.PAPER_ELBO["dct"]["cauchy"], 31295)


class ClaimsTest(absltest.TestCase):
  def test_depths_are_claimed_by_three_seeds_alone(self):
    average = {
      "baseline": 0.8,
      "charbonnier": 0.5,
      "cauchy": 0.6,
      "squared": 0.4,
      "annealed": 0.45,
      "adaptive": 0.3,
    }
    rows = [
      {"variant": variant, "seed": seed, "Avg": mean + 0.01 * (seed - 1)}
      for variant, mean in average.items()
      for seed in range(3)
    ]
    run = mock.Mock()
    claims.claim_depths(run, [row for row in rows if row["seed"] == 0])
    run.claim.assert_not_called()
    claims.claim_depths(run, rows)
    found = [call.kwargs for call in run.claim.call_args_list]
    numbers = [(claim["ours"], claim["baseline"]) for claim in found]
    np.testing.assert_allclose(numbers, [(0.3, 0.8), (0.3, 0.4)])
    self.assertEqual({claim["better"] for claim in found}, {"lower"})
    self.assertIn("α = 2", found[1]["note"])


class DataTest(absltest.TestCase):
  def test_patches_of_the_splits_come_from_different_columns(self):
    found = {split: data.patches(0, 6, 16, split) for split in data.SPLITS}
    again = data.patches(0, 6, 16, "all")
    np.testing.assert_array_equal(found["all"], again)
    self.assertFalse(np.array_equal(found["train"], found["validation"]))
    with self.assertRaisesRegex(ValueError, "'test' is none of"):
      data.patches(0, 1, 16, "test")

  def test_registrations_have_the_outliers_and_noise_asked_for(self):
    pairs = registration(jax.random.key(0), outliers=0.6, noise=0.002, count=60)
    error = np.linalg.norm(pairs.target - pairs.truth, axis=1)
    self.assertBetween(np.sum(error > 0.1), 32, 36)  # some land near by chance
    pose = jax.jit(rigid.fit)(pairs.source, pairs.truth)
    moved = jax.jit(rigid.apply)(pose, pairs.source)
    np.testing.assert_allclose(moved, pairs.truth, atol=1e-4)
    apart = np.linalg.norm(pairs.source[:, None] - pairs.source, axis=-1).max()
    rms = np.sqrt(np.mean(error[error < 0.1] ** 2) / 3)
    self.assertAlmostEqual(rms, 0.002 * apart, delta=0.3 * 0.002 * apart)


class CelebATest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.manual = self.root / "downloads" / "manual" / celeba.CelebA.name
    (self.manual / "Img/img_align_celeba").mkdir(parents=True)
    (self.manual / "Eval").mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for number, split in enumerate((0, 1, 2, 0)):
      name = f"{number + 1:06}.jpg"
      small = rng.integers(256, size=(28, 23, 3), dtype=np.uint8)
      face = small.repeat(8, axis=0)[:218].repeat(8, axis=1)[:, :178]
      images.write_jpeg(self.manual / "Img/img_align_celeba" / name, face)
      lines.append(f"{name} {split}\n")
    self.partition = self.manual / "Eval/list_eval_partition.txt"
    self.partition.write_text("".join(lines))

  def test_pictures_are_cut_and_resized(self):
    faces = celeba.Faces("train", 64, data_dir=self.root)
    self.assertLen(faces, 2)
    self.assertLen(celeba.Faces("validation", 8, data_dir=self.root), 1)
    image = faces[1]["image"]
    self.assertEqual((image.shape, image.dtype), ((64, 64, 3), np.float32))
    whole = images.read_rgb(self.manual / "Img/img_align_celeba/000004.jpg")
    middle = whole[29:189, 9:169].astype(float) / 255
    # Sample 2 i + 1 of 64 lies between pixels 5 i + 3 and 5 i + 4 of 160, at 1/4.
    column = 0.75 * middle[:, 3::5] + 0.25 * middle[:, 4::5]
    both = 0.75 * column[3::5] + 0.25 * column[4::5]
    np.testing.assert_allclose(image[1::2, 1::2], both, atol=1e-5)

  def test_missing_and_damaged_files_are_named(self):
    with self.assertRaisesRegex(UserError, "list_eval_partition.txt.*mmlab"):
      celeba.Faces("train", 64, data_dir=self.root, manual_dir=self.root / "nowhere")
    face = self.manual / "Img/img_align_celeba/000003.jpg"
    face.write_bytes(face.read_bytes()[:200])
    with self.assertRaisesRegex(UserError, "000003.jpg"):
      celeba.Faces("train", 64, data_dir=self.root)
    self.partition.write_text("000001.jpg 0\n000002.jpg three\n")
    with self.assertRaisesRegex(UserError, "line 2 is not NAME"):
      celeba.read_partition(self.partition)
    with self.assertRaisesRegex(UserError, "178 x 218"):
      celeba.prepare(np.zeros((100, 200, 3), np.uint8), 64)


class KittiTest(absltest.TestCase):
  def test_prepared_snippets_are_read(self):
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    manual = root / "kitti"
    folder = manual / "2011_09_26_drive_0001_sync_02"
    folder.mkdir(parents=True)
    frames = np.repeat(np.array([10, 100, 200], np.uint8), 16)
    frame = np.broadcast_to(frames[None, :, None], (8, 48, 3))
    images.write_jpeg(folder / "0000000001.jpg", frame)
    camera = "20.0,0.0,7.5,0.0,21.0,3.5,0.0,0.0,1.0\n"
    (folder / "0000000001_cam.txt").write_text(camera)
    for name in ("train.txt", "val.txt"):
      (manual / name).write_text(f"{folder.name} 0000000001\n")
    found = kitti.Snippets("train", 8, 16, data_dir=root, manual_dir=manual)[0]
    np.testing.assert_allclose(found["target"], 100 / 255, atol=0.02)
    np.testing.assert_allclose(found["sources"][1], 200 / 255, atol=0.02)
    np.testing.assert_allclose(found["intrinsics"][1], [0, 21, 3.5])
    wrong = kitti.Snippets("train", 8, 17, data_dir=root, manual_dir=manual)
    with self.assertRaisesRegex(UserError, "48 x 8.*51 x 8"):
      wrong[0]
    (folder / "0000000001_cam.txt").write_text("1,2,nan,4,5,6,7,8,9")
    with self.assertRaisesRegex(UserError, "_cam.txt: damaged.*not finite"):
      kitti.read_intrinsics(folder / "0000000001_cam.txt")


class PredictionTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def write(self, name, text):
    path = self.root / name
    path.write_text(text)
    return path

  @parameterized.parameters(
    (("a.png", "b.JPG"), "images"), (("a.ply", "b.csv"), "clouds"), (("a.txt",), "line")
  )
  def test_kinds(self, paths, expected):
    self.assertEqual(prediction.kind_of(paths), expected)

  @parameterized.parameters(
    (("a.gif",), "a.gif: neither"),
    (("a.png", "b.ply"), "not both"),
    (("a.ply", "b.ply", "c.ply"), "not 3"),
  )
  def test_other_kinds_are_refused(self, paths, message):
    with self.assertRaisesRegex(UserError, message):
      prediction.kind_of(paths)

  def test_points_are_read_from_every_format(self):
    points = np.array([[1.5, -2.0, 3.0], [4.0, 5.0, 6.25]], np.float32)
    np.save(self.root / "a.npy", points)
    self.write("a.csv", "x,y,z\n1.5,-2,3\n# a remark\n4,5,6.25\n")
    self.write("a.xyz", "1.5 -2 3\n\n4 5 6.25\n")
    columns = dict(zip("xyz", points.T, strict=True))
    clouds.write_pcd(self.root / "a.pcd", columns)
    self.write("a.off", "OFF\n2 0 0\n1.5 -2 3\n4 5 6.25\n")
    for name in ("a.npy", "a.csv", "a.xyz", "a.pcd", "a.off"):
      found = prediction.read_points(self.root / name, 3)
      np.testing.assert_array_equal(found, points, name)

  @parameterized.parameters(
    ("", "needs points of 3 numbers, this is 0 x 0"),
    ("1,2\n3,4\n", "this is 2 x 2"),
    ("1 2 3\n4 5\n", "from 2 to 3 numbers"),
    ("1 2 3\nfour 5 6\n", "damaged or not a table of numbers.*four"),
  )
  def test_bad_tables_are_named(self, text, message):
    path = self.write("bad.csv", text)
    with self.assertRaisesRegex(UserError, f"bad.csv: .*{message}"):
      prediction.read_points(path, 3)

  def test_clouds_are_registered_through_outliers_and_nan(self):
    pairs = registration(jax.random.key(0), outliers=0.7, noise=0.0, count=60)
    source, target = (np.array(points) for points in (pairs.source, pairs.target))
    target[::10] = np.nan
    np.save(self.root / "source.npy", source)
    np.save(self.root / "target.npy", target)
    found = prediction.register(self.root / "source.npy", self.root / "target.npy")
    self.assertTrue(found["is_valid"])
    moved, weights = found["points"][:, :3], found["points"][:, 3]
    np.testing.assert_allclose(moved, pairs.truth, atol=0.02)
    np.testing.assert_array_equal(weights[::10], 0)
    json.dumps(found["transform"])

    np.save(self.root / "target.npy", target[:50])
    with self.assertRaisesRegex(UserError, "60 points and .* 50"):
      prediction.register(self.root / "source.npy", self.root / "target.npy")
    np.save(self.root / "target.npy", np.full_like(target, np.nan))
    found = prediction.register(self.root / "source.npy", self.root / "target.npy")
    self.assertFalse(found["is_valid"])
    self.assertTrue(np.all(np.isfinite(found["transform"])))

  def test_line_in_any_unit(self):
    x, y = regression.points(jax.random.key(1))
    rows = np.stack([300 * x + 2000, -40 * y], axis=1)
    path = self.root / "line.csv"
    prediction.write_table(path, ("x", "y"), rows)
    line = prediction.fit_line(path)
    slope = -40 * regression.SLOPE / 300
    self.assertAlmostEqual(line["slope"], slope, delta=0.06 * abs(slope))
    middle = line["slope"] * 2150 + line["offset"]
    self.assertAlmostEqual(
      middle, -40 * (regression.SLOPE / 2 + regression.OFFSET), delta=0.5
    )
    path.write_text("1,1\n1,2\n1,3\n")
    with self.assertRaisesRegex(UserError, "line.csv: a line needs"):
      prediction.fit_line(path)
    path.write_text("nan,1\n1,nan\n")
    with self.assertRaisesRegex(UserError, "line.csv: a line needs"):
      prediction.fit_line(path)

  def test_nothing_is_written_where_a_file_is_bad(self):
    run = mock.Mock(out=self.root / "out")
    run.out.mkdir()
    good = self.root / "good.png"
    images.write_png(good, np.zeros((16, 16, 3), np.uint8))
    (self.root / "bad.png").write_bytes(good.read_bytes()[:30])
    for names in (("good.png", "bad.png"), ("bad.png",), ("none.csv",)):
      paths = [self.root / name for name in names]
      with self.assertRaisesRegex(UserError, names[-1]):
        prediction.predict(run, paths, "dct", RULE, size=8, count=4)
      self.assertEmpty(list(run.out.iterdir()))

  def test_small_photographs_are_refused(self):
    images.write_png(self.root / "small.png", np.zeros((8, 40, 3), np.uint8))
    with self.assertRaisesRegex(UserError, "small.png: 40 x 8 pixels"):
      prediction.photograph_patches(self.root / "small.png", 16, 4)


class SpeedTest(absltest.TestCase):
  def test_rows_time_the_loss_beside_the_reference(self):
    times = iter([0.5, 1.25])
    rows = speed.rows(lambda call: next(times))
    self.assertEqual([row["milliseconds"] for row in rows], [500, 1250])
    self.assertEqual(rows[1]["over_reference"], 2.5)


if __name__ == "__main__":
  absltest.main()
