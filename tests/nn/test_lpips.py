"""LPIPS on a small VGG, and the reader of its heads."""

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
    variables = network.init(jax.random.key(0), a)
    weights = [jnp.asarray(rng.uniform(0, 1, n), jnp.float32) for n in (4, 6)]
    found = lpips(variables, weights, a, b, stages=STAGES)

    def first_map(x):
      x = (x - np.array(SHIFT)) / np.array(SCALE)
      kernel = variables["params"]["conv1_1"]["kernel"]
      x = jnp.maximum(convolution.conv(jnp.asarray(x, jnp.float32), kernel), 0)
      return np.asarray(x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-10))

    without_second = [weights[0], jnp.zeros(6)]
    squares = (first_map(a) - first_map(b)) ** 2 @ np.asarray(weights[0])
    np.testing.assert_allclose(
      lpips(variables, without_second, a, b, stages=STAGES),
      squares.mean(axis=(1, 2)),
      rtol=1e-4,
    )
    self.assertTrue((found > squares.mean(axis=(1, 2))).all())
    np.testing.assert_array_equal(lpips(variables, weights, a, a, stages=STAGES), 0.0)

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
