"""The experiment through its own command line: smoke preset, then a prediction."""

import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest, parameterized

from experiments import rscnn as experiment
from jaxvision.papers.rscnn import shapes
from tests.experiments import launching

launch = functools.partial(launching.launch, "rscnn")


class ExperimentTest(parameterized.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    held = {claim["name"]: claim["held"] for claim in results["claims"]}
    for what in ("translation", "permutation"):
      name = f"{what} leaves the features of all set abstractions as they are"
      self.assertTrue(held[name])
    self.assertIn("a shift of 0.2 costs RS-CNN at most 2 points", held)
    pictures = {picture["name"] for picture in results["pictures"]}
    self.assertEqual(pictures, {"robustness", "normals"})
    tables = {table["name"]: table["rows"] for table in results["tables"]}
    (row,) = tables["Classification"]
    self.assertBetween(row["clean, %"], 0, 100)

    points, _, _ = shapes.draw("mug", np.random.default_rng(0), 300)
    np.savetxt(workdir / "mug.txt", points)
    np.save(workdir / "few.npy", points[:3])
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={workdir}/mug.txt")
    self.assertEqual(done.returncode, 0, done.stderr)
    written = workdir / "predictions"
    (entry,) = json.loads((written / "predictions.json").read_text())
    self.assertLen(entry["probabilities"], 10)
    self.assertAlmostEqual(sum(entry["probabilities"].values()), 1.0, places=4)
    self.assertTrue((written / entry["picture"]).exists())
    self.assertTrue((written / entry["cloud"]).exists())

    out = workdir / "none"
    done = launch(*predict, f"--inputs={workdir}/few.npy", f"--out={out}")
    self.assertEqual(done.returncode, 2)
    self.assertRegex(done.stderr, r"^error: \S*few.npy: 3 points, fewer[^\n]*\n$")
    self.assertEmpty(list(out.iterdir()))

  @parameterized.parameters(
    (("--preset=tiny",), "tiny"),
    (("--preset=smoke", "--config.variants=pointnets"), "'pointnets' is none of rscnn"),
    (("--preset=smoke", "--config.points=65"), "65 of 64 of 64 stored ones"),
    (("--preset=paper",), "modelnet40 is read from --data_dir"),
  )
  def test_wrong_use_is_told_in_one_line(self, flags, message):
    workdir = self.enterContext(tempfile.TemporaryDirectory())
    done = launch(*flags, f"--workdir={workdir}/run")
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertRegex(done.stderr, rf"^error: [^\n]*{message}[^\n]*\n$")


class StagesTest(absltest.TestCase):
  def test_stages_of_the_paper_can_be_lowered(self):
    config = experiment.PRESETS["paper"]
    # The released state_dicts have 32 and 288 more, of norms that nothing uses.
    expected = {
      "rscnn": (1_289_473, (32, 40)),
      "parts": (3_488_417, (28, 2048, 50)),
      "normals": (None, (28, 1024, 3)),
    }
    stages = experiment.stages(config)
    self.assertEqual(set(stages), set(expected))
    for name, (count, shape) in expected.items():
      stage = stages[name]
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, _ = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      output = jax.eval_shape(stage.forward, state, stage.batch)
      self.assertEqual(output.shape, shape)
      if count is not None:
        leaves = jax.tree.leaves(state.params)
        self.assertEqual(sum(leaf.size for leaf in leaves), count)

  def test_demo_trains_every_claims_networks_with_three_seeds(self):
    runs = experiment.trainings(experiment.PRESETS["demo"])
    for name in ("rscnn", "pointnet", "frames", "point_dropout", "normals"):
      self.assertEqual([seed for found, seed in runs if found == name], [0, 1, 2])


if __name__ == "__main__":
  absltest.main()
