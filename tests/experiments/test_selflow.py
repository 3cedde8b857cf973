"""The experiment through its own command line: smoke preset, then a prediction."""

import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest, parameterized

from experiments import selflow as experiment
from jaxvision.data import fields, images
from jaxvision.errors import UserError
from tests.experiments import launching

launch = functools.partial(launching.launch, "selflow")


class ExperimentTest(parameterized.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    pictures = {picture["name"] for picture in results["pictures"]}
    self.assertEqual(pictures, {"errors", "flow", "noise"})
    held = {claim["name"][:2]: claim["held"] for claim in results["claims"]}
    self.assertTrue(held["C5"])
    tables = {table["name"]: table["rows"] for table in results["tables"]}
    names = [row["training"] for row in tables["errors"]]
    self.assertEqual(names, ["no motion", "warm-up", "noc", "occ"])

    rng = np.random.default_rng(0)
    files = []
    for frame in range(4):
      path = workdir / f"{frame}.png"
      images.write_png(path, rng.integers(256, size=(13, 22, 3), dtype=np.uint8))
      files.append(str(path))
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={','.join(files)}")
    self.assertEqual(done.returncode, 0, done.stderr)
    flow = fields.read_flo(workdir / "predictions" / "0001-1-to-2.flo")
    self.assertEqual(flow.shape, (13, 22, 2))

    out = workdir / "none"
    done = launch(*predict, f"--inputs={files[0]},{files[1]}", f"--out={out}")
    self.assertEqual(done.returncode, 2)
    self.assertRegex(done.stderr, r"^error: 2 frames: three in order[^\n]*\n$")
    self.assertEmpty(list(out.iterdir()))

  @parameterized.parameters(
    (("--preset=tiny",), "tiny"),
    (("--preset=smoke", "--config.comparisons=three-frame"), "'three-frame' is none"),
    (("--preset=smoke", "--config.coarsest=7"), "levels 7 to 1"),
    (("--preset=smoke", "--config.window=20,16"), "larger than a frame"),
    (("--preset=paper",), "Sintel is read from --data_dir"),
  )
  def test_wrong_requests_are_told(self, arguments, message):
    with self.assertRaisesRegex(UserError, message):
      config = launching.config("selflow", experiment, *arguments)
      experiment.training_source(config, None, supervised=False)

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    self.assertIn("census-superpixels", experiment.stages(experiment.PRESETS["demo"]))
    config = experiment.PRESETS["paper"]
    stages = experiment.stages(config)
    self.assertEqual(
      list(stages), ["brightness", "census", "census-superpixels", "supervised"]
    )
    stage = stages["census-superpixels"]
    state = jax.eval_shape(stage.init, jax.random.key(0))
    after, _ = jax.eval_shape(stage.step, state, stage.batch)
    self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
    flows = jax.eval_shape(stage.forward, state, stage.batch)
    self.assertEqual(flows.full.shape, (2, 3, 4, 320, 896, 2))
    self.assertEqual(flows.refined.shape[3:], (80, 224, 2))

  def test_comparisons_have_the_same_number_of_updates(self):
    chosen = {one.name: one for one in experiment.trainings(experiment.PRESETS["demo"])}

    def steps(name):
      one = chosen[name]
      return one.steps + (0 if one.parent is None else steps(one.parent))

    for ours, baseline in (
      ("occ", "continued"),
      ("noc", "unmasked"),
      ("warm-up", "two-frame"),
      ("unmasked", "brightness"),
    ):
      self.assertEqual(steps(ours), steps(baseline))


if __name__ == "__main__":
  absltest.main()
