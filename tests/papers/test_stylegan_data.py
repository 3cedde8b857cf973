"""stylegan's TFRecords, seeds, pictures and the judge."""

import io
import json
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from etils import epath
from safetensors.numpy import save_file

from jaxvision.data import images as image_files
from jaxvision.errors import UserError
from jaxvision.papers import stylegan
from jaxvision.papers.stylegan import (
  claims,
  dataset,
  evaluation,
  features,
  figures,
  growing,
  prediction,
)
from jaxvision.train.run import Run
from tests.data.test_tfrecords import example, image_record, record
from tests.papers.test_stylegan import filled


def folder(test):
  return epath.Path(test.enterContext(tempfile.TemporaryDirectory()))


def write_dataset(root, *, count=6, label_size=3, seed=0):
  """Writes a data set of 8 pixels as dataset_tool.py does; returns its images."""
  rng = np.random.default_rng(seed)
  full = rng.integers(256, size=(count, 8, 8, 3), dtype=np.uint8)
  (root / "tiny").mkdir()
  for level, some in ((3, full), (2, growing.halve(full))):
    records = [image_record(one.transpose(2, 0, 1)) for one in some]
    (root / f"tiny/tiny-r{level:02d}.tfrecords").write_bytes(b"".join(records))
  stream = io.BytesIO()
  np.save(stream, np.eye(label_size, dtype=np.float32)[np.arange(count) % label_size])
  (root / "tiny/tiny-rxx.labels").write_bytes(stream.getvalue())
  return full


class DatasetTest(parameterized.TestCase):
  def test_images_at_every_resolution(self):
    root = folder(self)
    full = write_dataset(root)
    found = dataset.open_records(root, "tiny", 8, label_size=3)
    self.assertEqual(sorted(found), [4, 8])
    np.testing.assert_array_equal(found[8][5]["image"], full[5])
    np.testing.assert_array_equal(found[4][2]["image"], growing.halve(full)[2])
    np.testing.assert_array_equal(found[4][4]["label"], [0, 1, 0])
    np.testing.assert_array_equal(dataset.read_all(found[8], 100), full)
    one = next(dataset.batches(found[8], batch_size=4, seed=0))
    self.assertEqual(one["images"].shape, (4, 8, 8, 3))
    self.assertEqual(one["labels"].shape, (4, 3))

  def test_batches_for_measures(self):
    full = write_dataset(folder(self), count=7)
    source = dataset.from_arrays(full)[8]
    plain = list(dataset.read_batches(source, 5, 3))
    np.testing.assert_array_equal(np.concatenate(plain), full[:5])
    self.assertEqual([len(one) for one in dataset.read_batches(source, 9, 3)], [3, 3])
    mirrored = np.concatenate(list(dataset.read_batches(source, 6, 3, mirror=True)))
    is_plain = (mirrored == full[:6]).all(axis=(1, 2, 3))
    is_turned = (mirrored == full[:6, :, ::-1]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(is_plain, ~is_turned)
    self.assertTrue(is_plain.any() and is_turned.any())

  def test_the_same_images_from_memory(self):
    full = write_dataset(folder(self))
    found = dataset.from_arrays(full)
    self.assertEqual(sorted(found), [4, 8])
    np.testing.assert_array_equal(found[4][3]["image"], growing.halve(full)[3])

  def test_what_is_missing_or_wrong_is_named(self):
    root = folder(self)
    with self.assertRaisesRegex(UserError, "tiny-r02.tfrecords, tiny-r03.tfrecords"):
      dataset.open_records(root, "tiny", 8)
    write_dataset(root)
    with self.assertRaisesRegex(UserError, r"rxx.labels: labels of shape \(6, 3\)"):
      dataset.open_records(root, "tiny", 8, label_size=4)
    finest = root / "tiny/tiny-r03.tfrecords"
    whole = finest.read_bytes()
    finest.write_bytes(whole[: len(whole) // 6])
    with self.assertRaisesRegex(UserError, "not as many images.*6 of 4, 1 of 8"):
      dataset.open_records(root, "tiny", 8)
    finest.write_bytes(b"")
    with self.assertRaisesRegex(UserError, "r03.tfrecords: holds no images"):
      dataset.open_records(root, "tiny", 8)
    (root / "tiny/tiny-rxx.labels").write_bytes(b"nothing")
    with self.assertRaisesRegex(UserError, "rxx.labels: damaged"):
      dataset.open_records(root, "tiny", 8, label_size=3)

  @parameterized.parameters(
    ({"shape": [3, 8, 8], "data": b"short"}, "damaged"),
    ({"shape": [3, 4, 4], "data": bytes(48)}, "no image of 8 pixels"),
    ({"shape": [3, 8, 8]}, "damaged"),
  )
  def test_records_that_are_no_images(self, values, message):
    path = folder(self) / "x.tfrecords"
    path.write_bytes(record(example(**values)))
    with self.assertRaisesRegex(UserError, f"record 0.*{message}"):
      _ = dataset.RecordImages(path, 8)[0]


class PredictionTest(parameterized.TestCase):
  def text(self, contents, name="seeds.txt"):
    path = pathlib.Path(folder(self)) / name
    path.write_bytes(contents)
    return path

  def test_seeds(self):
    path = self.text(b"5, 700;1002\n 3\n")
    self.assertEqual(prediction.split_inputs([path]), ([5, 700, 1002, 3], None))
    listed = self.text(b"[1, 2]", "some.json")
    weights = "karras.pkl"
    found = prediction.split_inputs([path, weights, listed])
    self.assertEqual(found, ([5, 700, 1002, 3, 1, 2], weights))
    self.assertEqual(prediction.split_inputs([weights]), (list(range(12)), weights))

  @parameterized.parameters(b"", b"1 -2", b"five", b"4294967296", b"1.5", b"\xff\xfe")
  def test_what_is_no_seed(self, contents):
    with self.assertRaisesRegex(UserError, "seeds.txt"):
      prediction.split_inputs([self.text(contents)])

  def test_one_network_at_a_time(self):
    with self.assertRaisesRegex(UserError, "b.pkl: one file"):
      prediction.split_inputs(["a.pkl", "b.pkl"])

  def test_latents_are_those_of_the_authors_figures(self):
    z = prediction.latents([0, 5], 4)
    # What numpy's legacy generator has given since 2006.
    np.testing.assert_allclose(z[0, :3], [1.76405235, 0.40015721, 0.97873798])
    self.assertEqual(z.shape, (2, 4))

  def test_grids_and_a_network_that_is_damaged(self):
    out = folder(self) / "made"
    network = stylegan.generator("style-1", 8, base=16, largest=4, latent=4)
    variables = filled(network, jnp.zeros((1, 4)))
    painter = figures.Painter(network, variables)
    prediction.write(out, painter, [3, 1, 4], 4, between=2)
    names = sorted(path.name for path in out.iterdir())
    expected = ["grid.png", "interpolation.png", "mixing.png", "predictions.json"]
    self.assertEqual(names, [*expected, "seed1.png", "seed3.png", "seed4.png"])
    self.assertEqual(
      json.loads((out / "predictions.json").read_text())["seeds"], [3, 1, 4]
    )
    image = image_files.read_rgb(out / "seed4.png")
    z = prediction.latents([4], 4).astype(np.float32)
    alone = network.apply(variables, z, psi=0.7)
    np.testing.assert_allclose(image, growing.to_uint8(alone)[0], atol=1)
    variables["params"]["mapping"]["dense0"]["bias"] = jnp.full(4, jnp.nan)
    with self.assertRaisesRegex(UserError, "not finite"):
      prediction.write(out / "other", figures.Painter(network, variables), [3], 4)
    self.assertFalse((out / "other").exists())


class FiguresTest(absltest.TestCase):
  def test_a_grid(self):
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones(
      (1, 2, 2, 3), np.uint8
    )
    found = figures.grid(images, 2, shown=4)
    self.assertEqual(found.shape, (10, 10, 3))
    np.testing.assert_array_equal(found[:4, 6:], 1)
    np.testing.assert_array_equal(found[6:, :4], 2)
    np.testing.assert_array_equal(found[6:, 6:], 255)

  def test_mixed_styles(self):
    first, second = np.zeros((3, 6, 2)), np.ones((2, 6, 2))
    tables = figures.mixing_tables(first, second, 6)
    self.assertEqual(list(tables), ["coarse", "middle"])  # 16 pixels have no fine ones
    np.testing.assert_array_equal(tables["coarse"][1, 2, :, 0], [1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(tables["middle"][1, 2, :, 0], [0, 0, 0, 0, 1, 1])

  def test_ways_between_styles(self):
    w = np.array([0.0, 4.0, 2.0])[:, None, None] * np.ones((1, 2, 3))
    found = figures.strip(w, 2)[:, 0, 0]
    np.testing.assert_allclose(found, [0, 2, 4, 3, 2])

  def test_noise_is_silenced_by_layer(self):
    network = stylegan.generator("style-1", 8, base=16, largest=4, latent=4)
    variables = filled(network, jnp.zeros((1, 4)))
    silent = figures.without_noise(variables, lambda layer: layer == 2)
    for layer in range(4):
      scale = silent["params"]["synthesis"][f"epilogue{layer}"]["noise_scale"]
      self.assertEqual(bool(np.any(scale)), layer == 2)
    self.assertTrue(
      np.any(variables["params"]["synthesis"]["epilogue0"]["noise_scale"])
    )


class ClaimsTest(absltest.TestCase):
  def rows(self):
    """Returns what two seeds of B, E and F might measure."""
    rows = []
    for seed in (0, 1):
      for name, frechet in (
        ("B", [10.0, np.nan, np.nan, np.nan]),
        ("E", [8.0, 12.0, 14.0, 16.0]),
        ("F", [9.0, 10.8, 12.0, 13.0]),
      ):
        row = {"configuration": name, "seed": seed, "frechet": frechet}
        row |= {"z full": 5.0, "z end": 4.0 + seed, "z bits": np.array([1.0, 1.0])}
        if name != "B":
          row |= {"w full": 3.0, "w end": 2.0, "w bits": np.array([0.5, 0.5])}
        rows.append(row)
    return rows

  def test_claims_and_tables(self):
    workdir = folder(self)
    with Run("stylegan", "smoke", {}, workdir) as run:
      rows, seeds = self.rows(), (0, 1)
      claims.tables(run, rows)
      claims.claim_quality(run, rows, seeds, claims.DISTANCE)
      claims.claim_paths(run, rows, "F", seeds)
      claims.claim_mixing(run, rows, seeds, claims.DISTANCE)
      claims.claim_separability(run, rows, "F", seeds)
      for fine, held in ((1.0, True), (0.3, False)):
        found = {"noise coarse": 0.1, "noise fine": fine, "style coarse": 0.6}
        claims.claim_noise(run, found, seeds)
        results = json.loads((workdir / "results.json").read_text())
        noise = results["claims"][-2:]
        self.assertEqual([one["held"] for one in noise], [held, True])
    quality, mixing, paths = (results["claims"][k] for k in (0, 2, 1))
    self.assertTrue(quality["held"])  # 9 is 10 % below 10
    self.assertAlmostEqual(mixing["ours"], 0.2)
    self.assertAlmostEqual(mixing["baseline"], 0.5)
    self.assertTrue(mixing["held"])
    self.assertEqual((paths["ours"], paths["baseline"]), (2.0, 4.5))
    separable = results["claims"][3]
    self.assertEqual((separable["ours"], separable["baseline"]), (2.0, 4.0))
    tables = {table["name"]: table["rows"] for table in results["tables"]}
    self.assertEqual(tables[claims.DISTANCE][0]["2 latents"], "")
    self.assertEqual(tables[claims.DISTANCE][2]["2 latents"], 10.8)
    self.assertEqual(tables["path length and separability"][0]["w end"], "")

  def test_only_inception_and_fifty_thousand_images_make_an_fid(self):
    self.assertEqual(claims.measure_name(False, 50_000), claims.DISTANCE)
    self.assertEqual(claims.measure_name(True, 50_000), "FID")
    self.assertEqual(claims.measure_name(True, 2048), "FID of 2,048 images")
    with Run("stylegan", "smoke", {}, folder(self)) as run:
      claims.tables(run, self.rows(), "FID")
      results = json.loads((run.workdir / "results.json").read_text())
    self.assertEqual(results["tables"][0]["name"], "FID")
    self.assertNotIn("no FIDs", str(results["tables"][0]))

  def test_weights_of_another_network_are_no_inception(self):
    file = pathlib.Path(folder(self)) / "vgg.safetensors"
    save_file({"features.0.weight": np.zeros((2, 3), np.float32)}, file)
    with self.assertRaisesRegex(UserError, "Inception checkpoint: lacks"):
      features.load_inception(file)

  def test_the_judge(self):
    with Run("stylegan", "smoke", {}, folder(self)) as run:
      factors = np.array([[0.1] * 8, [0.9] * 8])
      claims.report_judge(run, np.array([[0.2] * 8, [0.4] * 7 + [0.6]]), factors)
      text = (run.workdir / "results.json").read_text()
    told = [row["told, %"] for row in json.loads(text)["tables"][0]["rows"]]
    self.assertEqual(told, [50.0] * 7 + [100.0])


class EvaluationTest(absltest.TestCase):
  def test_variances_of_known_parts(self):
    rng = np.random.default_rng(0)
    coarse = np.repeat(np.repeat(rng.normal(size=(1, 40, 4, 4, 1)), 4, 2), 4, 3)
    fine = np.indices((16, 16)).sum(axis=0) % 2 * 2 - 1.0  # cells have mean 0
    fine = fine[None, None, :, :, None] * rng.normal(size=(60, 1, 1, 1, 1))
    found = evaluation.variances((3 * coarse + 0.5 * fine).astype(np.float32))
    np.testing.assert_allclose(found["noise coarse"], 0, atol=1e-6)
    np.testing.assert_allclose(found["noise fine"], 0.25, rtol=0.5)
    np.testing.assert_allclose(found["style coarse"], 9, rtol=0.2)
    np.testing.assert_allclose(found["style fine"], 0, atol=1e-6)

  def test_measures_of_a_small_network(self):
    network = stylegan.generator("style-1", 8, base=16, largest=4, latent=4)
    variables = filled(network, jnp.zeros((1, 4)))
    judging = features.FactorNetwork(2, width=2, hidden=3)
    params = filled(judging, jnp.zeros((1, 8, 8, 3)), seed=1)["params"]
    judge = features.Judge(judging, params)
    measures = evaluation.Evaluator(network, 4, judge, 16)
    key = jax.random.key(0)
    own = np.concatenate(
      [
        growing.to_uint8(measures.sample(variables, jax.random.fold_in(key, number)))
        for number in range(2)
      ]
    )
    known = measures.statistics([own[:16], own[16:]])
    self.assertEqual(known.count, 32)
    same = measures.frechet(variables, key, known, 32)
    other = measures.frechet(variables, jax.random.key(1), known, 32)
    self.assertLess(same, 1e-3 * other)
    lengths = measures.path_length(
      variables, key, 20, space="w", sampling="end", epsilon=1e-2, crop=False
    )
    self.assertGreater(lengths, 0)
    bits = measures.separability(variables, key, 32)
    for space in "zw":
      self.assertEqual(bits[space].shape, (2,))
      self.assertTrue((bits[space] >= 0).all() and (bits[space] <= 1).all())

  def test_the_judge_learns_a_factor(self):
    network = features.FactorNetwork(1, width=2, hidden=4)
    stage = features.stage(network, 8, batch=16, rate=1e-2)
    params = filled(network, jnp.zeros((1, 8, 8, 3)))["params"]
    shapes = jax.eval_shape(stage.init, jax.random.key(0))
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes.replace(
      rng=None)).replace(rng=jax.random.key(0), params=params)  # fmt: skip
    rng = np.random.default_rng(0)
    levels = rng.random((16, 1)).astype(np.float32)
    images = np.uint8(255 * levels[:, :, None, None] * np.ones((1, 8, 8, 3)))
    batch, losses = {"image": images, "factors": levels}, []
    step = jax.jit(stage.step)
    for _ in range(60):
      state, metrics = step(state, batch)
      losses.append(float(metrics["loss"]))
    self.assertLess(losses[-1], 0.2 * losses[0])


if __name__ == "__main__":
  absltest.main()
