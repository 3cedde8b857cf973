"""Tests of k-means and the mixture of Gaussians."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from sklearn import mixture

from jaxvision.ops import gaussian_mixture

CAPACITY = 8


@functools.partial(jax.jit, static_argnames=("capacity", "iterations", "tolerance"))
def fit(key, points, valid, components, capacity=CAPACITY, **options):
  return gaussian_mixture.fit(
    key, points, valid, components, capacity=capacity, **options
  )


def blobs(seed, size=200, spread=2.0):
  """Returns points around four places, and the places."""
  rng = np.random.default_rng(seed)
  centers = np.array([(10, 12), (40, 15), (20, 50), (60, 58)], float)
  points = centers[rng.integers(0, 4, size)] + rng.normal(0, spread, (size, 2))
  return points.astype(np.float32), centers


def by_row(points):
  points = np.asarray(points)
  return points[np.argsort(points[:, 0])]


class GaussianMixtureTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.points, self.centers = blobs(0)
    self.padded = np.zeros((256, 2), np.float32)
    self.padded[:200] = self.points
    self.valid = np.arange(256) < 200
    self.found = fit(jax.random.key(0), self.padded, self.valid, 4)

  def test_agrees_with_scikit_learn(self):
    theirs = mixture.GaussianMixture(4, random_state=0).fit(self.points)
    order, other = np.argsort(self.found.means[:4, 0]), np.argsort(theirs.means_[:, 0])
    np.testing.assert_allclose(
      self.found.means[:4][order], theirs.means_[other], atol=0.02
    )
    np.testing.assert_allclose(
      self.found.weights[:4][order], theirs.weights_[other], atol=1e-3
    )
    np.testing.assert_allclose(
      self.found.covariances[:4][order], theirs.covariances_[other], atol=0.05
    )
    self.assertAlmostEqual(
      float(self.found.log_likelihood), theirs.score(self.points), delta=0.01
    )

  def test_unused_components_are_zero(self):
    for leaf in self.found[:3]:
      self.assertFalse(np.any(leaf[4:]))
    np.testing.assert_array_equal(self.found.used, np.arange(CAPACITY) < 4)
    self.assertAlmostEqual(float(jnp.sum(self.found.weights)), 1.0, places=5)

  def test_masked_points_do_not_count(self):
    noisy = self.padded.copy()
    noisy[200:] = np.nan
    again = fit(jax.random.key(0), noisy, self.valid, 4)
    for ours, other in zip(self.found, again, strict=True):
      np.testing.assert_array_equal(ours, other)

  def test_far_from_the_origin(self):
    far = fit(jax.random.key(0), self.padded + 4000, self.valid, 4)
    np.testing.assert_allclose(
      by_row(far.means[:4]), by_row(self.found.means[:4]) + 4000, atol=0.01
    )

  def test_seeds_find_separate_blobs(self):
    for seed in range(8):
      found = fit(jax.random.key(seed), self.padded, self.valid, 4)
      np.testing.assert_allclose(
        by_row(found.means[:4]), by_row(self.centers), atol=1.0
      )

  @parameterized.parameters(1, 2, 5, 8)
  def test_degenerate_points_stay_finite(self, components):
    points = np.zeros((256, 2), np.float32)
    points[:, 0] = np.arange(256) % 9  # collinear and repeated
    found = fit(jax.random.key(1), points, self.valid, components)
    for leaf in found:
      self.assertTrue(np.all(np.isfinite(leaf)))
    self.assertTrue(np.all(found.means[:components, 1] == 0))

  def test_as_many_components_as_points(self):
    points = np.zeros((256, 2), np.float32)
    points[:3] = (1, 1), (1, 2), (200, 90)
    found = fit(jax.random.key(2), points, np.arange(256) < 3, 3)
    np.testing.assert_allclose(by_row(found.means[:3])[-1], (200, 90), atol=1e-3)
    np.testing.assert_allclose(by_row(found.means[:3])[:2, 0], (1, 1), atol=1e-3)

  def test_clusters_are_of_the_nearest_centre(self):
    centers, labels = jax.jit(
      functools.partial(gaussian_mixture.k_means, capacity=CAPACITY)
    )(jax.random.key(0), self.padded, self.valid, 4)
    self.assertTrue(np.all(np.isinf(centers[4:])))
    away = np.linalg.norm(self.points[:, None] - np.asarray(centers[:4]), axis=-1)
    np.testing.assert_array_equal(labels[:200], away.argmin(axis=1))
    for label in range(4):
      mine = self.points[np.asarray(labels[:200]) == label]
      np.testing.assert_allclose(centers[label], mine.mean(axis=0), rtol=1e-4)


if __name__ == "__main__":
  absltest.main()
