"""Layers with an equalised learning rate."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.nn.equalized import EqualizedConv, EqualizedDense
from jaxvision.ops import convolution, resampling


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


class EqualizedTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_what_is_stored_and_what_is_used(self):
    layer = EqualizedDense(200, gain=3.0, lr_multiplier=0.01)
    x = normal(0, 5, 100)
    variables = self.variant(layer.init)(jax.random.key(0), x)
    kernel = variables["params"]["kernel"]
    np.testing.assert_allclose(jnp.std(kernel), 100.0, rtol=0.02)
    params = {"kernel": kernel, "bias": normal(1, 200)}
    used = 0.01 * 3.0 / math.sqrt(100)
    np.testing.assert_allclose(
      self.variant(layer.apply)({"params": params}, x),
      x @ kernel * used + 0.01 * params["bias"],
      rtol=1e-4,
      atol=1e-5,
    )

  @parameterized.parameters(True, False)
  def test_new_layers_give_outputs_of_the_gain(self, equalized):
    layer = EqualizedDense(64, gain=2.0, lr_multiplier=0.1, equalized=equalized)
    y, _ = layer.init_with_output(jax.random.key(0), normal(0, 64, 256))
    np.testing.assert_allclose(jnp.std(y), 2.0, rtol=0.05)

  def test_adam_moves_a_layer_by_its_multiplier(self):
    # Adam's steps have one size: what they do to the output is the multiplier's.
    def moved(multiplier):
      layer = EqualizedDense(1, lr_multiplier=multiplier, use_bias=False)
      params = layer.init(jax.random.key(0), x)["params"]
      step = {"kernel": params["kernel"] + 1e-3}
      return layer.apply({"params": step}, x) - layer.apply({"params": params}, x)

    x = 1 + normal(0, 3, 8) ** 2
    np.testing.assert_allclose(moved(0.01), 0.01 * moved(1.0), rtol=1e-2)

  def test_convolutions(self):
    x = normal(0, 2, 4, 4, 3)
    kernel = normal(1, 3, 3, 3, 5)
    params = {"params": {"kernel": kernel, "bias": jnp.zeros(5)}}
    used = kernel * math.sqrt(2 / 27)
    expected = {
      ("same", False): convolution.conv(x, used),
      ("up", False): convolution.conv(resampling.upsample_nearest(x), used),
      ("up", True): convolution.conv(resampling.upsample_nearest(x), used[::-1, ::-1]),
      ("down", False): resampling.downsample_box(convolution.conv(x, used)),
    }
    for (sampling, flip), y in expected.items():
      layer = EqualizedConv(5, sampling=sampling, flip=flip)
      np.testing.assert_allclose(layer.apply(params, x), y, atol=1e-5)

  def test_bfloat16_computes_and_keeps_float32_parameters(self):
    layer = EqualizedConv(4, dtype=jnp.bfloat16)
    y, variables = layer.init_with_output(jax.random.key(0), normal(0, 1, 4, 4, 2))
    chex.assert_type([y, *jax.tree.leaves(variables)], [jnp.bfloat16, float, float])


if __name__ == "__main__":
  absltest.main()
