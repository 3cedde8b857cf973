import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops import mesh_simplification
from jaxvision.ops.marching_cubes import marching_cubes


def level_set(size=24, torus=True):
  axis = np.linspace(-0.5, 0.5, size)
  x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
  ball = np.sqrt(x**2 + y**2 + z**2) - 0.35
  ring = np.hypot(np.hypot(x, y) - 0.3, z) - 0.12
  values = ring if torus else ball
  return marching_cubes(values, 0.0, origin=-0.5, spacing=1 / (size - 1))


def volume(vertices, faces):
  return np.linalg.det(vertices[faces].astype(np.float64)).sum() / 6


def euler(vertices, faces):
  edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0)
  return len(vertices) - len(edges) + len(faces)


class SimplifyTest(absltest.TestCase):
  def test_a_torus_stays_one(self):
    vertices, faces = level_set()
    fewer, simple = mesh_simplification.simplify(vertices, faces, 400)
    self.assertLessEqual(len(simple), 400)
    self.assertGreater(len(simple), 380)
    self.assertEqual(euler(fewer, simple), 0)
    sides = np.sort(simple[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)
    _, uses = np.unique(sides, axis=0, return_counts=True)
    np.testing.assert_array_equal(uses, 2)  # closed
    whole, rest = volume(vertices, faces), volume(fewer, simple)
    self.assertLess(abs(rest / whole - 1), 0.03)
    distance = np.hypot(np.hypot(fewer[:, 0], fewer[:, 1]) - 0.3, fewer[:, 2]) - 0.12
    self.assertLess(np.abs(distance).max(), 0.02)
    self.assertEqual((fewer.dtype, simple.dtype), (np.float32, np.int32))
    self.assertEqual(len(np.unique(simple)), len(fewer))

  def test_flat_parts_lose_their_faces_first(self):
    """A cube of many faces becomes few, exactly on the cube."""
    size = 10
    values = np.full((size + 2,) * 3, 1.0)
    values[1:-1, 1:-1, 1:-1] = -1.0
    vertices, faces = marching_cubes(values)
    fewer, simple = mesh_simplification.simplify(vertices / size, faces, 150)
    self.assertLessEqual(len(simple), 150)
    self.assertLess(
      abs(volume(fewer, simple) / volume(vertices / size, faces) - 1), 1e-3
    )

  @settings(max_examples=5, deadline=None)
  @given(st.integers(0, 700))
  def test_topology_is_kept_whatever_is_asked_for(self, target):
    vertices, faces = level_set(12, torus=False)
    fewer, simple = mesh_simplification.simplify(vertices, faces, target)
    self.assertEqual(euler(fewer, simple), 2)
    self.assertGreater(volume(fewer, simple), 0)

  def test_what_is_small_or_degenerate_is_left(self):
    vertices, faces = level_set(12, torus=False)
    same, kept = mesh_simplification.simplify(vertices, faces, 10_000)
    np.testing.assert_array_equal(same[kept], vertices[faces])
    empty = mesh_simplification.simplify(vertices, faces[:0], 5)
    self.assertEqual([array.shape for array in empty], [(0, 3), (0, 3)])
    one = mesh_simplification.simplify(vertices, faces[:1], 0)
    self.assertEqual(one[1].shape, (1, 3))  # its rim stays
    with self.assertRaises(AssertionError):
      mesh_simplification.simplify(vertices, faces, -1)


if __name__ == "__main__":
  absltest.main()
