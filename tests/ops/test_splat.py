"""Splatting and gathering: exact values, adjointness, what lies outside."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from jax.test_util import check_grads

from jaxvision.ops import splat

SHAPE = (4, 5, 6)

compiled_splat = jax.jit(splat.splat, static_argnums=2)
compiled_gather = jax.jit(splat.gather)


def random_points(count, seed=0):
  low_high = jnp.array(SHAPE) - 1.0
  return jax.random.uniform(jax.random.key(seed), (count, 3)) * low_high


class SplatTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_point_between_two_nodes_is_shared(self):
    run = self.variant(lambda p, v: splat.splat(p, v, SHAPE))
    volume = run(jnp.array([[1.0, 2.25, 3.0]]), jnp.array([[8.0]]))
    self.assertAlmostEqual(float(volume[1, 2, 3, 0]), 6.0, places=5)
    self.assertAlmostEqual(float(volume[1, 3, 3, 0]), 2.0, places=5)
    self.assertAlmostEqual(float(jnp.sum(volume)), 8.0, places=5)

  def test_gather_is_the_adjoint(self):
    points = random_points(20)
    values = jax.random.normal(jax.random.key(1), (20, 2))
    volume = jax.random.normal(jax.random.key(2), (*SHAPE, 2))
    there = np.vdot(compiled_splat(points, values, SHAPE), volume)
    back = np.vdot(values, compiled_gather(volume, points))
    np.testing.assert_allclose(there, back, rtol=1e-5)

  def test_linear_functions_are_gathered_exactly(self):
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    volume = np.asarray(grid @ [1.0, -2.0, 0.5], np.float32)[..., None]
    points = random_points(20)
    np.testing.assert_allclose(
      compiled_gather(volume, points)[:, 0], points @ jnp.array([1, -2, 0.5]), atol=1e-5
    )

  def test_outside_and_nan_take_no_part_and_spoil_no_gradient(self):
    points = jnp.array([[jnp.nan, 0, 0], [-1.0, 0, 0], [0, 0, 9.0], [3.0, 4.0, 5.0]])
    values = jnp.array([[jnp.nan], [1.0], [1.0], [2.0]])
    volume = compiled_splat(points, values, SHAPE)
    self.assertEqual(float(jnp.sum(volume)), 2.0)
    self.assertEqual(float(volume[3, 4, 5, 0]), 2.0)
    total = jax.jit(jax.grad(lambda v: jnp.sum(splat.splat(points, v, SHAPE))))
    gradient = total(values)
    np.testing.assert_array_equal(gradient[:, 0], [0, 0, 0, 1])
    moved = jax.jit(jax.grad(lambda p: jnp.sum(splat.gather(volume, p))))(points)
    self.assertTrue(bool(jnp.all(jnp.isfinite(moved[1:]))))

  def test_gradients_agree_with_finite_differences(self):
    with jax.enable_x64(True):
      points = jnp.asarray(random_points(5) * 0.9 + 0.01, jnp.float64)
      volume = jnp.asarray(np.random.default_rng(0).normal(size=(*SHAPE, 1)))
      check_grads(compiled_gather, (volume, points), order=1, modes=["rev"])


if __name__ == "__main__":
  absltest.main()
