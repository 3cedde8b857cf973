"""The experiment through its own command line: smoke preset, then a prediction."""

import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest

from experiments import weighted_hausdorff as experiment
from jaxvision.data import images, point_files
from jaxvision.papers.weighted_hausdorff import network
from jaxvision.train import launcher
from tests.experiments import launching

launch = functools.partial(launching.launch, "weighted_hausdorff")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    workdir = folder / "run"
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    results = json.loads((workdir / "results.json").read_text())
    rows = results["tables"][0]["rows"]
    methods = ["beta mixture", "otsu", "fixed 0.5"]
    self.assertEqual([row["threshold"] for row in rows], methods)
    for row in rows:
      self.assertTrue(0 <= row["F"] <= 100)
      self.assertGreater(row["count RMSE"], 0)
    names = [picture["name"] for picture in results["pictures"]]
    expected = ["free_maps", "located_plants", "thresholds", "counts"]
    self.assertCountEqual(names, expected)
    self.assertLen(results["claims"], 5)

    # Nothing is written for a file that cannot be used.
    bad, good = folder / "bad.png", folder / "good.png"
    bad.write_bytes(b"no picture")
    rng = np.random.default_rng(0)
    images.write_png(good, rng.integers(0, 256, (24, 40, 3)).astype(np.uint8))
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={good},{bad}")
    self.assertEqual(done.returncode, 2)
    self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
    self.assertIn("bad.png: not a PNG", done.stderr)
    self.assertFalse(list((workdir / "predictions").glob("*")))

    done = launch(*predict, f"--inputs={good}")
    self.assertEqual(done.returncode, 0, done.stderr)
    out = workdir / "predictions"
    (row,) = json.loads((out / "predictions.json").read_text())
    points = point_files.read_csv(out / "points.csv")["good.png"]
    np.testing.assert_array_equal(points, np.array(row["points"]).reshape(-1, 2))
    self.assertEqual(images.read_rgb(out / "good-points.png").shape, (24, 40, 3))

  def test_wrong_names_are_told_in_one_line(self):
    for argument, message in (
      ("--config.variants=wdh", "variants .*wdh.*there are whd"),
      ("--config.threshold=otsi", "threshold 'otsi' is none of"),
      ("--config.threshold=1.5", "threshold '1.5' is none of"),
      ("--config.size=4", "size 4 cannot be halved 3 times"),
      ("--config.data=csv", "variants known and coins are of data=scenes"),
    ):
      with self.assertRaisesRegex(launcher.UserError, message):
        launching.config("weighted_hausdorff", experiment, argument)

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      self.assertEqual(tuple(experiment.stages(config)), config.variants, preset)
    for preset, name in (("demo", "one_hot"), ("demo", "known"), ("paper", "whd")):
      stage = experiment.stages(experiment.PRESETS[preset])[name]
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, metrics = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      self.assertEqual(metrics["loss"].shape, ())
      located = jax.eval_shape(stage.forward, state, stage.batch)
      self.assertEqual(located.map.shape, stage.batch["image"].shape[:3])

  def test_paper_preset_is_the_papers(self):
    config = experiment.PRESETS["paper"]
    self.assertEqual((config.batch, config.rate, config.size), (32, 1e-4, 256))
    self.assertEqual(experiment.locator(config, "whd"), network.Locator())
    params = jax.eval_shape(
      experiment.stages(config)["whd"].init, jax.random.key(0)
    ).params
    self.assertEqual(sum(map(np.size, jax.tree.leaves(params))), 64_831_106)

  def test_files_that_the_paper_preset_needs_are_said(self):
    config = experiment.PRESETS["paper"]
    with self.assertRaisesRegex(launcher.UserError, "mall is read from --data_dir"):
      experiment.source(config, None, "whd", "test")


if __name__ == "__main__":
  absltest.main()
