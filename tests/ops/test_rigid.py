"""Tests of rotations, rigid transforms, twists and their fit to points."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.spatial
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import rigid

exp_rotation, log_rotation = jax.jit(rigid.exp_rotation), jax.jit(rigid.log_rotation)
exp_twist, log_transform = jax.jit(rigid.exp_twist), jax.jit(rigid.log_transform)
fit = jax.jit(rigid.fit)


def vectors(angle, count=6, seed=0):
  """[count, 3] rotation vectors of one angle."""
  axes = np.random.default_rng(seed).normal(size=(count, 3))
  axes *= angle / np.linalg.norm(axes, axis=-1, keepdims=True)
  return axes.astype(np.float32)


class RotationTest(chex.TestCase):
  @parameterized.parameters(0.0, 1e-4, 0.09, 0.11, 1.0, 3.0, np.pi - 1e-3)
  def test_exp_and_log_are_scipys(self, angle):
    expected = scipy.spatial.transform.Rotation.from_rotvec(vectors(angle))
    rotations = exp_rotation(vectors(angle))
    np.testing.assert_allclose(rotations, expected.as_matrix(), atol=1e-6)
    np.testing.assert_allclose(log_rotation(rotations), vectors(angle), atol=1e-5)

  def test_half_turns(self):
    half = np.diag([-1.0, 1.0, -1.0]).astype(np.float32)[None]
    np.testing.assert_allclose(np.abs(log_rotation(half)), [[0, np.pi, 0]], atol=1e-6)

  def test_gradients_at_and_near_the_identity(self):
    def there_and_back(twist):
      moved = rigid.exp_twist(twist)
      return jnp.concatenate([moved.ravel(), rigid.log_transform(moved @ moved)])

    with jax.enable_x64(True):
      function = jax.jit(there_and_back)
      jacobian = jax.jit(jax.jacrev(there_and_back))
      for angle in (0.0, 1e-3, 0.1, 2.0):
        twist = np.array([0.6 * angle, -0.8 * angle, 0, 1, 2, 3])
        steps = 1e-6 * np.eye(6)
        both = [(function(twist + s), function(twist - s)) for s in steps]
        difference = [np.subtract(*pair) for pair in both]
        expected = np.stack(difference, axis=1) / 2e-6
        np.testing.assert_allclose(jacobian(twist), expected, atol=1e-8)


class TransformTest(chex.TestCase):
  @parameterized.parameters(0.0, 0.05, 1.4, 3.1)
  def test_twists_are_matrix_exponentials(self, angle):
    velocity = np.random.default_rng(1).normal(size=(6, 3))
    twists = np.concatenate([vectors(angle), velocity], axis=1).astype(np.float32)
    generators = np.zeros((6, 4, 4))
    generators[:, :3, :3] = rigid.cross_matrix(twists[:, :3])
    generators[:, :3, 3] = twists[:, 3:]
    transforms = exp_twist(twists)
    np.testing.assert_allclose(transforms, scipy.linalg.expm(generators), atol=1e-5)
    np.testing.assert_allclose(log_transform(transforms), twists, atol=2e-5)
    both = rigid.invert(transforms) @ transforms
    np.testing.assert_allclose(both, np.tile(np.eye(4), (6, 1, 1)), atol=1e-5)

  def test_apply_rotates_then_moves(self):
    turn = exp_twist(jnp.array([0, 0, np.pi / 2, 0, 0, 0]))
    move = rigid.transform(jnp.eye(3), jnp.array([1.0, 2.0, 3.0]))
    moved = rigid.apply(move @ turn, jnp.array([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(moved, [[1.0, 3.0, 3.0]], atol=1e-6)


class FitTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(2)
    self.source = rng.normal(size=(30, 3)).astype(np.float32)
    self.truth = exp_twist(jnp.array([1.0, -2.0, 0.5, 3.0, 1.0, -4.0]))
    self.target = np.asarray(rigid.apply(self.truth, self.source))

  def test_exact_correspondences(self):
    np.testing.assert_allclose(fit(self.source, self.target), self.truth, atol=1e-5)

  def test_points_of_weight_zero_do_not_count(self):
    target = self.target.copy()
    target[:10] += 100
    weights = np.repeat(np.array([0, 1], np.float32), [10, 20])
    np.testing.assert_allclose(fit(self.source, target, weights), self.truth, atol=1e-5)

  def test_mirrored_points_give_a_rotation(self):
    rotation = np.asarray(fit(self.source, self.source * [-1, 1, 1]))[:3, :3]
    self.assertAlmostEqual(np.linalg.det(rotation), 1.0, places=5)

  def test_minimises_the_weighted_error(self):
    rng = np.random.default_rng(3)
    target = self.target + 0.3 * rng.normal(size=(30, 3)).astype(np.float32)
    weights = rng.uniform(size=30).astype(np.float32)
    best = fit(self.source, target, weights)

    @jax.jit
    def error(twist):
      moved = rigid.apply(rigid.exp_twist(twist) @ best, self.source)
      return jnp.sum(weights[:, None] * jnp.square(moved - target))

    np.testing.assert_allclose(
      jax.jit(jax.grad(error))(jnp.zeros(6)), np.zeros(6), atol=1e-3
    )

  @hypothesis.given(
    count=st.integers(1, 4),
    spread=st.sampled_from([0.0, 1e-20, 1.0, 1e6]),
    directions=st.integers(0, 3),
    seed=st.integers(0, 1000),
  )
  @hypothesis.settings(max_examples=40, deadline=None)
  def test_degenerate_points_give_a_finite_rotation(
    self, count, spread, directions, seed
  ):
    rng = np.random.default_rng(seed)
    shape = np.arange(3) < directions
    source, target = spread * shape * rng.normal(size=(2, count, 3))
    found = np.asarray(fit(source.astype(np.float32), target.astype(np.float32)))
    chex.assert_tree_all_finite(found)
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-5)
    self.assertGreater(np.linalg.det(found[:3, :3]), 0)

  def test_what_is_left_open_stays_the_identity(self):
    one = np.array([[1.0, 2.0, 3.0]], np.float32)
    expected = np.eye(4)
    expected[:3, 3] = [1, 1, 1]
    np.testing.assert_allclose(fit(one, one + 1), expected, atol=1e-6)
    nothing = fit(self.source, self.target, np.zeros(30, np.float32))
    np.testing.assert_allclose(nothing, np.eye(4), atol=1e-6)

  def test_many_pairs_at_once(self):
    sources = np.stack([self.source, self.source[::-1]])
    found = jax.jit(jax.vmap(rigid.fit))(
      sources, np.stack([self.target, self.target[::-1]])
    )
    np.testing.assert_allclose(found, np.stack([self.truth] * 2), atol=1e-5)


if __name__ == "__main__":
  absltest.main()
