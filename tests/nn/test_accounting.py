"""Tests of the costs of networks."""

import jax
import jax.numpy as jnp
from absl.testing import absltest
from flax import linen as nn

from jaxvision.nn import accounting
from jaxvision.nn.convolution import Conv
from jaxvision.nn.vgg import VGG


class Small(nn.Module):
  @nn.compact
  def __call__(self, x):
    x = Conv(6, (3, 3), strides=2, use_bias=False, name="first")(x)
    x = nn.Conv(4, (1, 1), name="second")(x)
    return nn.Dense(5, name="last")(x.reshape(len(x), -1))


class AccountingTest(absltest.TestCase):
  def test_each_layer_by_hand(self):
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    shapes = jax.eval_shape(Small().init, jax.random.key(0), images)
    cost = accounting.cost(Small().apply, shapes, (8, 8, 3))
    expected = (
      accounting.LayerCost("first", True, 2 * 9 * 3 * 6 * 16, 162, 0, 96),
      accounting.LayerCost("second", True, 2 * 6 * 4 * 16, 24, 4, 64),
      accounting.LayerCost("last", False, 2 * 64 * 5, 320, 5, 5),
    )
    self.assertEqual(cost.layers, expected)
    self.assertEqual(cost.flops, 5184 + 768 + 640)
    self.assertEqual(cost.parameters, 162 + 28 + 325)
    self.assertEqual(cost.activations, 165)

  def test_vgg16_costs_what_the_paper_counts(self):
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(VGG().init, jax.random.key(0), images)
    cost = accounting.cost(VGG().apply, shapes, (224, 224, 3))
    convolutions = cost.total("flops", convolutions_only=True)
    self.assertEqual(convolutions, 30_693_261_312)  # 30.69 G
    self.assertEqual(cost.flops - convolutions, 247_267_328)  # 0.25 G: 30.9 G in all
    self.assertEqual(cost.total("weights", convolutions_only=True), 14_710_464)
    self.assertEqual(cost.total("activations", convolutions_only=True), 13_547_520)
    self.assertEqual(cost.parameters, 138_357_544)
    self.assertLen(cost.layers, 16)


if __name__ == "__main__":
  absltest.main()
