"""Tests of VGG: its sizes, its pooling, its names."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.nn import vgg


def count(model, shape=(1, 224, 224, 3)):
  """Returns the number of parameters and the shape of the result, nothing run."""
  images = jax.ShapeDtypeStruct(shape, jnp.float32)
  result, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
  leaves = jax.tree.leaves(variables["params"])
  return sum(leaf.size for leaf in leaves), result.shape


class VGGTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("vgg16", {}, 138_357_544),
    ("vgg16_normalised", {"norm": True}, 138_365_992),
    ("vgg19", {"stages": vgg.VGG19}, 143_667_240),
  )
  def test_parameters_are_torchvisions(self, options, parameters):
    found, shape = count(vgg.VGG(**options))
    self.assertEqual(found, parameters)
    self.assertEqual(shape, (1, 1000))

  def test_cifar_head_and_features(self):
    head = {"hidden": (), "pooled": 1}
    _, shape = count(vgg.VGG(10, norm=True, **head), (2, 32, 32, 3))
    self.assertEqual(shape, (2, 10))
    _, shape = count(vgg.VGG(0, pool_last=False), (2, 64, 48, 3))
    self.assertEqual(shape, (2, 4, 3, 512))

  def test_dropout_and_statistics_act_in_training_only(self):
    model = vgg.VGG(3, ((4,),), norm=True, hidden=(8,), pooled=2)
    images = jax.random.normal(jax.random.key(0), (5, 4, 4, 2)) + 3.0
    variables = model.init(jax.random.key(1), images)

    def run(seed, train):
      return model.apply(
        variables,
        images,
        train=train,
        rngs={"dropout": jax.random.key(seed)},
        mutable=["batch_stats"],
      )

    (first, changed), (second, _) = run(0, True), run(1, True)
    self.assertGreater(float(jnp.max(jnp.abs(first - second))), 1e-3)
    np.testing.assert_array_equal(run(0, False)[0], run(1, False)[0])
    moved = changed["batch_stats"]["bn1_1"]["mean"]
    self.assertGreater(float(jnp.max(jnp.abs(moved))), 1e-3)
    kept = run(0, False)[1]["batch_stats"]["bn1_1"]["mean"]
    np.testing.assert_array_equal(kept, np.zeros(4))


class PoolingTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_adaptive_means_of_cells_that_divide_and_that_overlap(self):
    row = jnp.array([1.0, 2.0, 4.0, 8.0, 16.0]).reshape(1, 1, 5, 1)
    pool = self.variant(lambda x: vgg.adaptive_average_pool(x, 2))
    # Two rows of one: both cells are that row.
    np.testing.assert_allclose(
      pool(row)[0, :, :, 0], [[7 / 3, 28 / 3], [7 / 3, 28 / 3]], rtol=1e-6
    )
    square = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_allclose(pool(square)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])

  @chex.variants(with_jit=True, without_jit=True)
  def test_maxima_of_cells_and_their_gradient(self):
    x = jax.random.normal(jax.random.key(0), (2, 5, 6, 3))
    halve = self.variant(vgg.halve_by_maximum)
    windows = jax.lax.reduce_window(
      x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
    )
    np.testing.assert_array_equal(halve(x), windows)
    gradient = jax.grad(lambda x: jnp.sum(vgg.halve_by_maximum(x)))(x)
    self.assertEqual(float(jnp.sum(gradient)), windows.size)
    np.testing.assert_allclose(jnp.vdot(gradient, x), jnp.sum(windows), rtol=1e-5)


if __name__ == "__main__":
  absltest.main()
