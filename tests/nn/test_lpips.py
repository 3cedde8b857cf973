"""LPIPS on a small VGG, and the reader of its heads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.errors import UserError
from jaxvision.nn.lpips import SCALE, SHIFT, lpips
from jaxvision.nn.vgg import VGG
from jaxvision.ops import convolution
from jaxvision.published.lpips import heads

STAGES = ((4,), (6,))


class LpipsTest(absltest.TestCase):
  def test_it_is_the_distance_of_normalised_maps(self):
    rng = np.random.default_rng(0)
    a, b = jnp.asarray(rng.uniform(-1, 1, (2, 3, 8, 8, 3)), jnp.float32)
    network = VGG(0, STAGES, pool_last=False)
    shapes = jax.eval_shape(network.init, jax.random.key(0), a)
    variables = jax.tree.map(
      lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), jnp.float32), shapes
    )
    weights = [jnp.asarray(rng.uniform(0, 1, n), jnp.float32) for n in (4, 6)]
    measure = jax.jit(functools.partial(lpips, stages=STAGES))
    found = measure(variables, weights, a, b)

    def first_map(x):
      x = (x - np.array(SHIFT)) / np.array(SCALE)
      layer = variables["params"]["conv1_1"]
      x = convolution.conv(jnp.asarray(x, jnp.float32), layer["kernel"])
      x = jnp.maximum(x + layer["bias"], 0)
      return np.asarray(x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-10))

    without_second = [weights[0], jnp.zeros(6)]
    squares = (first_map(a) - first_map(b)) ** 2 @ np.asarray(weights[0])
    np.testing.assert_allclose(
      measure(variables, without_second, a, b),
      squares.mean(axis=(1, 2)),
      rtol=1e-4,
    )
    self.assertTrue((found > squares.mean(axis=(1, 2))).all())
    np.testing.assert_allclose(measure(variables, weights, a, a), 0.0, atol=1e-12)

  def test_published_heads(self):
    weights = {
      f"lin{i}.model.1.weight": np.full((1, n, 1, 1), i, np.float32)
      for i, n in enumerate((4, 6))
    }
    found = heads(weights)
    np.testing.assert_array_equal(found[1], np.ones(6))
    self.assertEqual(found[0].shape, (4,))
    for broken, message in (
      ({}, "lacks lin0"),
      (weights | {"other": np.zeros(1)}, "lacks lin2"),
      ({"lin0.model.1.weight": np.zeros((2, 3, 1, 1))}, r"shape \(2, 3, 1, 1\)"),
    ):
      with self.assertRaisesRegex(UserError, message):
        heads(broken)


if __name__ == "__main__":
  absltest.main()
