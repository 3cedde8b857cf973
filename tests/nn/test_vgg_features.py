"""Tests of the activations inside a VGG."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.nn.convolution import Conv
from jaxvision.nn.vgg import VGG, halve_by_maximum
from jaxvision.nn.vgg_features import vgg_features
from jaxvision.train.once import jit_once

STAGES = ((2, 3), (4, 4), (5,))


class VggFeaturesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.images = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    network = VGG(num_classes=0, stages=STAGES)
    self.variables = jit_once(network.init)(jax.random.key(1), self.images)

  def test_are_those_of_the_layers_one_by_one(self):
    names = ("conv2_1", "conv1_1", "conv1_2")
    run = functools.partial(vgg_features, layers=names, stages=STAGES)
    found = jit_once(run)(self.variables, self.images)
    x, expected = self.images, {}
    for name in ("conv1_1", "conv1_2", "pool", "conv2_1"):
      if name == "pool":
        x = halve_by_maximum(x)
        continue
      layer = self.variables["params"][name]
      conv = Conv(layer["bias"].shape[0], (3, 3), padding=1)
      apply = jit_once(lambda v, x, conv=conv: jax.nn.relu(conv.apply(v, x)))
      x = expected[name] = apply({"params": layer}, x)
    for name, features in zip(names, found, strict=True):
      np.testing.assert_allclose(features, expected[name], rtol=1e-5, atol=1e-6)

  def test_layers_behind_the_last_may_be_missing(self):
    params = dict(self.variables["params"])
    for name in ("conv2_2", "conv3_1"):
      del params[name]
    run = functools.partial(vgg_features, layers=["conv2_1"], stages=STAGES)
    (found,) = jax.eval_shape(run, {"params": params}, self.images)
    self.assertEqual(found.shape, (2, 4, 4, 4))

  def test_unknown_layers_are_named(self):
    with self.assertRaisesRegex(ValueError, "conv3_2"):
      vgg_features(self.variables, jnp.zeros((1, 8, 8, 3)), ["conv3_2"], STAGES)


if __name__ == "__main__":
  absltest.main()
