"""The experiment through its own command line: smoke preset, then predictions."""

import dataclasses
import functools
import json
import pathlib
import tempfile
from unittest import mock

import jax
import numpy as np
import trimesh
from absl.testing import absltest

from experiments import deepsdf as experiment
from jaxvision.data import meshes
from jaxvision.errors import UserError
from jaxvision.papers.deepsdf import claims, dataset, preprocessing, single_shape
from jaxvision.papers.deepsdf.dataset import Instance
from jaxvision.train.run import Run
from tests.experiments import launching

launch = functools.partial(launching.launch, "deepsdf")
BALL = trimesh.creation.icosphere(2, 3.0)


class ExperimentTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = self.folder / "run"
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    names = [claim["name"][:2] for claim in results["claims"]]
    self.assertEqual(names, ["C1", "C2", "C2", "C2", "C3"])
    pictures = [picture["name"] for picture in results["pictures"]]
    self.assertCountEqual(pictures, ["reconstructions", "completion"])

    ball, cloud = self.folder / "ball.obj", self.folder / "cloud.ply"
    meshes.write_mesh(ball, meshes.Mesh(BALL.vertices, np.int32(BALL.faces)))
    nothing = np.zeros((0, 3), np.int32)
    meshes.write_mesh(cloud, meshes.Mesh(BALL.vertices[:80] / 6, nothing))
    done = launch("--mode=predict", f"--workdir={workdir}", f"--inputs={ball},{cloud}")
    self.assertEqual(done.returncode, 0, done.stderr)
    for name in ("ball", "cloud"):
      for suffix in ("ply", "png", "json"):
        self.assertTrue((workdir / "predictions" / f"{name}.{suffix}").exists())

  def test_the_authors_layout_baseline_and_single_shape(self):
    rng = np.random.default_rng(0)
    instances = [Instance("ShapeNetV2", "03001627", name) for name in "abc"]
    data_dir = self.folder / "data"
    frame = preprocessing.Normalization(np.zeros(3), 1.0)
    for instance in instances:
      points = rng.uniform(-1, 1, (60, 3))
      samples = preprocessing.split(points, np.linalg.norm(points, axis=1) - 0.7)
      path = instance.path(data_dir / "SdfSamples", ".npz")
      dataset.write_samples(path, samples)
      path = instance.path(data_dir / "NormalizationParameters", ".npz")
      dataset.write_normalization(path, frame)
      dataset.write_surface(
        instance.path(data_dir / "SurfaceSamples", ".ply"), BALL.vertices / 4
      )
    (data_dir / "splits").mkdir()
    config = dataclasses.replace(
      experiment.PRESETS["smoke"],
      source="shapenet",
      train_split="splits/train.json",
      test_split="splits/train.json",
      single_steps=2,
      single_samples=16,
      single_resolution=33,
    )
    dataset.write_split(data_dir / config.train_split, instances)
    run = Run("deepsdf", "smoke", config, self.folder / "run", data_dir=data_dir)
    with run:
      experiment.train(config, run)
      experiment.evaluate(config, run)
      name, mesh, _ = experiment.single_example(config)
      single_shape.record(
        run,
        experiment.single_network(config),
        experiment.restore_params(config, run, "single", 0)["decoder"],
        name,
        mesh,
        resolution=config.single_resolution,
        seed=0,
      )
    table = self.folder / "run/Evaluation/2/chamfer.csv"
    self.assertLen(table.read_text().splitlines(), 4)
    mesh = self.folder / "run/Reconstructions/2/Meshes/ShapeNetV2/03001627/a.ply"
    self.assertTrue(mesh.exists())
    with self.assertRaisesRegex(UserError, "has 3 shapes"):
      experiment.shapenet_split(
        dataclasses.replace(config, train_shapes=9), run.data_dir, "train"
      )
    with self.assertRaisesRegex(UserError, "read from --data_dir"):
      experiment.shapenet_split(config, None, "train")

  def test_claims_compare_what_they_say(self):
    run = mock.Mock()
    rows = [
      {
        "full": np.array([1.0, 3.0]),
        "half": np.array([2.0, 4.0]),
        "untrained": np.array([50.0, np.inf]),
        "observed": np.array([10.0, 30.0]),
        "nearest": np.array([5.0, 7.0]),
      }
    ]
    claims.claim_reconstruction(run, rows, (0,))
    claims.claim_interpolation(run, [1.0], [9.0], 2.0, (0,))
    claims.claim_baseline(run, [np.array([1.0])], [np.array([2.0])], (0,))
    compared = [
      (call.kwargs["ours"], call.kwargs["baseline"], call.kwargs["better"])
      for call in run.claim.call_args_list
    ]
    expected = [
      (2000, 3000, "lower"),
      (3000, 3000, "lower"),
      (3000, 2000, "lower"),
      (3000, 5000, "lower"),
      (1000, 6000, "lower"),
      (9000, 6000, "higher"),
      (1300, 2000, "lower"),
    ]
    for found, wanted in zip(compared, expected, strict=True):
      np.testing.assert_allclose(found[:2], wanted[:2])
      self.assertEqual(found[2], wanted[2])

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for config in experiment.PRESETS.values():
      stages = experiment.stages(config)
      for stage in stages.values():
        state = jax.eval_shape(stage.init, jax.random.key(0))
        after, _ = jax.eval_shape(stage.step, state, stage.batch)
        self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
        jax.eval_shape(stage.forward, state, stage.batch)
    state = jax.eval_shape(stages["auto_decoder"].init, jax.random.key(0))
    sizes = [leaf.size for leaf in jax.tree.leaves(state.params["decoder"])]
    self.assertEqual(sum(sizes), 1_843_195)
    self.assertEqual(state.params["codes"].shape, (3281, 256))
    self.assertEqual(stages["auto_decoder"].batch["samples"].shape, (64, 16_384, 4))


if __name__ == "__main__":
  absltest.main()
