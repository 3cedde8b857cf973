"""The experiment through its own command line: smoke preset, then a prediction."""

import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest

from experiments import spade as experiment
from jaxvision.data import images
from jaxvision.papers.spade import variants
from jaxvision.train import launcher
from tests.experiments import launching

launch = functools.partial(launching.launch, "spade")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    workdir = folder / "run"
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    results = json.loads((workdir / "results.json").read_text())
    (row,) = results["tables"][0]["rows"]
    self.assertEqual(row["variant"], "pix2pixhd++_spade")
    self.assertTrue(0 <= row["mIoU"] <= 1)
    self.assertGreater(row["Fréchet distance"], 0)
    names = [picture["name"] for picture in results["pictures"]]
    self.assertCountEqual(names, ["synthesised", "one_class"])

    # Nothing is written for a file that cannot be used.
    bad, good = folder / "bad.png", folder / "good.png"
    images.write_png(bad, np.full((20, 30), 8, np.uint8))
    images.write_png(good, np.arange(600, dtype=np.uint8).reshape(20, 30) % 8)
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={good},{bad}")
    self.assertEqual(done.returncode, 2)
    self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
    self.assertIn("bad.png: label 8 is none of 0 to 7", done.stderr)
    self.assertFalse(list((workdir / "predictions").glob("*")))

    done = launch(*predict, f"--inputs={good}")
    self.assertEqual(done.returncode, 0, done.stderr)
    (row,) = json.loads((workdir / "predictions" / "predictions.json").read_text())
    self.assertEqual(row["instances"], "borders of classes")
    image = images.read_rgb(workdir / "predictions" / "good.png")
    self.assertEqual(image.shape, (32, 32, 3))
    self.assertGreater(image.std(), 0)

  def test_wrong_names_are_told_in_one_line(self):
    with self.assertRaisesRegex(launcher.UserError, "variants .*spad.*there are spade"):
      launching.config("spade", experiment, "--config.variants=spad")

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      names = ("segmenter", *config.variants)
      self.assertEqual(tuple(experiment.stages(config)), names, preset)
    # Labels alone, a style, and the paper's own with the perceptual loss.
    for preset, name in (("demo", "concat"), ("demo", "styled"), ("paper", "spade")):
      stage = experiment.stages(experiment.PRESETS[preset])[name]
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, metrics = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      self.assertEqual(metrics["generator/loss"].shape, ())
      self.assertEqual("generator/perceptual" in metrics, preset == "paper")
      images = jax.eval_shape(stage.forward, state, stage.batch)
      self.assertEqual(images.shape, stage.batch["images"].shape)

  def test_paper_preset_is_the_papers(self):
    config = experiment.PRESETS["paper"]
    self.assertEqual(config.sizes, variants.Sizes())
    self.assertEqual((config.batch, config.epochs, config.rate), (32, 100, 2e-4))
    stage = experiment.stages(config)["spade"]
    self.assertEqual(stage.batch["images"].shape, (32, 256, 256, 3))
    params = jax.eval_shape(stage.init, jax.random.key(0)).params
    sizes = map(np.size, jax.tree.leaves(params["generator"]))
    self.assertBetween(sum(sizes) / 1e6, 96, 99)  # Table 3 says 96 for ADE20K

  def test_files_that_the_paper_preset_needs_are_said(self):
    config = experiment.PRESETS["paper"]
    with self.assertRaisesRegex(launcher.UserError, "--config.vgg=FILE"):
      experiment.train(config, None)
    with self.assertRaisesRegex(launcher.UserError, "coco is read from --data_dir"):
      experiment.source(config, None, "val")


if __name__ == "__main__":
  absltest.main()
