"""Tests of shaded pictures."""

import numpy as np
from absl.testing import absltest

from jaxvision.data import mesh_pictures

# Two squares facing the camera, the smaller one in front, reddish.
SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
FACES = np.array([[0, 1, 2], [0, 2, 3]])
BOTH = np.concatenate([SQUARE, 0.5 * SQUARE + [0, 0, 0.5]])
BOTH_FACES = np.concatenate([FACES, FACES + 4])
RED = np.repeat([[0.5, 0.5, 0.5], [1.0, 0.0, 0.0]], 4, axis=0)
FRONT = {"azimuth": 0.0, "elevation": 0.0, "size": 32, "extent": 2.0}


class MeshPicturesTest(absltest.TestCase):
  def test_the_nearer_one_is_seen(self):
    picture = mesh_pictures.draw_mesh(BOTH, BOTH_FACES, colors=RED, **FRONT)
    self.assertEqual((picture.shape, picture.dtype), ((32, 32, 3), np.float32))
    np.testing.assert_array_equal(picture[0], 1)  # background
    red = (picture[..., 0] > 0.5) & (picture[..., 1] == 0)
    expected = np.zeros((32, 32), bool)
    expected[12:20, 12:20] = True
    np.testing.assert_array_equal(red, expected)
    grey = (picture[..., 0] == picture[..., 1]) & (picture[..., 0] < 0.6)
    expected[8:24, 8:24] ^= True
    np.testing.assert_array_equal(grey, expected)
    # From behind the larger square hides it.
    behind = mesh_pictures.draw_mesh(
      BOTH, BOTH_FACES, colors=RED, **(FRONT | {"azimuth": np.pi})
    )
    self.assertFalse(np.any(behind[..., 0] > behind[..., 1]))

  def test_views(self):
    right = np.array([[1.0, 0, 0]])
    np.testing.assert_allclose(mesh_pictures.camera(0, 0) @ right[0], [1, 0, 0])
    # Seen from +x, +x comes towards the camera; from above, +y does.
    toward = mesh_pictures.camera(np.pi / 2, 0) @ right[0]
    np.testing.assert_allclose(toward, [0, 0, 1], atol=1e-9)
    toward = mesh_pictures.camera(0, np.pi / 2) @ [0, 1, 0]
    np.testing.assert_allclose(toward, [0, 0, 1], atol=1e-9)
    lifted = np.array([[0.0, 0, 1]])
    picture = mesh_pictures.draw_mesh(lifted, up="z", radius=0.05, **FRONT)
    rows = np.flatnonzero((picture < 1).any(axis=(1, 2)))
    self.assertLess(rows.max(), 16)  # up is up

  def test_a_cloud_and_nothing(self):
    picture = mesh_pictures.draw_mesh(SQUARE, radius=0.05, **FRONT)
    rows, columns = np.nonzero((picture < 1).any(axis=2))
    for corner in ((8, 8), (8, 24), (24, 8), (24, 24)):
      self.assertLess(np.min(np.hypot(rows - corner[0], columns - corner[1])), 1.5)
    empty = mesh_pictures.draw_mesh(np.zeros((0, 3)), np.zeros((0, 3), int), size=8)
    np.testing.assert_array_equal(empty, 1)
    lost = np.where(np.arange(4)[:, None] == 2, np.nan, SQUARE)
    picture = mesh_pictures.draw_mesh(lost, FACES, size=8)
    np.testing.assert_array_equal(picture, 1)  # both faces use that vertex
    with self.assertRaisesRegex(ValueError, "up='x'"):
      mesh_pictures.draw_mesh(SQUARE, up="x")

  def test_it_fits_itself(self):
    picture = mesh_pictures.draw_mesh(
      1e-3 * SQUARE + 7, FACES, size=32, azimuth=0.0, elevation=0.0
    )
    covered = (picture < 1).any(axis=2)
    self.assertGreater(covered.mean(), 0.85)
    self.assertFalse(covered[0].any())


if __name__ == "__main__":
  absltest.main()
