"""Tests of generalised robust continuous clustering."""

import chex
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.papers.robust_loss import clustering
from jaxvision.train import jit_once

neighborhood = jit_once(clustering.neighborhood, static_argnums=1)
solve = jit_once(clustering.solve)


def blobs():
  """[60, 2] points of three clusters, and which one each is of."""
  rng = np.random.default_rng(0)
  label = np.repeat(np.arange(3), 20)
  center = np.array([[0, 0], [10, 0], [0, 10]])[label]
  return (center + 0.5 * rng.normal(size=(60, 2))).astype(np.float32), label


class ClusteringTest(chex.TestCase):
  def test_separated_blobs_are_never_joined(self):
    points, label = blobs()
    found = solve(points, neighborhood(points, 5), -2.0)
    for cluster in range(int(found.count)):
      members = label[np.asarray(found.labels) == cluster]
      self.assertLen(np.unique(members), 1)

  def test_neighborhood_is_mutual_or_of_the_forest(self):
    points, _ = blobs()
    edges = neighborhood(points, 5)
    exists = np.asarray(edges.weights) > 0
    pairs = np.sort(np.asarray(edges.pairs)[exists], axis=1)
    self.assertLen(np.unique(pairs, axis=0), len(pairs))
    distances = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    np.testing.assert_allclose(np.asarray(edges.lengths)[exists], distances, rtol=1e-4)
    degrees = np.bincount(pairs.ravel(), minlength=60)
    self.assertGreaterEqual(degrees.min(), 1)
    expected = degrees.mean() / np.sqrt(degrees[pairs[:, 0]] * degrees[pairs[:, 1]])
    weights = np.asarray(edges.weights)[exists]
    np.testing.assert_allclose(weights, expected, rtol=1e-5)

  def test_bad_points_are_left_out(self):
    points, _ = blobs()
    points[[3, 40]] = np.nan
    found = solve(points, neighborhood(points, 5), -2.0)
    chex.assert_tree_all_finite(found.representatives)
    labels = np.asarray(found.labels)
    np.testing.assert_array_equal(labels[[3, 40]], [-1, -1])
    self.assertSetEqual(set(labels) - {-1}, set(range(int(found.count))))

  def test_coincident_points_are_one_cluster(self):
    points = jnp.ones((8, 3))
    found = solve(points, neighborhood(points, 3), -2.0)
    chex.assert_tree_all_finite(found.representatives)
    chex.assert_trees_all_close(found.representatives, points)

  def test_one_point_is_refused(self):
    with self.assertRaisesRegex(ValueError, "at least two points, not 1"):
      clustering.neighborhood(jnp.ones((1, 2)))


if __name__ == "__main__":
  absltest.main()
