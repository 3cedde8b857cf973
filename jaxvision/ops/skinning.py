"""Bodies of blend shapes and linear blend skinning, as SMPL and MANO are."""

from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import rigid


class BodyModel(NamedTuple):
  """A body of V vertices and K joints.

  Attributes:
    template: [V, 3] vertices at rest, in metres.
    shape_directions: [V, 3, S] change of the template for a unit of each shape number.
    pose_directions: [V, 3, 9 (K - 1)] change for each element of R - I, row by row, of
      all joints but the first.
    joint_regressor: [K, V] joints as weighted vertices.
    weights: [V, K] of the joints' transforms.
    parents: [K] int32; the first joint is the root, whose own entry is ignored. Every
      other joint comes after its parent.
  """

  template: chex.Array
  shape_directions: chex.Array
  pose_directions: chex.Array
  joint_regressor: chex.Array
  weights: chex.Array
  parents: chex.Array


def forward(
  body: BodyModel, rotations: chex.Array, shape: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Returns the vertices and joints of posed bodies.

  The root turns about its own joint; nothing is moved beside that. Skinning weights
  that do not sum to 1 are taken as they are.

  Args:
    body: of V vertices and K joints.
    rotations: [B, K, 3, 3] of each joint relative to its parent.
    shape: [B, S] shape numbers.

  Returns:
    vertices [B, V, 3] and joints [B, K, 3], in metres.

  Source: Loper et al., SMPL, SIGGRAPH Asia 2015, Eqs. 2-10.
  """
  batch, joints = rotations.shape[:2]
  vertices = body.template.shape[0]
  chex.assert_shape(rotations, (batch, body.weights.shape[1], 3, 3))
  chex.assert_shape(shape, (batch, body.shape_directions.shape[-1]))
  shaped = body.template + _blend(body.shape_directions, shape)
  places = jnp.einsum("kv,bvc->bkc", body.joint_regressor, shaped, precision="highest")
  feature = (rotations[:, 1:] - jnp.eye(3, dtype=rotations.dtype)).reshape(batch, -1)
  posed = shaped + _blend(body.pose_directions, feature)

  world = joint_transforms(rotations, places, body.parents)
  moved = jnp.einsum("bkij,bkj->bki", world[..., :3], places, precision="highest")
  relative = world.at[..., 3].add(-moved).reshape(batch, joints, 12)
  each = jnp.einsum("vk,bkm->bvm", body.weights, relative, precision="highest")
  each = each.reshape(batch, vertices, 3, 4)
  # A sum of three products; as a product of tiny matrices it is slow on a CPU.
  turned = jnp.sum(each[..., :3] * posed[:, :, None, :], axis=-1)
  return turned + each[..., 3], world[..., 3]


def joint_transforms(
  rotations: chex.Array, places: chex.Array, parents: chex.Array
) -> chex.Array:
  """Returns the transforms [B, K, 3, 4] from joints' frames to the world.

  All chains grow at once, each step doubling how many ancestors have been applied.

  Args:
    rotations: [B, K, 3, 3] relative to the parents.
    places: [B, K, 3] of the joints at rest.
    parents: [K] int32, the root first, whose entry is ignored.
  """
  batch, count = places.shape[:2]
  chex.assert_shape(rotations, (batch, count, 3, 3))
  chex.assert_shape(parents, (count,))
  # One more frame, the world's, which is its own parent, ends every chain.
  ancestors = jnp.concatenate([jnp.array([count]), parents[1:], jnp.array([count])])
  from_parent = places.at[:, 1:].add(-places[:, parents[1:]])
  rotation = jnp.concatenate(
    [rotations, jnp.broadcast_to(jnp.eye(3, dtype=places.dtype), (batch, 1, 3, 3))],
    axis=1,
  )
  shift = jnp.pad(from_parent, ((0, 0), (0, 1), (0, 0)))
  for _ in range(int(np.ceil(np.log2(count + 1)))):
    above, above_shift = rotation[:, ancestors], shift[:, ancestors]
    shift = (above @ shift[..., None])[..., 0] + above_shift
    rotation = jnp.matmul(above, rotation, precision="highest")
    ancestors = ancestors[ancestors]
  return jnp.concatenate([rotation, shift[..., None]], axis=-1)[:, :count]


def axis_angles_to_rotations(pose: chex.Array) -> chex.Array:
  """Returns rotations [..., K, 3, 3] of axis-angles [..., 3 K] in radians."""
  return rigid.exp_rotation(pose.reshape(*pose.shape[:-1], -1, 3))


def _blend(directions, numbers):
  """Returns [B, V, 3] of directions [V, 3, D] and numbers [B, D]."""
  vertices, _, count = directions.shape
  flat = jnp.matmul(
    numbers, directions.reshape(vertices * 3, count).T, precision="highest"
  )
  return flat.reshape(len(numbers), vertices, 3)
