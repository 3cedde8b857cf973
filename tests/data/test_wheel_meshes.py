"""Tests of finding meshes that packages bring."""

import importlib
import pathlib
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from jaxvision.data import wheel_meshes


class WheelMeshesTest(absltest.TestCase):
  def test_files_of_a_package_are_found_without_importing_it(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    package = folder / "pybullet_data"
    objects = package / "random_urdfs"
    for name in ("001", "000"):
      (objects / name).mkdir(parents=True)
      (objects / name / f"{name}.obj").write_text("")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "duck.obj").write_text("")
    with mock.patch.object(sys, "path", [str(folder)]):
      importlib.invalidate_caches()
      self.assertEqual(wheel_meshes.find(["mug", "duck"]), package / "duck.obj")
      self.assertEqual(wheel_meshes.find_all()["duck"], package / "duck.obj")
      names = [path.name for path in wheel_meshes.random_objects()]
      self.assertEqual(names, ["000.obj", "001.obj"])
      self.assertLen(wheel_meshes.random_objects(1), 1)
    self.assertNotIn("pybullet_data", sys.modules)

  def test_nothing_installed_finds_nothing(self):
    with mock.patch("importlib.util.find_spec", return_value=None):
      self.assertIsNone(wheel_meshes.find())
      self.assertEqual(wheel_meshes.find_all(), {})
      self.assertEqual(wheel_meshes.random_objects(), [])
    with self.assertRaises(KeyError):
      wheel_meshes.find(["teapot"])


if __name__ == "__main__":
  absltest.main()
