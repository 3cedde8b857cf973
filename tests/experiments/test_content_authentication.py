"""The experiment through its own command line: smoke preset, then a prediction."""

import functools
import json
import pathlib
import tempfile
from unittest import mock

import jax
import numpy as np
from absl.testing import absltest
from etils import epath

from experiments import content_authentication as experiment
from jaxvision.data import images
from jaxvision.papers.content_authentication import data
from jaxvision.train import restore
from jaxvision.train.run import Run
from tests.experiments import launching

launch = functools.partial(launching.launch, "content_authentication")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    names = [claim["name"] for claim in results["claims"]]
    self.assertIn("INet develops at 28 dB before any training", names)
    self.assertIn("joint training wins at least 15 points of accuracy", names)
    held = {claim["name"]: claim["held"] for claim in results["claims"]}
    self.assertTrue(held["INet develops at 28 dB before any training"])
    self.assertTrue(held["sinusoidal rounding keeps at least 2 dB more than libjpeg"])
    self.assertCountEqual(
      [picture["name"] for picture in results["pictures"]],
      ["confusions", "trade_off", "verdicts", "development"],
    )
    trainings = [row["training"] for row in results["tables"][-1]["rows"]]
    self.assertEqual(trainings, ["F", "F+N, λ = 0.01"])

    rng = np.random.default_rng(0)
    for name, shape in (("large", (70, 33, 3)), ("small", (16, 16, 3))):
      photograph = rng.integers(256, size=shape, dtype=np.uint8)
      images.write_png(workdir / f"{name}.png", photograph)
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={workdir}/large.png,{workdir}/small.png")
    self.assertEqual(done.returncode, 0, done.stderr)
    written = workdir / "predictions" / "predictions.json"
    predictions = json.loads(written.read_text())
    self.assertLen(predictions, 2)
    for one in predictions:
      self.assertIn(one["verdict"], one["probabilities"])
      self.assertAlmostEqual(sum(one["probabilities"].values()), 1.0, places=5)

  def test_one_flag_gives_stage_one_a_loss_that_learns(self):
    workdir = epath.Path(self.enterContext(tempfile.TemporaryDirectory()))
    config = launching.config(
      "content_authentication",
      experiment,
      "--preset=smoke",
      "--config.loss=adaptive",
      "--config.pipeline=INet",
      "--config.seeds=()",  # stage I alone
    )
    rng = np.random.default_rng(0)
    pair = data.Pair(
      rng.integers(2**16, size=(32, 32, 4), dtype=np.uint16),
      rng.integers(256, size=(64, 64, 3), dtype=np.uint8),
    )
    self.enterContext(
      mock.patch.object(
        experiment, "load_pairs", lambda *_: {"train": [pair], "validation": [pair]}
      )
    )
    with Run("content_authentication", "smoke", config, workdir) as run:
      experiment.train(config, run)
      stage = experiment.stages(config)["develop"]
      shapes = jax.eval_shape(stage.init, jax.random.key(0))
      params = {"params": restore(run, "develop", shapes).params["loss"]}
    loss = experiment.development_loss(config)
    for name, first in (("alpha", 1.0), ("scale", 0.1)):
      learned = loss.apply(params, method=name)
      self.assertEqual(learned.shape, (32, 32, 3))
      self.assertGreater(np.mean(np.abs(learned - first) > 1e-4), 0.9)

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      stages = experiment.stages(config)
      self.assertEqual(
        list(stages), ["develop", "fixed", "joint", "no_channel"], preset
      )
    for stage in stages.values():  # those of the paper
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, _ = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      output = jax.eval_shape(stage.forward, state, stage.batch)
      expected = (20, 128, 128, 3) if stage.name == "develop" else (100, 5)
      self.assertEqual(output.shape, expected)


if __name__ == "__main__":
  absltest.main()
