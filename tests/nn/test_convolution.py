"""Tests of the convolution layers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.nn.convolution import Conv, ConvTranspose
from jaxvision.ops.convolution import conv, conv_transpose


class LayersTest(absltest.TestCase):
  def test_conv_is_the_op_and_a_bias(self):
    x = jax.random.normal(jax.random.key(0), (1, 6, 5, 4))
    layer = Conv(6, (3, 2), strides=2, padding=1, groups=2, padding_mode="reflect")
    params = layer.init(jax.random.key(1), x)["params"]
    chex.assert_shape([params["kernel"], params["bias"]], [(3, 2, 2, 6), (6,)])
    params["bias"] = jnp.arange(6.0)
    expected = conv(
      x, params["kernel"], strides=2, padding=1, groups=2, padding_mode="reflect"
    )
    np.testing.assert_allclose(
      layer.apply({"params": params}, x), expected + jnp.arange(6.0), rtol=1e-5
    )

  def test_transposed_is_the_op(self):
    x = jax.random.normal(jax.random.key(0), (1, 3, 4, 2))
    layer = ConvTranspose(
      5, (3, 3), strides=2, padding=1, output_padding=1, use_bias=False
    )
    variables = layer.init(jax.random.key(1), x)
    y = layer.apply(variables, x)
    chex.assert_shape(y, (1, 6, 8, 5))
    kernel = variables["params"]["kernel"]
    np.testing.assert_allclose(
      y,
      conv_transpose(x, kernel, strides=2, padding=1, output_padding=1),
      rtol=1e-5,
    )

  def test_computes_in_its_dtype_and_keeps_float32_parameters(self):
    x = jnp.ones((1, 4, 4, 2))
    layer = Conv(3, (3, 3), dtype=jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x)
    chex.assert_type(variables["params"]["kernel"], jnp.float32)
    chex.assert_type(layer.apply(variables, x), jnp.bfloat16)

  def test_wrong_groups_are_refused(self):
    with self.assertRaisesRegex(ValueError, "3 channels cannot form 2"):
      Conv(4, (3, 3), groups=2).init(jax.random.key(0), jnp.ones((1, 4, 4, 3)))


if __name__ == "__main__":
  absltest.main()
