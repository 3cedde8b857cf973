"""Tests of kinematic trees and dual quaternions."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import dual_quaternion, kinematics, rigid

forward = jax.jit(kinematics.forward)
spatial_jacobians = jax.jit(kinematics.spatial_jacobians, static_argnames="floating")
from_transform = jax.jit(dual_quaternion.from_transform)
to_transform = jax.jit(dual_quaternion.to_transform)
blend = jax.jit(dual_quaternion.blend)
exp_twist = jax.jit(rigid.exp_twist)


def branching_tree():
  """A tree of four joints, one prismatic, with two branches."""
  rng = np.random.default_rng(0)
  axes = rng.normal(size=(4, 3))
  axes /= np.linalg.norm(axes, axis=1, keepdims=True)
  frames = exp_twist(jnp.asarray(rng.normal(size=(4, 6)), jnp.float32))
  kinds = jnp.array([0, 1, 0, 0], jnp.int32)
  parents = jnp.array([0, 1, 1, 3], jnp.int32)
  return kinematics.Tree(parents, kinds, jnp.asarray(axes, jnp.float32), frames)


class KinematicsTest(chex.TestCase):
  def test_two_links_in_a_plane(self):
    step = jnp.eye(4).at[0, 3].set(2.0)
    tree = kinematics.serial_chain(
      jnp.zeros(2, jnp.int32),
      jnp.tile(jnp.array([0.0, 0.0, 1.0]), (2, 1)),
      jnp.stack([jnp.eye(4), step]),
    )
    bodies = forward(tree, jnp.array([np.pi / 2, -np.pi / 2]))
    np.testing.assert_allclose(bodies[1, :3, 0], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(bodies[2, :3, 3], [0, 2, 0], atol=1e-6)
    np.testing.assert_allclose(bodies[2, :3, :3], np.eye(3), atol=1e-6)
    jacobians = spatial_jacobians(tree, bodies)
    np.testing.assert_array_equal(jacobians[0], 0)
    np.testing.assert_allclose(jacobians[1, :, 0], [0, 0, 1, 0, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(jacobians[1, :, 1], 0)
    # The second joint is at (0, 2, 0): p × a = (2, 0, 0).
    np.testing.assert_allclose(jacobians[2, :, 1], [0, 0, 1, 2, 0, 0], atol=1e-6)

  def test_bodies_hang_on_those_that_carry_them(self):
    np.testing.assert_array_equal(
      kinematics.carriers(branching_tree()),
      [
        [False, False, False, False],
        [True, False, False, False],
        [True, True, False, False],
        [True, False, True, False],
        [True, False, True, True],
      ],
    )

  def test_spatial_jacobians_are_derivatives_of_points(self):
    tree = branching_tree()
    base = exp_twist(jnp.array([0.3, -0.2, 0.5, 1.0, 2.0, -1.0]))
    point = jnp.array([0.4, -0.7, 0.2])

    def where(positions, twist):
      moved = rigid.exp_twist(twist) @ base
      return rigid.apply(kinematics.forward(tree, positions, moved), point[None])[:, 0]

    positions = jnp.array([0.5, -0.3, 1.2, 0.7])
    by_joints, by_base = jax.jit(jax.jacobian(where, argnums=(0, 1)))(
      positions, jnp.zeros(6)
    )
    bodies = forward(tree, positions, base)
    jacobians = spatial_jacobians(tree, bodies, floating=True)
    places = jax.jit(where)(positions, jnp.zeros(6))
    crossed = -rigid.cross_matrix(places)
    identity = jnp.broadcast_to(jnp.eye(3), (5, 3, 3))
    expected = jnp.concatenate([crossed, identity], axis=-1) @ jacobians
    np.testing.assert_allclose(expected[..., :6], by_base, atol=1e-5)
    np.testing.assert_allclose(expected[..., 6:], by_joints, atol=1e-5)


class DualQuaternionTest(chex.TestCase):
  def transforms(self, count=6, seed=0):
    twists = np.random.default_rng(seed).normal(size=(count, 6))
    return exp_twist(jnp.asarray(twists, jnp.float32))

  @chex.variants(with_jit=True, without_jit=True)
  def test_there_and_back(self):
    transforms = self.transforms()
    duals = self.variant(dual_quaternion.from_transform)(transforms)
    np.testing.assert_allclose(to_transform(duals), transforms, atol=1e-5)
    np.testing.assert_allclose(to_transform(-duals), transforms, atol=1e-5)

  @parameterized.parameters(0.0, 0.25, 0.5)
  def test_blend_of_a_screw_stays_on_it(self, share):
    axis = np.array([0.0, 0.0, 1.0])
    end = rigid.transform(
      rigid.exp_rotation(jnp.array(1.0 * axis)), jnp.array(0.0 * axis + [0, 0, 2.0])
    )
    duals = from_transform(jnp.stack([jnp.eye(4), end]))
    signs = jnp.array([[1.0], [-1.0]])  # the same transform with the other sign
    found = to_transform(blend(signs * duals, jnp.array([1 - share, share])))
    # Along the same screw, by an angle that is exact in the middle.
    np.testing.assert_allclose(found[:2, 3], 0, atol=1e-6)
    np.testing.assert_allclose(found[2, :3], [0, 0, 1], atol=1e-6)
    angle = np.arctan2(found[1, 0], found[0, 0])
    if share != 0.25:
      self.assertAlmostEqual(angle, share, places=5)
      self.assertAlmostEqual(float(found[2, 3]), 2 * share, places=5)

  @hypothesis.given(
    scale=st.sampled_from([0.0, 1e-20, 1.0, 1e6]), seed=st.integers(0, 99)
  )
  @hypothesis.settings(max_examples=20, deadline=None)
  def test_any_blend_is_a_finite_rigid_motion(self, scale, seed):
    duals = from_transform(self.transforms(3, seed))
    weights = scale * np.random.default_rng(seed).uniform(size=3)
    found = to_transform(blend(duals, jnp.asarray(weights, jnp.float32)))
    product = found[:3, :3] @ found[:3, :3].T
    np.testing.assert_allclose(product, np.eye(3), atol=1e-4)
    self.assertTrue(np.isfinite(found).all())


if __name__ == "__main__":
  absltest.main()
