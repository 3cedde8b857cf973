"""The experiment through its own command line: smoke preset, then a prediction."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jax
import numpy as np
from absl.testing import absltest

from experiments import inverse_compositional as experiment
from jaxvision.data import images

ROOT = pathlib.Path(__file__).parents[2]


def launch(*flags: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, "-m", "experiments.inverse_compositional", *flags],
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    claims = [claim["name"][:3] for claim in results["claims"]]
    self.assertEqual(claims, ["C1:", "C1:", "C3:", "C4:", "C4:"])
    self.assertCountEqual(
      [picture["name"] for picture in results["pictures"]], ["errors", "residuals"]
    )
    rows = {row["variant"]: row for row in results["tables"][0]["rows"]}
    self.assertEqual(list(rows), ["zero motion", "no learning", "A+B+C"])
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
    done = launch(*predict, f"--inputs={files[0]}")
    self.assertEqual(done.returncode, 2)
    self.assertIn("color0.png: a colour file without a depth file", done.stderr)

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      stages = experiment.stages(config)
      self.assertEqual(tuple(stages), config.variants, preset)
    config = experiment.PRESETS["paper"]
    for name in ("A+B+C", "Cascaded-PoseCNN"):
      stage = stages[name]
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, _ = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      poses = jax.eval_shape(stage.forward, state, stage.batch)
      self.assertEqual(poses.shape[0], config.batch)


if __name__ == "__main__":
  absltest.main()
