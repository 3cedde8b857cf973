"""Tests of the U-Net, its activation, and constrained convolutions."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.constrained import ConstrainedConv, laplacian_init, residual_kernel
from jaxvision.nn.unet import UNet


class LeakyReluTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_value_and_gradient_around_the_kink(self):
    x = jnp.array([-2.0, 0.0, 3.0])
    gradient = jax.grad(lambda x: jnp.sum(leaky_relu(x, 0.1)))
    np.testing.assert_allclose(leaky_relu(x, 0.1), [-0.2, 0.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(self.variant(gradient)(x), [0.1, 0.1, 1.0])


class UNetTest(parameterized.TestCase):
  @parameterized.parameters(False, True)
  def test_shapes_of_parameters_and_result(self, has_bias):
    model = UNet(5, (4, 6, 8), upsample_bias=has_bias)
    result, variables = jax.eval_shape(
      model.init_with_output, jax.random.key(0), jnp.zeros((2, 8, 12, 3))
    )
    chex.assert_shape(result, (2, 8, 12, 5))
    params = variables["params"]
    self.assertLen(params, 5 * 2 + 2 + 1)
    chex.assert_shape(params["conv4_1"]["kernel"], (3, 3, 12, 6))
    chex.assert_shape(params["upsample_1"]["kernel"], (2, 2, 8, 6))
    self.assertEqual("bias" in params["upsample_2"], has_bias)

  def test_sizes_that_do_not_halve_are_refused(self):
    with self.assertRaisesRegex(ValueError, "divide by 4"):
      jax.eval_shape(
        UNet(1, (4, 4, 4)).init, jax.random.key(0), jnp.zeros((1, 8, 10, 1))
      )


class ConstrainedTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_filters_predict_their_centre(self):
    free = jax.random.uniform(jax.random.key(0), (5, 5, 3, 3))
    kernel = self.variant(residual_kernel)(free)
    np.testing.assert_allclose(jnp.diag(kernel[2, 2]), [-100.0] * 3)
    np.testing.assert_allclose(jnp.sum(kernel, axis=(0, 1, 2)), [0.0] * 3, atol=1e-3)
    # The centre of another channel is a free weight.
    total = jnp.sum(free, axis=(0, 1, 2)) - jnp.diag(free[2, 2])
    np.testing.assert_allclose(
      kernel[2, 2, 0, 1], 100 * free[2, 2, 0, 1] / total[1], rtol=1e-5
    )

  def test_what_stands_at_the_centre_has_no_gradient(self):
    free = jax.random.uniform(jax.random.key(0), (3, 3, 2, 2))
    weights = jax.random.normal(jax.random.key(1), free.shape)
    gradient = jax.grad(lambda free: jnp.vdot(weights, residual_kernel(free)))(free)
    np.testing.assert_array_equal(jnp.diag(gradient[1, 1]), [0.0, 0.0])
    self.assertNotEqual(float(gradient[1, 1, 0, 1]), 0.0)

  def test_constant_images_leave_no_residual(self):
    images = jnp.broadcast_to(jnp.array([0.2, 0.5, 0.9]), (1, 6, 7, 3))
    model = ConstrainedConv()
    residual, variables = model.init_with_output(jax.random.key(0), images)
    np.testing.assert_allclose(residual, np.zeros((1, 6, 7, 3)), atol=1e-4)
    np.testing.assert_array_equal(
      variables["params"]["kernel"], laplacian_init(None, (5, 5, 3, 3))
    )

  def test_wrong_kernels_are_refused(self):
    with self.assertRaisesRegex(ValueError, "odd"):
      residual_kernel(jnp.zeros((4, 5, 3, 3)))
    with self.assertRaises(AssertionError):
      residual_kernel(jnp.zeros((5, 5, 3, 3), jnp.bfloat16))


if __name__ == "__main__":
  absltest.main()
