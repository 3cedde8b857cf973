"""Similarities that were applied are undone, mirrors are not."""

import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from scipy.spatial.transform import Rotation

from jaxvision.ops import similarity


class SimilarityTest(absltest.TestCase):
  def test_moved_scaled_and_turned_points_come_back(self):
    rng = np.random.default_rng(0)
    target = rng.normal(size=(2, 9, 3))
    turn = Rotation.from_rotvec([0.4, 2.0, -0.3]).as_matrix()
    source = 0.3 * target @ turn.T + np.array([5.0, -2.0, 1.0])
    found = similarity.align(jnp.float32(source), jnp.float32(target))
    np.testing.assert_allclose(found, target, atol=1e-5)

  def test_mirrored_points_do_not(self):
    target = np.random.default_rng(1).normal(size=(9, 3))
    found = similarity.align(jnp.asarray(target * [-1, 1, 1]), jnp.asarray(target))
    self.assertGreater(np.abs(found - target).max(), 0.1)

  def test_a_point_stays_a_point(self):
    target = jnp.asarray(np.random.default_rng(2).normal(size=(5, 3)))
    found = similarity.align(jnp.ones((5, 3)), target)
    expected = np.broadcast_to(target.mean(axis=0), (5, 3))
    np.testing.assert_allclose(found, expected, atol=1e-6)


if __name__ == "__main__":
  absltest.main()
