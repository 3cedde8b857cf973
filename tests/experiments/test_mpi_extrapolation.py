"""The experiment through its own command line: smoke preset, then a prediction."""

import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest

from experiments import mpi_extrapolation as experiment
from jaxvision.data import images, realestate
from jaxvision.errors import UserError
from tests.experiments import launching

launch = functools.partial(launching.launch, "mpi_extrapolation")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    held = {claim["name"]: claim["held"] for claim in results["claims"]}
    self.assertTrue(held["C4: planes behind an opaque card hold none of its colour"])
    self.assertTrue(held["C1: 16 planes reach about twice as far as 8"])
    self.assertCountEqual(
      [picture["name"] for picture in results["pictures"]],
      ["range", "views", "motorcycle"],
    )

    rng = np.random.default_rng(0)
    for name in "ab":
      picture = rng.integers(256, size=(21, 27, 3), dtype=np.uint8)
      images.write_png(workdir / f"{name}.png", picture)
    poses = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    poses[1, 0, 3] = 0.3
    cameras = realestate.Cameras(
      "url", np.arange(2), np.tile([1.0, 1.0, 0.5, 0.5], (2, 1)), poses
    )
    realestate.write_cameras(workdir / "cameras.txt", cameras)
    predict = ("--mode=predict", f"--workdir={workdir}")
    files = f"{workdir}/a.png,{workdir}/b.png"
    done = launch(*predict, f"--inputs={files}")
    self.assertEqual(done.returncode, 2)
    self.assertIn("0 camera files", done.stderr)
    self.assertEmpty(list((workdir / "predictions").iterdir()))
    done = launch(*predict, f"--inputs={files},{workdir}/cameras.txt")
    self.assertEqual(done.returncode, 0, done.stderr)
    out = workdir / "predictions"
    with np.load(out / "mpi.npz") as content:
      self.assertEqual(content["layers"].shape, (16, 21, 4, 4))
      self.assertTrue(np.all(np.isfinite(content["layers"])))
    self.assertLen(list((out / "planes").iterdir()), 4)
    self.assertTrue((out / "path.gif").read_bytes().startswith(b"GIF89a"))
    self.assertEqual(images.read_rgb(out / "path.png").shape[0], 14)

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      self.assertEqual(list(experiment.stages(config)), list(config.methods), preset)
    stage = experiment.stages(experiment.PRESETS["demo"])["extrapolator"]
    state = jax.eval_shape(stage.init, jax.random.key(0))
    after, _ = jax.eval_shape(stage.step, state, stage.batch)
    self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
    output = jax.eval_shape(stage.forward, state, stage.batch)
    self.assertEqual(output.shape, (1, 24, 40, 3))

  def test_paper_preset_is_the_papers(self):
    config = experiment.PRESETS["paper"]
    self.assertEqual(experiment.pairs(config), experiment.data.RESOLUTIONS)
    stage = experiment.stages(config)["extrapolator"]
    self.assertEqual(stage.batch["reference"].shape, (1, 576, 1024, 3))
    state = jax.eval_shape(stage.init, jax.random.key(0))
    after, _ = jax.eval_shape(stage.step, state, stage.batch)
    self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))

  def test_bad_configs_are_refused(self):
    for flag, message in (
      ("--config.resolutions=1y16", "DIVISORxPLANES"),
      ("--config.planes=(16,18)", "18 planes"),
      ("--config.near=-1", "near"),
    ):
      with self.assertRaisesRegex(UserError, message):
        launching.config("mpi_extrapolation", experiment, flag)


if __name__ == "__main__":
  absltest.main()
