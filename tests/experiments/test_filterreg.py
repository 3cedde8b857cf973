"""The experiment through its own command line: smoke preset, then a prediction."""

import functools
import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from experiments import filterreg as experiment
from jaxvision.data import ply
from jaxvision.errors import UserError
from tests.experiments import launching

launch = functools.partial(launching.launch, "filterreg")


class ExperimentTest(absltest.TestCase):
  def test_smoke_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    held = {claim["name"]: claim["held"] for claim in results["claims"]}
    self.assertTrue(held["C4: twist assembly equals direct assembly to 1e-5"])
    names = {picture["name"] for picture in results["pictures"]}
    self.assertContainsSubset({"registration", "errors"}, names)

    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(150, 3)) * [1.0, 0.6, 0.3]
    cloud[:, 0] += 0.5 * cloud[:, 1] ** 2
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    moved = cloud @ turn.T + [3.0, -1.0, 2.0]
    for name, points in (("model", cloud), ("observation", moved)):
      columns = dict(zip("xyz", points.astype(np.float32).T, strict=True))
      ply.write_ply_vertices(workdir / f"{name}.ply", columns)
    predict = ("--mode=predict", f"--workdir={workdir}", "--config.max_iterations=60")
    inputs = f"--inputs={workdir}/model.ply,{workdir}/observation.ply"
    done = launch(*predict, "--preset=smoke", inputs, "--workdir", f"{workdir}/other")
    self.assertEqual(done.returncode, 0, done.stderr)
    out = workdir / "other" / "predictions"
    said = json.loads((out / "transform.json").read_text())
    self.assertTrue(said["is_valid"])
    np.testing.assert_allclose(np.array(said["transform"])[:3, :3], turn, atol=0.02)
    aligned = ply.read_ply_vertices(out / "aligned.ply")
    distance = np.stack([aligned[a] for a in "xyz"], axis=1) - moved
    self.assertLess(np.mean(np.linalg.norm(distance, axis=1)), 0.05)
    self.assertTrue((out / "before_after.png").exists())

    with self.assertRaisesRegex(UserError, "model and the observation, not 1 files"):
      experiment.predict(experiment.PRESETS["smoke"], None, [workdir / "model.ply"])

  def test_the_bunny_is_asked_for(self):
    config = experiment.PRESETS["paper"]
    with self.assertRaisesRegex(UserError, "data_dir"):
      experiment.load_surface(config, None)
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    with self.assertRaisesRegex(UserError, "holds neither bunny.pcd nor bunny.ply"):
      experiment.load_surface(config, folder)
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    columns = dict(zip("xyz", points.T, strict=True))
    ply.write_ply_vertices(folder / "bunny.ply", columns)
    found = np.asarray(experiment.load_surface(config, folder))
    np.testing.assert_allclose(np.sort(found[:, 0]), np.sort(points[:, 0]), rtol=1e-6)
    self.assertLen(config.seeds, 30)


if __name__ == "__main__":
  absltest.main()
