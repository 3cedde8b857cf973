"""Rotations of arbitrary matrices, also where there is no nearest one."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from scipy.spatial.transform import Rotation

from jaxvision.ops import rotations


def random_matrices(count=6, seed=0):
  return np.random.default_rng(seed).normal(size=(count, 3, 3))


class RotationsTest(parameterized.TestCase):
  @parameterized.parameters("sign", "nearest")
  def test_rotations_and_their_gradients(self, rule):
    turn = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()
    smooth = np.stack([turn @ np.diag([1.5, 0.9, last]) for last in (0.4, -0.4)])
    weights = random_matrices(1, seed=3)[0]
    # What is left open: no direction, equal singular values, one direction only.
    open_ = np.stack([np.zeros((3, 3)), np.eye(3), -np.eye(3), np.ones((3, 3))])
    step = 1e-6
    changes = step * np.eye(9).reshape(9, 3, 3)
    ahead, behind = (smooth[:, None] + sign * changes for sign in (1, -1))

    @jax.jit
    def run(matrices):
      made, pull_back = jax.vjp(lambda m: rotations.orthogonalize(m, rule), matrices)
      return made, pull_back(jnp.broadcast_to(weights, matrices.shape))[0]

    matrices = [random_matrices(), smooth, open_, *(a.reshape(-1, 3, 3)
                for a in (ahead, behind))]  # fmt: skip
    with jax.enable_x64(True):
      made, gradients = map(np.asarray, run(jnp.asarray(np.concatenate(matrices))))
    identity = np.broadcast_to(np.eye(3), made.shape)
    np.testing.assert_allclose(made @ made.swapaxes(1, 2), identity, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(made), 1.0, atol=1e-9)
    self.assertTrue(np.all(np.isfinite(gradients)))
    slopes = np.sum(weights * (made[12:30] - made[30:48]), axis=(1, 2)) / (2 * step)
    np.testing.assert_allclose(gradients[6:8].reshape(-1), slopes, atol=1e-6)

  def test_nearest_is_nearer_than_sign_where_the_matrix_mirrors(self):
    matrices = random_matrices(20)
    mirrors = np.linalg.det(matrices) < 0
    self.assertTrue(mirrors.any() and not mirrors.all())
    distance = {
      rule: np.linalg.norm(
        np.asarray(rotations.orthogonalize(jnp.asarray(matrices), rule)) - matrices,
        axis=(1, 2),
      )
      for rule in ("sign", "nearest")
    }
    np.testing.assert_allclose(
      distance["sign"][~mirrors], distance["nearest"][~mirrors], rtol=1e-5
    )
    self.assertTrue(np.all(distance["nearest"][mirrors] < distance["sign"][mirrors]))

  def test_angles_between_rotations(self):
    angle = np.array([0.0, 1e-4, 1.0, np.pi])
    turned = Rotation.from_rotvec(
      angle[:, None] * np.array([0.6, 0.0, 0.8])
    ).as_matrix()
    found = rotations.geodesic(
      jnp.asarray(turned, jnp.float32), jnp.broadcast_to(jnp.eye(3), (4, 3, 3))
    )
    np.testing.assert_allclose(found, angle, atol=1e-3, rtol=1e-3)

  def test_unknown_rule_is_refused(self):
    with self.assertRaisesRegex(ValueError, "'closest', not 'sign' or 'nearest'"):
      rotations.orthogonalize(jnp.eye(3), "closest")


if __name__ == "__main__":
  absltest.main()
