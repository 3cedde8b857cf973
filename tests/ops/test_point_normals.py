"""Tests of fitted normals and their orientation."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import point_normals

estimate = jax.jit(point_normals.estimate_normals, static_argnums=1)
orient = jax.jit(point_normals.orient_consistently)


def sphere(count, seed=0):
  directions = np.random.default_rng(seed).normal(size=(count, 3))
  return np.float32(directions / np.linalg.norm(directions, axis=1, keepdims=True))


class EstimateNormalsTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_a_tilted_plane_is_exact(self):
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1, 1, (2, 40, 1))
    points = np.float32(u * [1, 0, 1] + v * [0, 1, 0] + [5, 5, 5])
    found = self.variant(functools.partial(point_normals.estimate_normals, k=8))(points)
    cosines = np.abs(found.normals @ np.float32([1, 0, -1])) / np.sqrt(2)
    np.testing.assert_allclose(cosines, 1.0, atol=1e-4)
    np.testing.assert_allclose(found.variation, 0.0, atol=1e-4)
    self.assertTrue(np.all(found.valid))

  def test_a_line_determines_no_plane(self):
    points = jnp.arange(20.0)[:, None] * jnp.array([[1.0, 2.0, 3.0]])
    found = estimate(points, 5)
    self.assertFalse(np.any(found.valid))
    self.assertTrue(np.all(np.isfinite(found.normals)))
    self.assertFalse(np.any(estimate(jnp.ones((9, 3)), 4).valid))

  def test_points_that_are_not_finite_harm_nobody_else(self):
    points = sphere(200)
    expected = estimate(points[5:], 10)
    points[:5] = np.nan
    found = estimate(points, 10)
    self.assertFalse(np.any(found.valid[:5]))
    cosines = np.abs(np.sum(found.normals[5:] * expected.normals, axis=1))
    np.testing.assert_allclose(cosines, 1.0, atol=1e-4)

  def test_two_points_are_refused(self):
    with self.assertRaisesRegex(ValueError, "no plane"):
      point_normals.estimate_normals(jnp.zeros((9, 3)), 2)


class OrientTest(chex.TestCase):
  def test_towards_a_viewpoint(self):
    points, normals = sphere(50), sphere(50, seed=1)
    turned = point_normals.orient_towards(points, normals, jnp.array([0.0, 0, 9]))
    self.assertTrue(np.all(np.sum(turned * (np.float32([0, 0, 9]) - points), 1) >= 0))
    np.testing.assert_allclose(np.abs(turned), np.abs(normals))

  def test_a_bent_surface_gets_one_sign(self):
    # A torus: away from the centre is wrong on its inner half.
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 2 * np.pi, (2, 400))
    outward = np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], 1)
    ring = np.stack([np.cos(a), np.sin(a), 0 * a], 1)
    points = np.float32(ring + 0.4 * outward)
    found = estimate(points, 10)
    turned = orient(points, found.normals, found.neighbors)
    cosines = np.sum(turned * outward, axis=1)
    self.assertGreater(np.mean(cosines > 0), 0.99)
    self.assertLess(np.mean(np.sum(points * outward, axis=1) > 0), 0.9)

  def test_every_part_is_oriented_outwards(self):
    points = np.concatenate([sphere(80), sphere(80, seed=1) + np.float32([9, 0, 0])])
    found = estimate(points, 8)
    turned = orient(points, found.normals, found.neighbors)
    outward = points - np.repeat(np.float32([[0, 0, 0], [9, 0, 0]]), 80, axis=0)
    self.assertTrue(np.all(np.sum(turned * outward, axis=1) > 0))


if __name__ == "__main__":
  absltest.main()
