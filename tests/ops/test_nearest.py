"""Tests of nearest neighbours, k-NN, the exact Gauss transform and Procrustes."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import scipy.spatial
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import gauss_transform, nearest, procrustes

closest = jax.jit(nearest.nearest)


def points_of(count, d=3, seed=0):
  return np.random.default_rng(seed).normal(size=(count, d)).astype(np.float32)


class NearestTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.parameters((1, 1), (7, 33), (40, 16))
  def test_is_the_k_d_trees(self, queries, count):
    queries, points = points_of(queries), points_of(count, seed=1)
    distances, indices = scipy.spatial.cKDTree(points).query(queries)
    found, distance = self.variant(nearest.nearest)(queries, points)
    np.testing.assert_array_equal(found, indices)
    np.testing.assert_allclose(distance, distances, rtol=1e-5)

  def test_k_nearest_are_the_k_d_trees(self):
    queries, points = points_of(30), points_of(25, seed=1)
    distances, indices = scipy.spatial.cKDTree(points).query(queries, 4)
    found, distance = nearest.k_nearest(queries, points, 4)
    np.testing.assert_array_equal(found, indices)
    np.testing.assert_allclose(distance, distances, rtol=1e-5)
    with self.assertRaisesRegex(ValueError, "25 points"):
      nearest.k_nearest(queries, points, 26)

  @hypothesis.given(bad=st.integers(0, 20), seed=st.integers(0, 99))
  @hypothesis.settings(max_examples=20, deadline=None)
  def test_points_that_are_not_finite_are_never_nearest(self, bad, seed):
    queries, points = points_of(9, seed=seed), points_of(20, seed=seed + 1)
    points[:bad, seed % 3] = np.nan
    found, distances = closest(queries, points)
    if bad < 20:
      self.assertGreaterEqual(np.min(found), bad)
      expected, _ = scipy.spatial.cKDTree(points[bad:]).query(queries)
      np.testing.assert_allclose(distances, expected, rtol=1e-5)
    else:
      np.testing.assert_array_equal(distances, np.inf)

  def test_nothing_to_be_near_is_refused(self):
    with self.assertRaisesRegex(ValueError, "no points"):
      nearest.nearest(jnp.zeros((2, 3)), jnp.zeros((0, 3)))


class GaussTransformTest(chex.TestCase):
  @parameterized.parameters(1, 300)  # 300 is more than one block
  def test_is_its_definition(self, count):
    queries, features = points_of(count, 2), points_of(40, 2, seed=1)
    values = points_of(40, 3, seed=2)
    squares = np.sum((queries[:, None] - features) ** 2, axis=-1)
    found = jax.jit(gauss_transform.gauss_transform)(queries, features, values)
    np.testing.assert_allclose(found, np.exp(-0.5 * squares) @ values, atol=1e-5)

  def test_what_is_not_finite_neither_gives_nor_receives(self):
    queries, features = points_of(5), points_of(6, seed=1)
    values = np.ones((6, 1), np.float32)
    expected = gauss_transform.gauss_transform(queries, features[1:], values[1:])
    features[0], queries[0] = np.nan, np.inf
    found = gauss_transform.gauss_transform(queries, features, values)
    np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-5)
    self.assertEqual(found[0, 0], 0)


class ProcrustesTest(chex.TestCase):
  @parameterized.parameters(2, 3, 4)
  def test_exact_correspondences(self, d):
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    rotation[:, 0] *= np.linalg.det(rotation)
    source, shift = points_of(20, d), np.arange(d)
    target = (source @ rotation.T + shift).astype(np.float32)
    for power in (1.0, 2.0):
      found, moved = procrustes.procrustes(
        source,
        target,
        rng.uniform(0.5, 1, 20).astype(np.float32),
        covariance_weight_power=power,
      )
      np.testing.assert_allclose(found, rotation, atol=1e-5)
      np.testing.assert_allclose(moved, shift, atol=1e-5)

  def test_squared_weights_are_those_of_points_given_twice(self):
    source, target = points_of(10), points_of(10, seed=1)
    weights = np.random.default_rng(2).uniform(size=10).astype(np.float32)
    rotation, _ = procrustes.procrustes(
      source, target, weights, covariance_weight_power=2.0
    )
    means = [np.average(cloud, axis=0, weights=weights) for cloud in (source, target)]
    covariance = ((target - means[1]) * weights[:, None] ** 2).T @ (source - means[0])
    u, _, v = np.linalg.svd(covariance)
    sign = np.diag([1, 1, np.linalg.det(u @ v)])
    np.testing.assert_allclose(rotation, u @ sign @ v, atol=1e-4)

  def test_tiny_and_zero_weights_are_finite(self):
    source, target = points_of(10), points_of(10, seed=1)
    expected, _ = procrustes.procrustes(source, target)
    found, _ = procrustes.procrustes(
      source, target, np.full(10, 1e-30, np.float32), covariance_weight_power=2.0
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    rotation, shift = procrustes.procrustes(source, target, np.zeros(10, np.float32))
    np.testing.assert_allclose(rotation, np.eye(3), atol=1e-6)
    np.testing.assert_array_equal(shift, 0)


if __name__ == "__main__":
  absltest.main()
