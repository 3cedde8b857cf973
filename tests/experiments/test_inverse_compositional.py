"""The experiment through its own command line: smoke preset, then a prediction."""

import functools
import json
import pathlib
import tempfile
from unittest import mock

import jax
import numpy as np
from absl.testing import absltest

from experiments import inverse_compositional as experiment
from jaxvision.data import images
from jaxvision.papers.inverse_compositional import claims
from tests.experiments import launching

launch = functools.partial(launching.launch, "inverse_compositional")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    self.assertCountEqual(
      [picture["name"] for picture in results["pictures"]], ["errors", "residuals"]
    )
    rows = {row["variant"]: row for row in results["tables"][0]["rows"]}
    self.assertEqual(list(rows), ["zero motion", "A"])
    for row in rows.values():
      self.assertGreater(row["EPE mean, cm"], 0)

    rng = np.random.default_rng(0)
    files = []
    for frame in range(2):
      color, depth = workdir / f"color{frame}.png", workdir / f"depth{frame}.png"
      images.write_png(color, rng.integers(256, size=(40, 60, 3), dtype=np.uint8))
      images.write_png(depth, rng.integers(5000, 9000, (40, 60)).astype(np.uint16))
      files += [str(color), str(depth)]
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={','.join(files)}")
    self.assertEqual(done.returncode, 0, done.stderr)
    (pose,) = json.loads((workdir / "predictions" / "poses.json").read_text())
    self.assertTrue(pose["valid"])
    self.assertTrue(np.all(np.isfinite(pose["rotation"])))

  def test_claims_compare_what_they_say(self):
    def errors(*centimetres):
      return {"epe": np.array(centimetres)}

    rows = {
      "no learning": errors(10.0, 20.0),
      "DeepLK": errors(6.0, 8.0),
      "A": errors(6.0, 7.0),
      "A+B+C": errors(5.0, 6.0),
    }
    easy = {"no learning": errors(5.0, 5.0), "A+B+C": errors(4.0, 5.0)}
    run = mock.Mock()
    claims.claim_learning(run, rows, (0,))
    claims.claim_parts(run, rows, (0,))
    claims.claim_iterations(run, errors(7.0, 8.0), rows["A+B+C"], (0,))
    claims.claim_robustness(run, rows, easy, (0,))
    compared = [
      (call.args[0][:2], call.kwargs["ours"], call.kwargs["baseline"])
      for call in run.claim.call_args_list
    ]
    expected = [
      ("C1", 5.5, 9.0),
      ("C1", 5.5, 12.75),
      ("C2", 5.5, 6.5),
      ("C5", 6.5, 7.0),
      ("C3", 5.5, 7.125),
      ("C4", 5.0, 11.25),
      ("C4", 1.0, 10.0),
    ]
    self.assertEqual([name for name, *_ in compared], [name for name, *_ in expected])
    np.testing.assert_allclose(
      [numbers for _, *numbers in compared], [numbers for _, *numbers in expected]
    )
    self.assertTrue(
      all(call.kwargs["better"] == "lower" for call in run.claim.call_args_list)
    )

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      stages = experiment.stages(config)
      self.assertEqual(tuple(stages), config.variants, preset)
    config = experiment.PRESETS["paper"]
    stage = stages["A+B+C"]
    state = jax.eval_shape(stage.init, jax.random.key(0))
    after, _ = jax.eval_shape(stage.step, state, stage.batch)
    self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
    poses = jax.eval_shape(stage.forward, state, stage.batch)
    self.assertEqual(poses.shape, (config.batch, 4, 4, 4))


if __name__ == "__main__":
  absltest.main()
