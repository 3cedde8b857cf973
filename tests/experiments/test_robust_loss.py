"""The experiment through its own command line: smoke preset, then predictions."""

import dataclasses
import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest

from experiments import robust_loss as experiment
from jaxvision.data import images
from jaxvision.errors import UserError
from jaxvision.papers.robust_loss import depth_data
from jaxvision.train import restore
from jaxvision.train.run import Run
from tests.experiments import launching

launch = functools.partial(launching.launch, "robust_loss")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    claims = [claim["name"] for claim in results["claims"]]
    self.assertIn("VAE, wavelets, YUV: ours has a higher ELBO than normal", claims)
    self.assertLen(results["results"], 12)
    pictures = [picture["name"] for picture in results["pictures"]]
    self.assertCountEqual(pictures, ["autoencoders", "vae_alphas"])

    rng = np.random.default_rng(0)
    photograph = rng.integers(256, size=(20, 33, 3), dtype=np.uint8)
    images.write_png(workdir / "photograph.png", photograph)
    flags = "--mode=predict", f"--workdir={workdir}"
    done = launch(*flags, f"--inputs={workdir}/photograph.png")
    self.assertEqual(done.returncode, 0, done.stderr)
    out = workdir / "predictions"
    self.assertEqual(images.read_rgb(out / "photograph_alpha.png").shape, (64, 64, 3))
    self.assertIn("mean_alpha", json.loads((out / "photograph.json").read_text()))

  def measure(self, part: str) -> tuple[experiment.Config, dict]:
    """Returns the config and results of one part, run in this process."""
    workdir = self.enterContext(tempfile.TemporaryDirectory())
    config = dataclasses.replace(experiment.PRESETS["smoke"], parts=(part,))
    with Run("robust_loss", "smoke", config, workdir) as run:
      experiment.train(config, run)
      experiment.evaluate(config, run)
      run.finish()
    return config, json.loads((pathlib.Path(workdir) / "results.json").read_text())

  def test_solvers_are_measured(self):
    _, results = self.measure("solvers")
    held = {claim["name"]: claim["held"] for claim in results["claims"]}
    self.assertLen(held, 15)
    line = "a line among 10 % outliers: adaptive has at most a quarter of L2's error"
    self.assertTrue(held[line])
    tables = {table["name"]: table["rows"] for table in results["tables"]}
    self.assertLen(tables["registration"], 6)
    for row in tables["registration"]:
      self.assertLess(row["shape annealed"], row["least squares"])
    self.assertLen(tables["density, unseen parts"], 3)
    self.assertLen(results["pictures"], 5)

  def test_depth_is_trained_and_measured(self):
    config, results = self.measure("depth")
    self.assertLen(results["tables"][0]["rows"], 2)  # one variant, and one depth
    self.assertLen(results["pictures"], 1)

    streets = depth_data.snippets(2, 2, config.depth_height, config.depth_width)
    self.assertEqual(streets["sources"].shape, (2, 2, 16, 16, 3))
    for depths in streets["depth"]:
      # The ground in front is near, the end of the street far.
      self.assertLess(depths[-1].max(), 4)
      self.assertGreater(depths.max(), 10)
    self.assertFalse(np.array_equal(streets["sources"][:, 0], streets["target"]))

  def test_one_flag_trains_an_autoencoder_with_a_loss_that_learns(self):
    workdir = self.enterContext(tempfile.TemporaryDirectory())
    config = launching.config(
      "robust_loss",
      experiment,
      "--preset=smoke",
      "--config.loss=adaptive",
      "--config.parts=()",  # nothing else
    )
    with Run("robust_loss", "smoke", config, workdir) as run:
      experiment.train(config, run)
      experiment.evaluate(config, run)
      run.finish()
      first = experiment.initializer(config, "vae_loss")(jax.random.key(config.seed))
      saved = restore(run, "vae_loss-adaptive", first)
    network = experiment.autoencoder(config, config.loss)
    maps = [
      network.apply({"params": state.params}, method="shape_and_scale")
      for state in (first, saved)
    ]
    for before, after in zip(*maps, strict=True):
      self.assertEqual(after.shape, (4, 4, 3))
      self.assertTrue(np.all(np.abs(after - before) > 1e-3))  # Adam moves all
    results = json.loads((pathlib.Path(workdir) / "results.json").read_text())
    (result,) = results["results"]
    self.assertIn("--config.loss=adaptive", result["name"])
    self.assertEqual([picture["name"] for picture in results["pictures"]], ["loss"])

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      stages = experiment.stages(config)
      self.assertEqual(list(stages), ["vae", "depth"], preset)
    for stage in stages.values():  # those of the paper
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, _ = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      output = jax.eval_shape(stage.forward, state, stage.batch)
      shape = output.shape if stage.name == "depth" else output["elbo"].shape
      expected = (4, 128, 416) if stage.name == "depth" else (32,)
      self.assertEqual(shape, expected)

  def test_wrong_variants_and_missing_data_are_told(self):
    config = experiment.PRESETS["paper"]
    with self.assertRaisesRegex(UserError, "CelebA is read from --data_dir"):
      experiment.image_source(config, "train", None)
    with self.assertRaisesRegex(UserError, "parts: 'VAE' is none of"):
      experiment.train(dataclasses.replace(config, parts=("VAE",)), None)
    with self.assertRaisesRegex(UserError, "'huber' is none of baseline"):
      experiment.depth_runs(dataclasses.replace(config, variants=("huber",)))
    with self.assertRaisesRegex(UserError, "KITTI is read from --data_dir"):
      experiment.video_source(config, "train", None)


if __name__ == "__main__":
  absltest.main()
