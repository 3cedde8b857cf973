"""Tests of inverse-distance interpolation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import point_interpolation


class InterpolateNearestTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_between_three_points(self):
    points = jnp.array([[0.0], [1.0], [3.0], [100.0]])
    features = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [9.0, 9.0]])
    found = self.variant(point_interpolation.interpolate_nearest)(
      jnp.array([[2.0]]), points, features
    )
    # Distances 2, 1 and 1: weights 1/5, 2/5, 2/5.
    np.testing.assert_allclose(found, [[0.2, 0.4]], rtol=1e-6)

  def test_points_keep_their_own_features(self):
    rng = np.random.default_rng(0)
    points, features = rng.normal(size=(2, 20, 3)).astype(np.float32)
    found = point_interpolation.interpolate_nearest(points, points, features)
    np.testing.assert_allclose(found, features, atol=1e-5)

  @parameterized.parameters(1, 2)
  def test_few_points_are_all_taken(self, count):
    points = jnp.arange(3.0 * count).reshape(count, 3)
    found = point_interpolation.interpolate_nearest(
      jnp.zeros((4, 3)), points, jnp.ones((count, 5))
    )
    np.testing.assert_allclose(found, np.ones((4, 5)), rtol=1e-6)

  def test_gradient_agrees_with_finite_differences(self):
    rng = np.random.default_rng(1)
    queries, points = rng.normal(size=(2, 6, 3))
    features = jnp.asarray(rng.normal(size=(6, 2)), jnp.float32)
    indices, distances = point_interpolation.k_nearest(
      jnp.float32(queries), jnp.float32(points), 3
    )

    def interpolate(features, distances):
      weights = point_interpolation.inverse_distance_weights(distances)
      return point_interpolation.interpolate(features, indices, weights)

    jax.test_util.check_grads(
      interpolate, (features, distances), order=1, modes=["rev"], rtol=1e-2
    )

  def test_points_at_infinity_weigh_nothing(self):
    weights = point_interpolation.inverse_distance_weights(
      jnp.array([[1.0, jnp.inf], [jnp.inf, jnp.inf]])
    )
    np.testing.assert_allclose(weights, [[1, 0], [0, 0]], atol=1e-7)


if __name__ == "__main__":
  absltest.main()
