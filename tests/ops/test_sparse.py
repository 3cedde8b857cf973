"""Sparse products beside dense ones, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import sparse


def random_matrix(rows, columns, seed=0, share=0.2):
  rng = np.random.default_rng(seed)
  dense = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < share)
  return dense.astype(np.float32)


class SparseTest(parameterized.TestCase):
  @parameterized.parameters((30, 40, 0.9), (6, 5, 0.0))
  def test_products_and_gradients_are_the_dense_ones(self, rows, columns, share):
    dense = random_matrix(rows, columns, share=share)
    matrix = sparse.from_dense(dense)
    self.assertEqual(matrix.shape, dense.shape)
    x = np.random.default_rng(1).normal(size=(2, columns, 3)).astype(np.float32)

    def loss(product, x):
      return jnp.sum(jnp.sin(product(x)))

    @jax.jit
    def both(x):
      return [
        jax.value_and_grad(lambda x, product=product: loss(product, x))(x)
        for product in (lambda x: sparse.matmul(matrix, x), lambda x: dense @ x)
      ]

    (ours, gradient), (theirs, expected) = both(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    np.testing.assert_allclose(sparse.to_dense(matrix), dense)

  def test_elements_at_one_place_are_added(self):
    matrix = sparse.from_elements([0, 0, 1], [2, 2, 0], [1.0, 2.0, 4.0], (2, 3))
    np.testing.assert_array_equal(
      sparse.to_dense(matrix), [[0.0, 0.0, 3.0], [4.0, 0.0, 0.0]]
    )

  def test_places_outside_are_refused(self):
    with self.assertRaisesRegex(ValueError, "outside the 2 rows"):
      sparse.from_elements([2], [0], [1.0], (2, 3))
    with self.assertRaisesRegex(ValueError, "outside the 3 columns"):
      sparse.from_elements([0], [-1], [1.0], (2, 3))

  def test_identity_under_jit_and_vmap(self):
    x = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    product = jax.jit(jax.vmap(lambda x: sparse.matmul(sparse.identity(3), x)))
    np.testing.assert_array_equal(product(x), x)

  def test_wrong_length_is_refused(self):
    with self.assertRaises(AssertionError):
      sparse.matmul(sparse.identity(3), jnp.ones((4, 2)))


if __name__ == "__main__":
  absltest.main()
