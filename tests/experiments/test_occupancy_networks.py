"""The experiment through its own command line: smoke preset, then a prediction."""

import dataclasses
import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest

from experiments import occupancy_networks as experiment
from jaxvision.data import meshes
from tests.experiments import launching

launch = functools.partial(launching.launch, "occupancy_networks")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    flags = "--preset=smoke", "--config.threshold=0.001", f"--workdir={workdir}"
    done = launch(*flags)
    self.assertEqual(done.returncode, 0, done.stderr)
    results = json.loads((workdir / "results.json").read_text())
    names = [picture["name"] for picture in results["pictures"]]
    self.assertCountEqual(names, ["thresholds", "reconstructions_pointcloud"])
    (row,) = results["tables"][0]["rows"]
    self.assertEqual(row["variant"], "pointcloud")
    self.assertTrue(0 <= row["iou at τ"] <= row["best iou"] <= 1)

    # Nothing is written for a file that cannot be read.
    bad = workdir / "bad.npy"
    np.save(bad, np.full((9, 3), np.nan))
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={bad}")
    self.assertEqual(done.returncode, 2)
    self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
    self.assertIn("bad.npy: 9 of 9 points are not finite", done.stderr)
    self.assertFalse(list((workdir / "predictions").glob("*")))

    cloud = workdir / "cloud.npy"
    np.save(cloud, 3 + 2 * np.random.default_rng(0).normal(size=(500, 3)))
    done = launch(*predict, f"--inputs={cloud}")
    self.assertEqual(done.returncode, 0, done.stderr)
    (row,) = json.loads((workdir / "predictions" / "predictions.json").read_text())
    mesh = meshes.read_mesh(workdir / "predictions" / row["mesh"])
    self.assertEqual(len(mesh.faces), row["faces"])
    self.assertGreater(len(mesh.faces), 0)  # nearly everything is inside at this τ
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    np.testing.assert_array_less(low, 3)  # in the unit of the file
    np.testing.assert_array_less(4, high - low)
    self.assertTrue((workdir / "predictions" / "cloud.png").exists())

  def test_wrong_names_are_told_in_one_line(self):
    done = launch("--preset=smoke", "--config.variants=pointclouds")
    self.assertEqual(done.returncode, 2)
    self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
    self.assertIn("pointclouds", done.stderr)

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      self.assertEqual(tuple(experiment.stages(config)), config.variants, preset)
    config = experiment.PRESETS["paper"]
    for name in ("pointcloud", "unconditional", "pointcloud_r2n2", "pointcloud_psgn"):
      stage = experiment.stages(config)[name]
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, metrics = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      self.assertEqual(metrics["loss"].shape, ())
      jax.eval_shape(stage.forward, state, stage.batch)

  def test_paper_preset_is_the_papers(self):
    config = experiment.PRESETS["paper"]
    self.assertEqual((config.batch, config.rate, config.cloud), (64, 1e-4, 300))
    expected = {
      "image": {"inputs": (64, 224, 224, 3), "points": (64, 2048, 3)},
      "pointcloud": {"inputs": (64, 300, 3), "points": (64, 2048, 3)},
      "voxels": {"inputs": (64, 32, 32, 32), "points": (64, 1024, 3)},
      "unconditional": {"points": (64, 2048, 3)},
      "representation": {"inputs": (64,), "points": (64, 1024, 3)},
      "image_few": {"points": (64, 64, 3)},
      "image_r2n2": {"voxels": (64, 32, 32, 32)},
      "image_psgn": {"cloud": (64, 1024, 3)},
    }
    for name, shapes in expected.items():
      batch = experiment.stages(config)[name].batch
      for key, shape in shapes.items():
        self.assertEqual(batch[key].shape, shape, (name, key))
    generation = dataclasses.asdict(config.generation)
    self.assertEqual((generation["resolution"], generation["steps"]), (32, 2))


if __name__ == "__main__":
  absltest.main()
