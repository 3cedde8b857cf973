"""Tests of distances to meshes."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from absl.testing import absltest
from hypothesis import strategies as st

from jaxvision.ops import signed_distance

CUBE = trimesh.creation.box((2, 2, 2))
VERTICES = np.asarray(CUBE.vertices, np.float32)
FACES = np.asarray(CUBE.faces, np.int32)
signed = jax.jit(signed_distance.signed_distance)
closest = jax.jit(signed_distance.closest_point)


def cube_distance(points):
  beyond = np.abs(points) - 1
  outside = np.linalg.norm(np.maximum(beyond, 0), axis=1)
  return outside + np.minimum(beyond.max(axis=1), 0)


def points_of(count, seed=0, reach=2.0):
  rng = np.random.default_rng(seed)
  return rng.uniform(-reach, reach, (count, 3)).astype(np.float32)


class SignedDistanceTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_of_a_cube(self):
    points = points_of(300)
    found = self.variant(signed_distance.signed_distance)(points, VERTICES, FACES)
    np.testing.assert_allclose(found, cube_distance(points), atol=2e-6)
    turned = signed(points, VERTICES, FACES[:, ::-1])  # inside out
    np.testing.assert_allclose(turned, cube_distance(points), atol=2e-6)

  def test_more_points_than_a_chunk_and_none(self):
    points = points_of(5000, 1)
    found = signed(points, VERTICES, FACES)
    np.testing.assert_allclose(found, cube_distance(points), atol=2e-6)
    self.assertEqual(signed(points[:0], VERTICES, FACES).shape, (0,))

  def test_winding_number(self):
    points = np.array([[0, 0, 0], [0.9, -0.9, 0.9], [2, 0, 0]], np.float32)
    found = signed_distance.winding_number(points, VERTICES, FACES)
    np.testing.assert_allclose(found, [1, 1, 0], atol=1e-5)
    # Without one side of six, the centre is wound around by five sixths.
    is_top = (VERTICES[FACES][:, :, 2] == 1).all(axis=1)
    found = signed_distance.winding_number(points[:1], VERTICES, FACES[~is_top])
    np.testing.assert_allclose(found, [5 / 6], atol=1e-5)

  @hypothesis.given(seed=st.integers(0, 99))
  @hypothesis.settings(max_examples=20, deadline=None)
  def test_closest_points_are_trimeshs(self, seed):
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(60, 3, 3)).astype(np.float32)
    if seed % 3 == 1:
      corners[:, 2] = corners[:, 1]  # segments
    points = points_of(60, seed)
    expected = trimesh.triangles.closest_point(corners, points)
    found = signed_distance.closest_on_triangles(points, corners)
    # Along a sliver the place is badly determined in float32, the distance is not.
    distances = [np.linalg.norm(points - near, axis=1) for near in (found, expected)]
    np.testing.assert_allclose(*distances, atol=1e-5)
    with jax.enable_x64(True):
      wide = points.astype(np.float64), corners.astype(np.float64)
      found = signed_distance.closest_on_triangles(*wide)
    np.testing.assert_allclose(found, expected, atol=1e-6)

  def test_one_triangle_and_what_is_not_finite(self):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9]], np.float32)
    faces = np.array([[3, 3, 3], [0, 1, 2]], np.int32)
    points = np.array(
      [[0.2, 0.2, 3], [-1, 0.5, 0], [2, 2, 0], [np.nan, 0, 0]], np.float32
    )
    found = closest(points, vertices, faces)
    np.testing.assert_allclose(
      found.points[:3], [[0.2, 0.2, 0], [0, 0.5, 0], [0.5, 0.5, 0]], atol=1e-6
    )
    np.testing.assert_allclose(found.distances, [3, 1, np.sqrt(4.5), np.inf], rtol=1e-6)
    np.testing.assert_array_equal(found.faces[:3], 1)
    distances = signed(points, vertices, faces)
    self.assertTrue(np.all(distances[:3] > 0))  # it has no inside
    self.assertEqual(distances[3], np.inf)
    with self.assertRaisesRegex(ValueError, "without faces"):
      signed(points, vertices, faces[:0])

  def test_gradient_is_the_direction_away(self):
    point = jnp.array([[0.3, 0.2, 1.7], [0.1, 0.0, 0.8], [2.0, 2.0, 2.0]])
    gradient = jax.grad(lambda p: jnp.sum(signed(p, VERTICES, FACES)))(point)
    diagonal = [3**-0.5] * 3
    np.testing.assert_allclose(gradient, [[0, 0, 1], [0, 0, 1], diagonal], atol=1e-5)


if __name__ == "__main__":
  absltest.main()
