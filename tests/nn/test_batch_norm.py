"""Tests of batch normalisation over devices, and of folding it into networks."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from flax import linen as nn

from jaxvision.nn import batch_norm
from jaxvision.nn.resnet import ResNet
from jaxvision.nn.vgg import VGG


class Norm(nn.Module):
  @nn.compact
  def __call__(self, x):
    return batch_norm.batch_norm(train=True, name="bn")(x)


class BatchNormTest(absltest.TestCase):
  def test_statistics_are_of_all_devices_where_the_axis_is_bound(self):
    x = jax.random.normal(jax.random.key(0), (8, 3)) * 2.0 + 1.0
    variables = Norm().init(jax.random.key(1), x)

    def apply(x):
      return Norm().apply(variables, x, mutable=["batch_stats"])

    whole, state = apply(x)
    np.testing.assert_allclose(jnp.mean(whole, axis=0), np.zeros(3), atol=1e-6)
    np.testing.assert_allclose(
      state["batch_stats"]["bn"]["mean"], 0.1 * jnp.mean(x, axis=0), rtol=1e-5
    )
    mapped = jax.vmap(apply, axis_name="batch")
    shared, states = mapped(x.reshape(2, 4, 3))
    np.testing.assert_allclose(shared.reshape(8, 3), whole, atol=1e-5)
    np.testing.assert_allclose(
      states["batch_stats"]["bn"]["mean"][0], state["batch_stats"]["bn"]["mean"]
    )
    alone, _ = jax.vmap(apply)(x.reshape(2, 4, 3))
    self.assertGreater(float(jnp.max(jnp.abs(alone.reshape(8, 3) - whole))), 0.1)


class FoldTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("vgg", VGG(3, ((4,), (5, 4)), True, (), 1)),
    ("basic", ResNet(3, "basic", (1, 1), (4, 6), "cifar")),
    ("bottleneck", ResNet(3, "bottleneck", (1,), (2,), "imagenet")),
  )
  def test_folded_network_is_the_same_function(self, model):
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(1), images)
    rng = np.random.default_rng(0)
    # Anything will do, but variances are positive.
    variables = jax.tree.map(
      lambda leaf: rng.uniform(0.1, 0.5, leaf.shape).astype("f4"), shapes
    )
    folded = batch_norm.fold(variables)
    plain = model.clone(norm=False)
    expected = jax.eval_shape(plain.init, jax.random.key(0), images)
    self.assertEqual(jax.tree.map(jnp.shape, folded), jax.tree.map(jnp.shape, expected))
    before = jax.jit(model.apply)(variables, images)
    after = jax.jit(plain.apply)(folded, images)
    np.testing.assert_allclose(after, before, rtol=1e-4)
    self.assertGreater(float(jnp.std(before)), 1e-3)


if __name__ == "__main__":
  absltest.main()
