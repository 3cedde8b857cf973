import functools

import chex
import jax
import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops import voxels

_CUBE = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 3)
_CUBE_FACES = np.array(
  [
    (0, 1, 3),
    (0, 3, 2),
    (4, 6, 7),
    (4, 7, 5),
    (0, 4, 5),
    (0, 5, 1),
    (2, 3, 7),
    (2, 7, 6),
    (0, 2, 6),
    (0, 6, 4),
    (1, 5, 7),
    (1, 7, 3),
  ],
  np.int32,
)
contains = jax.jit(voxels.contains)
solid = jax.jit(voxels.voxelize_solid, static_argnums=2)
surface = jax.jit(voxels.voxelize_surface, static_argnums=2)


def box(low, high):
  low, high = np.array(low), np.array(high)
  return (low + _CUBE * (high - low)).astype(np.float32), _CUBE_FACES


def octahedron(radius=0.4):
  axes = np.concatenate([np.eye(3), -np.eye(3)])
  faces = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2)]
  faces += [(b, a, 5) for a, b, _ in faces]
  return (radius * axes).astype(np.float32), np.array(faces, np.int32)


class VoxelsTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_points_in_an_octahedron(self):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3)).astype(np.float32)
    inside = np.abs(points).sum(axis=1) < 0.4
    found = self.variant(voxels.contains)(points, *octahedron())
    np.testing.assert_array_equal(found, inside)

  @settings(max_examples=30, deadline=None)
  @given(st.integers(0, 2**31))
  def test_solid_of_a_box_whose_faces_meet_centres(self, seed):
    """Half of the boxes have faces and diagonals exactly on the cells' centres."""
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(-4, 5, (2, 3)), axis=0) / 8
    high = np.maximum(high, low + 1 / 8)
    shift = 1 / 16 if seed % 2 else 0.03
    centers = voxels.cell_centers(8)
    inner = np.all((centers > low + shift) & (centers < high + shift), axis=-1)
    outer = np.all((centers >= low + shift) & (centers <= high + shift), axis=-1)
    found = np.asarray(solid(*box(low + shift, high + shift), 8))
    self.assertTrue(np.all(found >= inner) and np.all(found <= outer))
    points = contains(centers.reshape(-1, 3), *box(low + shift, high + shift))
    points = np.asarray(points).reshape(8, 8, 8)
    self.assertTrue(np.all(points >= inner) and np.all(points <= outer))

  def test_a_mesh_with_a_hole_errs_outwards(self):
    vertices, faces = box([-0.3] * 3, [0.3] * 3)
    top = np.all(vertices[faces][..., 2] > 0.2, axis=1)
    open_faces = faces[~top]
    self.assertFalse(np.any(solid(vertices, open_faces, 8)))
    center = np.zeros((1, 3), np.float32)
    self.assertFalse(np.any(contains(center, vertices, open_faces)))

  def test_degenerate_meshes(self):
    vertices, faces = box([-0.3] * 3, [0.3] * 3)
    expected = solid(vertices, faces, 8)
    # Faces without area and unused vertices change nothing.
    more = np.concatenate([faces, [[0, 0, 1], [3, 3, 3]]]).astype(np.int32)
    unused = np.concatenate([vertices, np.full((1, 3), 9.0, np.float32)])
    np.testing.assert_array_equal(solid(unused, more, 8), expected)
    for function in (voxels.voxelize_solid, voxels.voxelize_surface):
      self.assertFalse(np.any(function(vertices, faces[:0], 4)))
    self.assertFalse(np.any(voxels.contains(vertices, vertices, faces[:0])))
    self.assertEqual(voxels.contains(vertices[:0], vertices, faces).shape, (0,))
    self.assertFalse(np.any(solid(vertices, faces[:1], 8)))  # one triangle
    bad = np.array([[np.nan, 0, 0], [np.inf, 0, 0]], np.float32)
    self.assertFalse(np.any(contains(bad, vertices, faces)))

  def test_surface_is_what_dense_samples_touch(self):
    rng = np.random.default_rng(0)
    for _ in range(4):
      vertices = rng.uniform(-0.5, 0.5, (3, 3)).astype(np.float32)
      weights = rng.dirichlet([0.5] * 3, 40_000)
      samples = weights @ vertices
      cells = np.floor((samples + 0.5) * 6).astype(int)
      touched = np.zeros((6, 6, 6), bool)
      touched[tuple(cells.T)] = True
      found = np.asarray(surface(vertices, np.array([[0, 1, 2]], np.int32), 6))
      self.assertTrue(np.all(found >= touched))
      self.assertLessEqual(found.sum() - touched.sum(), 2)  # corners barely touched

  def test_surface_of_a_point(self):
    vertices = np.full((3, 3), 0.1, np.float32)
    found = np.asarray(surface(vertices, np.array([[0, 1, 2]], np.int32), 6))
    np.testing.assert_array_equal(np.argwhere(found), [[3, 3, 3]])

  @settings(max_examples=10, deadline=None)
  @given(st.integers(0, 2**31))
  def test_boundary_mesh_encloses_its_voxels(self, seed):
    occupied = np.random.default_rng(seed).random((5, 5, 5)) < 0.4
    vertices, faces = voxels.boundary_mesh(occupied)
    corners = vertices[faces].astype(np.float64)
    volume = np.linalg.det(corners).sum() / 6
    np.testing.assert_allclose(volume, occupied.sum() / 125, atol=1e-6)
    self.assertEqual(len(np.unique(faces)), len(vertices))
    if seed % 5 == 0:
      padded = np.zeros((500, 3), np.int32)  # one compiled size
      padded[: len(faces)] = faces
      found = solid(np.resize(vertices, (216, 3)), padded, 5)
      np.testing.assert_array_equal(found, occupied)

  def test_boundary_mesh_of_nothing_is_empty(self):
    vertices, faces = voxels.boundary_mesh(np.zeros((4, 4, 4), bool))
    self.assertEqual((vertices.shape, faces.shape), ((0, 3), (0, 3)))

  @chex.variants(with_jit=True, without_jit=True)
  def test_iou(self):
    first = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], bool)
    second = np.array([[0, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
    np.testing.assert_allclose(
      self.variant(voxels.iou)(first, second), [1 / 3, 1.0, 0.0], rtol=1e-6
    )

  def test_lookup_of_centres_is_the_grid(self):
    grid = np.random.default_rng(0).random((4, 4, 4), np.float32)
    look = functools.partial(voxels.lookup, grid, low=-1.0, high=1.0)
    np.testing.assert_array_equal(look(voxels.cell_centers(4, -1.0, 1.0)), grid)
    np.testing.assert_array_equal(look(np.array([[1.1, 0, 0], [0, -1.1, 0]])), 0.0)

  def test_wrong_shapes_are_refused(self):
    vertices, faces = octahedron()
    with self.assertRaises(AssertionError):
      voxels.contains(vertices[:, :2], vertices, faces)
    with self.assertRaises(AssertionError):
      voxels.iou(np.zeros(3), np.zeros(3))


if __name__ == "__main__":
  absltest.main()
