"""Tests of normals and random points of meshes."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import strategies as st

from jaxvision.ops import mesh_sampling

# A unit square of two triangles, one without area, and an unused vertex.
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 9, 9]], np.float32)
FACES = np.array([[0, 1, 1], [0, 1, 2], [0, 2, 3]], np.int32)
sample = jax.jit(mesh_sampling.sample_surface, static_argnums=3)


class MeshSamplingTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_normals_and_areas(self):
    normals = self.variant(mesh_sampling.face_normals)(VERTICES, FACES)
    np.testing.assert_array_equal(normals, [[0, 0, 0], [0, 0, 1], [0, 0, 1]])
    areas = self.variant(mesh_sampling.face_areas)(VERTICES, FACES)
    np.testing.assert_allclose(areas, [0, 0.5, 0.5])
    normals = self.variant(mesh_sampling.vertex_normals)(VERTICES, FACES)
    np.testing.assert_array_equal(normals[:4], np.tile([0, 0, 1], (4, 1)))
    np.testing.assert_array_equal(normals[4], 0)  # used by no face

  def test_points_are_uniform_over_the_area(self):
    points, normals, faces = sample(jax.random.key(0), VERTICES, FACES, 4000)
    self.assertNotIn(0, faces)  # it has no area
    np.testing.assert_array_equal(normals, np.tile([0, 0, 1], (4000, 1)))
    counts, *_ = np.histogram2d(points[:, 0], points[:, 1], 4, [[0, 1], [0, 1]])
    self.assertEqual(counts.sum(), 4000)
    # 250 a cell: more than five standard deviations off would be no chance.
    self.assertLess(np.abs(counts - 250).max(), 80)

  @hypothesis.given(seed=st.integers(0, 99))
  @hypothesis.settings(max_examples=20, deadline=None)
  def test_points_lie_in_their_faces(self, seed):
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(6, 3)).astype(np.float32)
    faces = np.stack([rng.permutation(6)[:3] for _ in range(4)]).astype(np.int32)
    points, _, chosen = sample(jax.random.key(seed), vertices, faces, 50)
    corners = vertices[faces[chosen]]
    weights = [
      np.linalg.lstsq(np.vstack([triangle.T, np.ones(3)]), np.append(point, 1))[0]
      for triangle, point in zip(corners, np.asarray(points), strict=True)
    ]
    self.assertGreater(np.min(weights), -1e-3)
    rebuilt = np.einsum("nc,ncd->nd", np.array(weights), corners)
    np.testing.assert_allclose(rebuilt, points, atol=1e-4)

  def test_meshes_without_surface(self):
    points, normals, _ = sample(jax.random.key(0), VERTICES, FACES[:1], 5)
    self.assertTrue(np.all(np.isnan(points)))
    np.testing.assert_array_equal(normals, 0)
    with self.assertRaisesRegex(ValueError, "without faces"):
      sample(jax.random.key(0), VERTICES, FACES[:0], 5)
    broken = np.where(VERTICES == 9, np.nan, VERTICES)
    points, *_ = sample(jax.random.key(0), broken, FACES, 5)
    self.assertTrue(np.all(np.isfinite(points)))  # no face uses that vertex
    with self.assertRaisesRegex(AssertionError, "shape"):
      mesh_sampling.face_normals(VERTICES[:, :2], FACES)

  def test_gradient_of_areas(self):
    chex.assert_numerical_grads(
      lambda v: jnp.sum(mesh_sampling.face_areas(v, FACES[1:])),
      (jnp.asarray(VERTICES),),
      order=1,
      atol=1e-2,
    )


if __name__ == "__main__":
  absltest.main()
