"""Paths between vectors."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import interpolation


class InterpolationTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_arcs_turn_at_constant_speed(self):
    a, b = jnp.asarray([[3.0, 0.0, 0.0]]), jnp.asarray([[1.0, 1.0, 0.0]])
    for t in (0.0, 0.25, 1.0):
      angle = t * np.pi / 4
      np.testing.assert_allclose(
        self.variant(interpolation.slerp)(a, b, jnp.asarray([t])),
        [[np.cos(angle), np.sin(angle), 0.0]],
        atol=1e-6,
      )

  def test_straight_paths(self):
    a, b = jnp.asarray([[1.0, 2.0]]), jnp.asarray([[3.0, -2.0]])
    np.testing.assert_allclose(interpolation.lerp(a, b, 0.25), [[1.5, 1.0]])

  def test_vectors_that_point_alike(self):
    a = jnp.asarray([[1.0, 2.0, 2.0]])

    def last(a, b):
      return interpolation.slerp(a, b, jnp.asarray([0.3]))[0, 2]

    value, gradients = jax.jit(jax.value_and_grad(last, argnums=(0, 1)))(a, 2 * a)
    np.testing.assert_allclose(value, 2 / 3, atol=1e-3)
    chex.assert_tree_all_finite(gradients)
    zero = jnp.zeros((1, 3))
    np.testing.assert_array_equal(interpolation.unit(zero), zero)

  def test_gradients(self):
    def total(points):
      return jnp.vdot(interpolation.slerp(*points, jnp.asarray([0.2, 0.7])), weight)

    with jax.enable_x64(True):
      rng = np.random.default_rng(0)
      points, direction = jnp.asarray(rng.normal(size=(2, 2, 2, 5)))
      weight = rng.normal(size=(2, 5))
      along = jax.jit(lambda t: total(points + t * direction))
      ahead, behind = along(1e-5), along(-1e-5)
      found = jnp.vdot(jax.jit(jax.grad(total))(points), direction)
      np.testing.assert_allclose(found, (ahead - behind) / 2e-5, rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
