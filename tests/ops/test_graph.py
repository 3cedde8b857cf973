"""Tests of nearest neighbours, spanning forests and components."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.csgraph
import scipy.spatial
from absl.testing import absltest
from hypothesis import strategies as st

from jaxvision.ops import graph

spanning_forest = jax.jit(graph.spanning_forest, static_argnums=3)


class NearestNeighborsTest(chex.TestCase):
  def test_agrees_with_a_tree(self):
    points = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    indices, distances = jax.jit(functools.partial(graph.nearest_neighbors, k=7))(
      points
    )
    expected, order = scipy.spatial.cKDTree(points).query(points, 8)
    np.testing.assert_array_equal(indices, order[:, 1:])
    np.testing.assert_allclose(distances, expected[:, 1:], rtol=1e-5)

  def test_no_point_is_its_own_neighbor(self):
    indices, distances = graph.nearest_neighbors(jnp.ones((5, 2)), 4)
    np.testing.assert_array_equal(
      np.sort(indices), [[j for j in range(5) if j != i] for i in range(5)]
    )
    np.testing.assert_array_equal(distances, np.zeros((5, 4)))

  def test_too_many_neighbors_are_refused(self):
    with self.assertRaisesRegex(ValueError, "5 points have 1 to 4 neighbours, not 5"):
      graph.nearest_neighbors(jnp.ones((5, 2)), 5)


class SpanningForestTest(chex.TestCase):
  @hypothesis.given(seed=st.integers(0, 10_000), existing=st.floats(0, 1))
  @hypothesis.settings(max_examples=40, deadline=None)
  def test_is_as_short_as_scipys(self, seed, existing):
    rng = np.random.default_rng(seed)
    upper = np.stack(np.triu_indices(20, 1), axis=1)
    # Few different lengths, so that ties are common.
    lengths = rng.integers(1, 6, len(upper)).astype(np.float32)
    mask = rng.uniform(size=len(upper)) < existing * 0.3
    ours = spanning_forest(rng.permuted(upper, axis=1), lengths, mask, 20)
    matrix = np.zeros((20, 20))
    matrix[tuple(upper[mask].T)] = lengths[mask]
    theirs = scipy.sparse.csgraph.minimum_spanning_tree(matrix)
    in_forest = np.asarray(ours.in_forest)
    self.assertEqual(np.sum(lengths[in_forest]), theirs.sum())
    self.assertEqual(in_forest.sum(), theirs.nnz)
    self.assertTrue(np.all(mask[in_forest]))
    count, labels = scipy.sparse.csgraph.connected_components(matrix, directed=False)
    self.assertEqual(ours.count, count)
    np.testing.assert_array_equal(ours.labels, labels)

  def test_without_edges_every_node_is_alone(self):
    none = jnp.zeros((0, 2), jnp.int32)
    forest = graph.connected_components(none, jnp.zeros(0, bool), 3)
    np.testing.assert_array_equal(forest.labels, [0, 1, 2])
    self.assertEqual(forest.count, 3)

  def test_a_long_chain(self):
    pairs = jnp.stack([jnp.arange(999), jnp.arange(1, 1000)], axis=1)
    mask = jnp.arange(999) != 499
    forest = spanning_forest(pairs, jnp.zeros(999), mask, 1000)
    np.testing.assert_array_equal(forest.labels, np.repeat([0, 1], 500))
    np.testing.assert_array_equal(forest.in_forest, mask)


if __name__ == "__main__":
  absltest.main()
