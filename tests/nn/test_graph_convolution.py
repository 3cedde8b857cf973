"""Graph convolutions and the adjacency that they average over."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.nn.graph_convolution import (
  GraphConvolution,
  edges_of_faces,
  normalized_adjacency,
)
from jaxvision.ops import sparse

# A triangle with a tail: 0-1-2-0, 2-3, 3-4.
FACES = np.array([[0, 1, 2]])
EDGES = np.array([[0, 1, 1, 2, 0, 2, 2, 3, 3, 4], [1, 0, 2, 1, 2, 0, 3, 2, 4, 3]])


class GraphConvolutionTest(absltest.TestCase):
  def test_rows_are_means_over_neighbours_and_the_node(self):
    dense = sparse.to_dense(normalized_adjacency(*EDGES, 5))
    np.testing.assert_allclose(np.sum(dense, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(dense[0], [1 / 3, 1 / 3, 1 / 3, 0, 0], atol=1e-6)
    np.testing.assert_allclose(dense[4], [0, 0, 0, 0.5, 0.5], atol=1e-6)
    self.assertFalse(np.allclose(dense, np.asarray(dense).T))

  def test_repeated_edges_count_once(self):
    twice = np.concatenate([EDGES, EDGES], axis=1)
    np.testing.assert_array_equal(
      sparse.to_dense(normalized_adjacency(*twice, 5)),
      sparse.to_dense(normalized_adjacency(*EDGES, 5)),
    )

  def test_two_hops_reach_neighbours_of_neighbours(self):
    dense = np.asarray(sparse.to_dense(normalized_adjacency(*EDGES, 5, hops=2)))
    np.testing.assert_array_equal(dense[4] > 0, [False, False, True, True, True])
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-6)

  def test_edges_of_a_face_go_both_ways(self):
    row, column = edges_of_faces(FACES)
    self.assertEqual(
      set(zip(row.tolist(), column.tolist(), strict=True)),
      {(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)},
    )

  def test_bias_comes_after_the_mean_and_all_forms_agree(self):
    layer = GraphConvolution(4)
    matrix = normalized_adjacency(*EDGES, 5)
    x = jax.random.normal(jax.random.key(0), (2, 5, 3))
    variables = layer.init(jax.random.key(1), x, matrix)
    kernel, bias = (variables["params"][name] for name in ("kernel", "bias"))
    self.assertGreater(np.abs(bias).max(), 0)
    dense = sparse.to_dense(matrix)
    expected = jnp.einsum("nm,bmc->bnc", dense, x @ kernel) + bias
    for adjacency in (matrix, dense):
      found = layer.apply(variables, x, adjacency)
      np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(
      layer.apply(variables, x, None), x @ kernel + bias, atol=1e-5
    )

  def test_initial_range(self):
    layer = GraphConvolution(40)
    variables = layer.init(jax.random.key(0), jnp.ones((1, 5, 60)), None)
    kernel = np.asarray(variables["params"]["kernel"])
    self.assertBetween(np.abs(kernel).max(), 0.55, 0.6)  # 6 / sqrt(100)


if __name__ == "__main__":
  absltest.main()
