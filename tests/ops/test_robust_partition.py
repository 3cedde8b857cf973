"""Tests of the robust density's normaliser."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.special
from absl.testing import absltest
from jax.test_util import check_grads

from jaxvision.ops import robust_partition


def log_partition(alpha):
  with jax.enable_x64(True):
    return np.asarray(robust_partition.log_partition(jnp.asarray(alpha, jnp.float64)))


class LogPartitionTest(chex.TestCase):
  def test_closed_forms(self):
    exact = [
      np.log(np.pi * np.sqrt(2)),
      np.log(2 * np.e * scipy.special.k1(1)),
      np.log(np.sqrt(2 * np.pi)),
      0.25 + np.log(scipy.special.kv(0.25, 0.25)),
      robust_partition.LOG_Z_INFINITE,
    ]
    np.testing.assert_allclose(
      log_partition([0.0, 1.0, 2.0, 4.0, np.inf]), exact, rtol=0, atol=5e-7
    )

  def test_agrees_with_adaptive_quadrature(self):
    for alpha in (0.05, 0.63, 1.41, 1.97, 2.3, 3.7, 9.0, 30.0):
      b = abs(alpha - 2)

      def density(x, alpha=alpha, b=b):
        exponent = min(alpha / 2 * np.log1p(x * x / b), 700.0)
        return np.exp(-b / alpha * np.expm1(exponent))

      near = scipy.integrate.quad(density, 0, 3, epsabs=1e-12, limit=200)[0]
      far = scipy.integrate.quad(density, 3, np.inf, epsabs=1e-12, limit=200)[0]
      np.testing.assert_allclose(
        log_partition(alpha), np.log(2 * (near + far)), rtol=0, atol=5e-7
      )

  def test_error_between_knots(self):
    warped = (np.arange(0, 12 * 1024, 5) + 0.5) / 1024
    with jax.enable_x64(True):
      alpha = np.asarray(robust_partition.unwarp(jnp.asarray(warped)))
    error = np.abs(log_partition(alpha) - robust_partition.integrate(alpha))
    self.assertLess(np.max(error), 5e-7)

  def test_error_around_the_singular_slope_at_2(self):
    alpha = 2 + np.linspace(-1e-3, 1e-3, 501)
    error = np.abs(log_partition(alpha) - robust_partition.integrate(alpha))
    self.assertLess(np.max(error), 1.4e-6)

  def test_warp_is_inverted(self):
    alpha = np.array([0, 0.3, 1, 1.99, 2, 2.01, 3.9, 4, 4.1, 8, 50], np.float32)
    warped = robust_partition.warp(alpha)
    np.testing.assert_allclose(warped[np.array([0, 4, 7])], [0, 4, 8], atol=1e-6)
    np.testing.assert_allclose(warped[9], 8.787, atol=1e-3)
    np.testing.assert_allclose(
      robust_partition.unwarp(warped), alpha, rtol=2e-5, atol=1e-6
    )

  def test_gradient(self):
    with jax.enable_x64(True):
      alpha = jnp.array([0.2, 1.2, 1.9, 2.5, 6.0])
      log_partition = jax.jit(robust_partition.log_partition)
      check_grads(log_partition, (alpha,), order=1, modes=["rev"], rtol=1e-4, eps=1e-6)
    gradient = jax.jit(jax.vmap(jax.grad(robust_partition.log_partition)))
    edges = gradient(jnp.array([0.0, 2.0, 4.0, 5e5, jnp.inf]))
    np.testing.assert_allclose(edges, [-0.857, -2.77, -0.0146, 0, 0], atol=2e-3)

  def test_negative_shapes_have_none(self):
    self.assertEqual(robust_partition.log_partition(-1e-6), np.inf)


if __name__ == "__main__":
  absltest.main()
