"""The experiment through its own command line: smoke preset, then a prediction."""

import dataclasses
import functools
import json
import pathlib
import tempfile
from unittest import mock

import jax
import numpy as np
from absl.testing import absltest

from experiments import ganet as experiment
from jaxvision.data import fields, images
from jaxvision.papers.ganet import claims
from jaxvision.train import restore
from jaxvision.train.run import Run
from tests.experiments import launching

launch = functools.partial(launching.launch, "ganet")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    self.assertEqual(
      [picture["name"] for picture in results["pictures"]], ["disparities"]
    )
    rows = results["tables"][0]["rows"]
    self.assertEqual([row["system"] for row in rows], ["classical SGM", "SGA"])
    for row in rows:
      self.assertGreater(row["EPE"], 0)

    rng = np.random.default_rng(0)
    files = [workdir / f"{view}.png" for view in ("left", "right")]
    for file in files:
      images.write_png(file, rng.integers(256, size=(40, 45, 3), dtype=np.uint8))
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={files[0]},{files[1]}")
    self.assertEqual(done.returncode, 0, done.stderr)
    disparity = fields.read_pfm(workdir / "predictions" / "left.pfm")
    self.assertEqual(disparity.shape, (40, 45))
    self.assertTrue(np.all((disparity >= 0) & (disparity <= 12)))

  def test_resumed_training_equals_an_uninterrupted_one(self):
    config = dataclasses.replace(experiment.PRESETS["smoke"], steps=2)
    ends = []
    for lengths in ((2,), (1, 2)):
      with tempfile.TemporaryDirectory() as workdir:
        for steps in lengths:
          one = dataclasses.replace(config, steps=steps)
          run = Run("ganet", "smoke", config, workdir)
          with (
            mock.patch.object(
              experiment, "stage", lambda _, *rest: _stage(config, *rest)
            ),
            run,
          ):
            experiment.train(one, run)
        state = experiment.initial_state(config, claims.SGA, 0)
        name = experiment.training_name(claims.SGA, 0)
        ends.append(restore(run, name, state).params)
    jax.tree.map(np.testing.assert_array_equal, *ends)

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      stages = experiment.stages(config)
      self.assertEqual(tuple(stages), config.systems, preset)
    stage = stages[claims.LGA]
    state = jax.eval_shape(stage.init, jax.random.key(0))
    after, _ = jax.eval_shape(stage.step, state, stage.batch)
    self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
    disparity = jax.eval_shape(stage.forward, state, stage.batch)
    self.assertEqual(disparity.shape, (16, 240, 576))

  def test_wrong_configs_are_refused(self):
    for change in ({"height": 50}, {"max_disp": 100}, {"systems": ("none",)}):
      with self.assertRaises(ValueError):
        dataclasses.replace(experiment.PRESETS["demo"], **change)

  def test_claims_compare_what_they_say(self):
    def errors(*values):
      names = ("EPE", "EPE textureless", "EPE edge")
      return [dict.fromkeys(names, value) for value in values]

    rows = {
      claims.SGA: errors(1.0, 2.0),
      claims.NO_SGA: errors(2.0, 2.0),
      claims.LGA: errors(1.2, 1.6),
    }
    run = mock.Mock()
    claims.claim_guided_layers(run, rows, (0, 1))
    claims.claim_fractions(run, claims.LGA, [(0.1, 0.2), (0.3, 0.4)], (0, 1))
    compared = [
      (call.kwargs["ours"], call.kwargs["baseline"], call.kwargs["better"])
      for call in run.claim.call_args_list
    ]
    expected = [(1.5, 1.84), (1.5, 1.8), (1.4, 1.425), (0.2, 0.24)]
    np.testing.assert_allclose([pair[:2] for pair in compared], expected)
    self.assertEqual({better for *_, better in compared}, {"lower"})


_stage = experiment.stage


if __name__ == "__main__":
  absltest.main()
