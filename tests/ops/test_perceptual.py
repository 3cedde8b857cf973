"""The distance between maps held to numbers made by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops.perceptual import perceptual_distance


class PerceptualTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_directions_of_pixels_are_compared(self):
    a = jnp.asarray([[3.0, 0.0], [0.0, 2.0]]).reshape(1, 1, 2, 2)
    b = jnp.asarray([[0.0, 5.0], [0.0, 1.0]]).reshape(1, 1, 2, 2)
    distance = self.variant(perceptual_distance)
    # The first pixels are at right angles, the second point alike.
    np.testing.assert_allclose(distance([a], [b]), [1.0], rtol=1e-5)
    heads = [jnp.asarray([0.5, 0.1]), jnp.asarray([1.0, 1.0])]
    np.testing.assert_allclose(distance([a, a], [b, b], heads), [1.3], rtol=1e-5)

  def test_pixels_without_features(self):
    zero = jnp.zeros((1, 2, 2, 3))
    gradient = jax.grad(lambda x: perceptual_distance([x], [zero])[0])(zero)
    np.testing.assert_array_equal(gradient, 0.0)
    with self.assertRaises(AssertionError):
      perceptual_distance([zero], [zero[..., :2]])


if __name__ == "__main__":
  absltest.main()
