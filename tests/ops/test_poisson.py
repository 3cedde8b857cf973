"""Poisson's equation: the solver inverts the Laplacian."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import poisson


class PoissonTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_cosine_is_divided_by_its_eigenvalue(self):
    x = (jnp.arange(16) + 0.5) / 16
    right = jnp.cos(3 * jnp.pi * x)[:, None] * jnp.ones(5)
    expected = right / (2 * np.cos(3 * np.pi / 16) - 2)
    np.testing.assert_allclose(
      self.variant(poisson.solve)(right), expected, rtol=1e-4, atol=1e-4
    )

  @parameterized.parameters((0.0,), (0.3,))
  def test_solution_satisfies_the_equation(self, shift):
    right = jax.random.normal(jax.random.key(0), (6, 7, 5))
    right -= jnp.mean(right) * (shift == 0)
    u = poisson.solve(right, shift)
    np.testing.assert_allclose(poisson.laplacian(u) - shift * u, right, atol=1e-4)

  def test_divergence_of_a_gradient_is_the_laplacian_away_from_the_border(self):
    grid = jnp.meshgrid(jnp.arange(9.0), jnp.arange(8.0), indexing="ij")
    field = jnp.stack([grid[0], -3 * grid[1]], axis=-1)  # of (x² - 3 y²) / 2
    divergence = poisson.divergence(field)
    np.testing.assert_allclose(divergence[1:-1, 1:-1], -2.0, atol=1e-5)
    self.assertAlmostEqual(float(jnp.sum(divergence)), 0.0, places=3)

  def test_solver_is_its_own_adjoint(self):
    right, other = jax.random.normal(jax.random.key(1), (2, 6, 5))
    product = jnp.sum(poisson.solve(right) * other)
    np.testing.assert_allclose(
      product, jnp.sum(right * poisson.solve(other)), rtol=1e-4
    )
    gradient = jax.grad(lambda r: jnp.sum(poisson.solve(r) * other))(right)
    np.testing.assert_allclose(gradient, poisson.solve(other), atol=1e-5)


if __name__ == "__main__":
  absltest.main()
