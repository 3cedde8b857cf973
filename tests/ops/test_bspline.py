"""Cubic B-splines: partition of unity, exactness, smoothness, bending."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import bspline

LOW, HIGH = jnp.array([-2.0, 1.0]), jnp.array([4.0, 5.0])


def greville(shape):
  """Where control values of a linear function are its values."""
  axes = [
    np.asarray(LOW)[a]
    + (np.arange(n) - 1) / (n - 3) * (np.asarray(HIGH) - np.asarray(LOW))[a]
    for a, n in enumerate(shape)
  ]
  return jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), -1), jnp.float32)


class BsplineTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_linear_functions_are_exact(self):
    shape = (7, 5)
    control = greville(shape) @ jnp.array([0.5, -2.0]) + 3
    points = jax.random.uniform(jax.random.key(0), (50, 2)) * (HIGH - LOW) + LOW
    found = self.variant(bspline.evaluate)(control, points, LOW, HIGH)
    np.testing.assert_allclose(
      found, points @ jnp.array([0.5, -2.0]) + 3, rtol=1e-4, atol=1e-4
    )

  def test_weights_sum_to_one_up_to_the_corners(self):
    points = jnp.stack([LOW, HIGH, 0.5 * (LOW + HIGH)])
    for weights in bspline.weights(points, LOW, HIGH, (6, 4)):
      np.testing.assert_allclose(jnp.sum(weights, axis=-1), 1.0, rtol=1e-5)
      self.assertTrue(bool(jnp.all(weights >= 0)))

  def test_second_derivative_is_continuous_over_a_knot(self):
    control = jax.random.normal(jax.random.key(1), (7, 4))
    knot = LOW[0] + (HIGH[0] - LOW[0]) / 4

    def bend(x):
      def value(x):
        return bspline.evaluate(control, jnp.array([x, 2.0]), LOW, HIGH)

      return jax.grad(jax.grad(value))(x)

    np.testing.assert_allclose(bend(knot - 1e-4), bend(knot + 1e-4), atol=1e-2)

  def test_planes_have_no_bending_energy_and_bends_have(self):
    energy = bspline.bending_energy((5, 6))
    plane = (np.arange(5)[:, None] * 2.0 - np.arange(6) + 1).reshape(-1)
    self.assertAlmostEqual(float(plane @ energy @ plane), 0.0)
    parabola = np.repeat(np.arange(5.0) ** 2, 6)
    self.assertAlmostEqual(float(parabola @ energy @ parabola), 4.0 * 3 * 6)

  def test_too_few_control_values_are_refused(self):
    with self.assertRaisesRegex(ValueError, "4 control values"):
      bspline.evaluate(jnp.zeros((3, 4)), LOW, LOW, HIGH)


if __name__ == "__main__":
  absltest.main()
