"""The experiment through its own command line: smoke preset, then predictions."""

import functools
import json
import pathlib
import tempfile

import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from experiments import fermat_paths as experiment
from jaxvision.data import archives, meshes
from jaxvision.papers.fermat_paths import closed_forms, measurements, scenes
from tests.experiments import launching

launch = functools.partial(launching.launch, "fermat_paths")


def sphere_arrays(grid=14):
  """Transients of the sphere on a grid, as the authors' files hold them."""
  wall = scenes.wall_grid(grid, 60.0)
  bins = scenes.bin_centres(1800)
  distances = np.linalg.norm(wall - jnp.array(scenes.CONVEX_CENTER), axis=-1)
  transients = closed_forms.sphere_transient(bins, distances[..., None], scenes.RADIUS)
  return measurements.to_arrays(
    measurements.Measurement(np.array(transients), np.array(bins), np.array(wall))
  )


class ExperimentTest(absltest.TestCase):
  def test_smoke_reconstructs_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    held = {claim["name"]: claim["held"] for claim in results["claims"]}
    self.assertLen(held, 8)
    # These hold at any size.
    self.assertTrue(held["the sign of every step is that of k + 1/ρ"])
    self.assertTrue(held["noise-free points lie within 0.05 cm in the median"])
    self.assertTrue(held["noise-free normals lie within 1 degree in the median"])
    self.assertCountEqual(
      [picture["name"] for picture in results["pictures"]],
      ["transients of concaveSphere", "surfaces", "normals"],
    )

    arrays = sphere_arrays()
    arrays["transients"][40] = np.nan  # a missing wall point
    archives.write_mat(workdir / "sphere.mat", arrays)
    archives.write_npz(
      workdir / "dark.npz", arrays | {"transients": 0 * arrays["transients"]}
    )
    own = workdir / "own"  # nothing is learned, so that predictions need no run
    predict = ("--mode=predict", f"--workdir={own}", "--config.kind=plane")
    done = launch(*predict, f"--inputs={workdir}/sphere.mat,{workdir}/dark.npz")
    self.assertEqual(done.returncode, 2)
    self.assertRegex(done.stderr.strip(), r"^error: .*dark\.npz: transients hold no")
    self.assertEmpty(list((own / "predictions").glob("*")))

    done = launch(*predict, f"--inputs={workdir}/sphere.mat")
    self.assertEqual(done.returncode, 0, done.stderr)
    written = own / "predictions"
    cloud = meshes.read_mesh(written / "sphere.ply").vertices
    self.assertGreater(len(cloud), 40)
    radius = np.linalg.norm(cloud - np.array(scenes.CONVEX_CENTER), axis=1)
    self.assertLess(np.median(np.abs(radius - scenes.RADIUS)), 0.05)
    surface = meshes.read_mesh(written / "sphere_surface.ply")
    self.assertNotEmpty(surface.faces)
    self.assertTrue((written / "sphere.png").read_bytes().startswith(b"\x89PNG"))

  def test_wrong_files_and_scenes_are_one_line(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=paper", f"--workdir={workdir}", f"--data_dir={workdir}")
    self.assertEqual(done.returncode, 2)
    self.assertRegex(done.stderr.strip(), r"^error: .*plane\.mat: no such file[^\n]*$")

  def test_presets(self):
    self.assertEqual(experiment.PRESETS["paper"].grid, 64)
    self.assertEqual(experiment.PRESETS["paper"].bins, 4096)
    self.assertCountEqual(experiment.PRESETS["demo"].scenes, scenes.SCENES)


if __name__ == "__main__":
  absltest.main()
