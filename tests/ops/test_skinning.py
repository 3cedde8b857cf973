"""Posed bodies, beside a joint-by-joint calculation in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from scipy.spatial.transform import Rotation

from jaxvision.ops import skinning

PARENTS = np.array([0, 0, 1, 1, 3, 0], np.int32)


def random_body(vertices=7, shapes=2, seed=0):
  rng = np.random.default_rng(seed)
  joints = len(PARENTS)
  weights = rng.random((vertices, joints))
  return skinning.BodyModel(
    template=rng.normal(size=(vertices, 3)),
    shape_directions=rng.normal(size=(vertices, 3, shapes)),
    pose_directions=0.1 * rng.normal(size=(vertices, 3, 9 * (joints - 1))),
    joint_regressor=rng.random((joints, vertices)),
    weights=weights / weights.sum(axis=1, keepdims=True),
    parents=PARENTS,
  )


def one_by_one(body, rotations, shape):
  shaped = body.template + body.shape_directions @ shape
  places = body.joint_regressor @ shaped
  posed = shaped + body.pose_directions @ (rotations[1:] - np.eye(3)).reshape(-1)
  world = []
  for joint, parent in enumerate(body.parents):
    local = np.eye(4)
    local[:3, :3] = rotations[joint]
    local[:3, 3] = places[joint] - (places[parent] if joint else 0)
    world.append(world[parent] @ local if joint else local)
  moved = np.zeros_like(posed)
  for vertex, place in enumerate(posed):
    for joint, transform in enumerate(world):
      relative = transform[:3, :3] @ (place - places[joint]) + transform[:3, 3]
      moved[vertex] += body.weights[vertex, joint] * relative
  return moved, np.stack(world)[:, :3, 3]


class SkinningTest(absltest.TestCase):
  def test_vertices_and_joints_are_those_of_one_joint_after_another(self):
    body = random_body()
    rng = np.random.default_rng(1)
    pose, shape = rng.normal(size=(2, 3 * len(PARENTS))), rng.normal(size=(2, 2))
    with jax.enable_x64(True):
      rotations = skinning.axis_angles_to_rotations(jnp.asarray(pose))
      model = jax.tree.map(jnp.asarray, body)
      vertices, joints = jax.jit(skinning.forward)(model, rotations, jnp.asarray(shape))
    matrices = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix()
    matrices = matrices.reshape(2, -1, 3, 3)
    np.testing.assert_allclose(rotations, matrices, atol=1e-9)
    for index in range(2):
      expected = one_by_one(body, matrices[index], shape[index])
      np.testing.assert_allclose(vertices[index], expected[0], atol=1e-9)
      np.testing.assert_allclose(joints[index], expected[1], atol=1e-9)

  def test_rest_is_the_template_and_its_gradient_is_finite(self):
    body = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), random_body())
    body = body._replace(parents=jnp.asarray(PARENTS))
    pose, shape = jnp.zeros((1, 3 * len(PARENTS))), jnp.zeros((1, 2))

    def vertices(pose, shape):
      rotations = skinning.axis_angles_to_rotations(pose)
      return skinning.forward(body, rotations, shape)[0]

    @jax.jit
    def both(pose, shape):
      found, pull_back = jax.vjp(vertices, pose, shape)
      return found, pull_back(2 * found)

    found, gradient = both(pose, shape)
    np.testing.assert_allclose(found[0], body.template, atol=1e-5)
    for part in gradient:
      self.assertTrue(np.all(np.isfinite(part)))
      self.assertGreater(np.abs(part).max(), 0)

  def test_wrong_number_of_joints_is_refused(self):
    body = jax.tree.map(jnp.asarray, random_body())
    with self.assertRaises(AssertionError):
      skinning.forward(body, jnp.zeros((1, 5, 3, 3)), jnp.zeros((1, 2)))


if __name__ == "__main__":
  absltest.main()
