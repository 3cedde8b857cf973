"""Tests of spectral normalisation."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.nn import spectral_norm
from jaxvision.nn.convolution import Conv, ConvTranspose
from jaxvision.nn.spectral_norm import SpectralConv
from jaxvision.train.once import jit_once

X = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))


def matrix_of(kernel):
  return np.asarray(kernel).reshape(-1, kernel.shape[-1])


class PowerIterationTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_converges_to_the_largest_singular_value(self):
    matrix = jax.random.normal(jax.random.key(1), (12, 5))
    u = jnp.ones(5) / jnp.sqrt(5.0)
    iterate = self.variant(spectral_norm.power_iteration)
    for _ in range(60):
      u, v = iterate(matrix, u)
    self.assertAlmostEqual(
      float(v @ matrix @ u), np.linalg.norm(np.asarray(matrix), 2), places=4
    )
    np.testing.assert_allclose(
      [jnp.linalg.norm(u), jnp.linalg.norm(v)], [1, 1], rtol=1e-6
    )

  def test_zero_matrix_gives_zeros_and_not_nan(self):
    u, v = spectral_norm.power_iteration(jnp.zeros((4, 2)), jnp.array([1.0, 0.0]))
    np.testing.assert_array_equal(u, [0, 0])
    np.testing.assert_array_equal(v, [0, 0, 0, 0])

  def test_wrong_shapes_are_refused(self):
    with self.assertRaises(AssertionError):
      spectral_norm.power_iteration(jnp.zeros((4, 2)), jnp.zeros(4))


class SpectralConvTest(parameterized.TestCase):
  @parameterized.parameters(False, True)
  def test_is_the_convolution_by_the_divided_kernel(self, transposed):
    layer = SpectralConv(4, (3, 3), strides=2, padding=1, transposed=transposed)
    variables = jit_once(layer.init)(jax.random.key(2), X)
    apply = functools.partial(layer.apply, train=True, mutable="spectral")
    found, state = jax.jit(apply)(variables, X)
    kernel = variables["params"]["kernel"]
    u, v = state["spectral"]["u"], state["spectral"]["v"]
    divided = kernel / (v @ matrix_of(kernel) @ u)
    plain = (ConvTranspose if transposed else Conv)(4, (3, 3), 2, 1)
    expected = plain.apply({"params": {**variables["params"], "kernel": divided}}, X)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

  def test_each_training_pass_iterates_once_and_inference_never(self):
    layer = SpectralConv(4, (3, 3), kernel_init=jax.nn.initializers.normal(1.0))
    variables = jit_once(layer.init)(jax.random.key(2), X)
    kernel = matrix_of(variables["params"]["kernel"])
    u = np.asarray(variables["spectral"]["u"])
    train = jax.jit(functools.partial(layer.apply, train=True, mutable="spectral"))
    for _ in range(2):
      v = kernel @ u
      v /= np.linalg.norm(v)
      u = v @ kernel
      u /= np.linalg.norm(u)
      _, state = train(variables, X)
      variables = {"params": variables["params"], **state}
      np.testing.assert_allclose(state["spectral"]["u"], u, atol=1e-5)
      np.testing.assert_allclose(state["spectral"]["v"], v, atol=1e-5)
    _, state = layer.apply(variables, X, mutable="spectral")
    chex.assert_trees_all_equal(
      state.get("spectral", variables["spectral"]), variables["spectral"]
    )

  def test_gradient_goes_through_the_value_but_not_its_vectors(self):
    layer = SpectralConv(2, (1, 1), use_bias=False)
    variables = jit_once(layer.init)(jax.random.key(3), X)
    weights = jax.random.normal(jax.random.key(4), (2, 6, 6, 2))

    @functools.partial(jax.jit, static_argnums=2)
    def loss(kernel, vectors, train):
      found, _ = layer.apply(
        {"params": {"kernel": kernel}, "spectral": vectors},
        X,
        train=train,
        mutable="spectral",
      )
      return jnp.vdot(weights, found)

    kernel, before = variables["params"]["kernel"], variables["spectral"]
    _, state = jax.jit(functools.partial(layer.apply, train=True, mutable="spectral"))(
      variables, X
    )
    after = state["spectral"]
    # With vectors frozen the loss is a plain function of the kernel.
    gradient = jax.jit(jax.grad(loss), static_argnums=2)
    frozen = gradient(kernel, after, False)
    direction = jax.random.normal(jax.random.key(5), kernel.shape)
    step = 1e-2
    ahead, behind = (
      loss(kernel + sign * step * direction, after, False) for sign in (1, -1)
    )
    slope = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(frozen, direction), slope, rtol=1e-2)
    # In training they move, and no gradient follows them.
    np.testing.assert_allclose(
      gradient(kernel, before, True), frozen, rtol=1e-4, atol=1e-5
    )
    # Scaling the kernel changes nothing, so that the gradient stands across it.
    self.assertLess(abs(float(jnp.vdot(frozen, kernel))), 1e-3)

  def test_plain_convolution_keeps_no_vectors(self):
    layer = SpectralConv(4, (3, 3), spectral=False)
    variables = layer.init(jax.random.key(5), X)
    self.assertEqual(set(variables), {"params"})
    np.testing.assert_allclose(
      layer.apply(variables, X, train=True), Conv(4, (3, 3)).apply(variables, X)
    )


if __name__ == "__main__":
  absltest.main()
