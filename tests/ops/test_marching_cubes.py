"""Tests of marching cubes."""

import sys
from unittest import mock

import numpy as np
import trimesh
from absl.testing import absltest

from jaxvision.ops import marching_cubes

AXES = [np.linspace(-1, 1, count) for count in (33, 41, 49)]
BALL = np.linalg.norm(np.stack(np.meshgrid(*AXES, indexing="ij")), axis=0) - 0.7
SPACING = [axis[1] - axis[0] for axis in AXES]


class MarchingCubesTest(absltest.TestCase):
  def test_a_ball_is_a_ball(self):
    vertices, faces = marching_cubes.marching_cubes(BALL, 0.0, -1.0, SPACING)
    radii = np.linalg.norm(vertices, axis=1)
    np.testing.assert_allclose(radii, 0.7, atol=1e-3)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    self.assertTrue(mesh.is_watertight)
    # A volume above 0 means that faces turn outwards.
    self.assertAlmostEqual(mesh.volume, 4 / 3 * np.pi * 0.7**3, delta=0.01)
    smaller, _ = marching_cubes.marching_cubes(BALL, -0.3, -1.0, SPACING)
    np.testing.assert_allclose(np.linalg.norm(smaller, axis=1), 0.4, atol=2e-3)

  def test_no_surface_is_an_empty_mesh(self):
    for values in (BALL + 2, BALL - 2, np.zeros((4, 4, 4))):
      vertices, faces = marching_cubes.marching_cubes(values)
      self.assertEqual((vertices.shape, faces.shape), ((0, 3), (0, 3)))

  def test_wrong_fields_are_refused(self):
    with self.assertRaisesRegex(ValueError, "not finite"):
      marching_cubes.marching_cubes(np.full((3, 3, 3), np.nan))
    with self.assertRaisesRegex(ValueError, "no cell"):
      marching_cubes.marching_cubes(np.zeros((3, 1, 3)))
    with self.assertRaisesRegex(AssertionError, "rank"):
      marching_cubes.marching_cubes(np.zeros((3, 3)))

  def test_a_missing_package_is_named(self):
    with (
      mock.patch.dict(sys.modules, {"skimage.measure": None, "skimage": None}),
      self.assertRaisesRegex(ModuleNotFoundError, r"jaxvision\[demo\]"),
    ):
      marching_cubes.require()


if __name__ == "__main__":
  absltest.main()
