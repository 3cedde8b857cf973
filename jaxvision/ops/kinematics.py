"""Trees of rigid bodies joined by revolute and prismatic joints.

Body 0 is the base; joint k carries body k + 1 and hangs on an earlier body. Spatial
Jacobians belong to twists [rotation, velocity] about the origin of the world, which
act on the left: x' = x + ω × x + v, so that one twist moves every point of a body.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import rigid

REVOLUTE, PRISMATIC = 0, 1


class Tree(NamedTuple):
  """J joints in an order in which each comes after those that carry it.

  Attributes:
    parents: [J] int32 body, 0 to k for joint k, that joint k is fixed to.
    kinds: [J] int32, REVOLUTE or PRISMATIC.
    axes: [J, 3] unit axes in the joints' frames.
    frames: [J, 4, 4] from each joint's frame, at position 0, to its parent's.
  """

  parents: chex.Array
  kinds: chex.Array
  axes: chex.Array
  frames: chex.Array


def serial_chain(kinds: chex.Array, axes: chex.Array, frames: chex.Array) -> Tree:
  """Returns a tree without branches; arguments as in `Tree`."""
  chex.assert_equal_shape_prefix([kinds, axes, frames], 1)
  return Tree(jnp.arange(len(kinds), dtype=jnp.int32), kinds, axes, frames)


def forward(
  tree: Tree, positions: chex.Array, base: chex.Array | None = None
) -> chex.Array:
  """Returns where the bodies are.

  Args:
    tree: of J joints.
    positions: [J] radians or metres.
    base: [4, 4] of the base in the world, the identity when None.

  Returns:
    [J + 1, 4, 4] from each body's frame to the world, the base's first.
  """
  chex.assert_shape(positions, tree.parents.shape)
  chex.assert_type(positions, float)
  if base is None:
    base = jnp.eye(4, dtype=positions.dtype)
  turns = jnp.where((tree.kinds == REVOLUTE)[:, None], tree.axes, 0)
  shifts = tree.axes - turns
  twists = jnp.concatenate([turns, shifts], axis=1) * positions[:, None]
  steps = jnp.matmul(tree.frames, rigid.exp_twist(twists), precision="highest")

  def place(bodies, joint):
    index, parent, step = joint
    body = jnp.matmul(bodies[parent], step, precision="highest")
    return bodies.at[index + 1].set(body), None

  count = tree.parents.shape[0]
  bodies = jnp.zeros((count + 1, 4, 4), positions.dtype).at[0].set(base)
  joints = jnp.arange(count), tree.parents, steps
  return jax.lax.scan(place, bodies, joints)[0]


def carriers(tree: Tree) -> chex.Array:
  """Returns [J + 1, J] whether a body (row) is carried by a joint (column)."""
  count = tree.parents.shape[0]

  def carry(carried, joint):
    index, parent = joint
    row = carried[parent].at[index].set(True)
    return carried.at[index + 1].set(row), None

  joints = jnp.arange(count), tree.parents
  return jax.lax.scan(carry, jnp.zeros((count + 1, count), bool), joints)[0]


def spatial_jacobians(
  tree: Tree, bodies: chex.Array, *, floating: bool = False
) -> chex.Array:
  """Returns the bodies' twists, about the world's origin, for unit joint velocities.

  Args:
    tree: of J joints.
    bodies: [J + 1, 4, 4] as `forward` returns.
    floating: whether six columns, the base's own twist, stand before the joints'.

  Returns:
    [J + 1, 6, J] or, if floating, [J + 1, 6, 6 + J].

  Source: Lynch and Park, Modern Robotics, 2017, Definition 5.1.
  """
  chex.assert_shape(bodies, (tree.parents.shape[0] + 1, 4, 4))
  # A joint neither turns nor moves its own axis: the body's frame will do.
  directions = jnp.einsum(
    "jab,jb->ja", bodies[1:, :3, :3], tree.axes, precision="highest"
  )
  moments = jnp.cross(bodies[1:, :3, 3], directions)
  is_revolute = (tree.kinds == REVOLUTE)[:, None]
  turns = jnp.where(is_revolute, directions, 0)
  velocities = jnp.where(is_revolute, moments, directions)
  columns = jnp.concatenate([turns, velocities], axis=1).T
  jacobians = jnp.where(carriers(tree)[:, None], columns, 0)
  if floating:
    own = jnp.broadcast_to(jnp.eye(6, dtype=bodies.dtype), (bodies.shape[0], 6, 6))
    jacobians = jnp.concatenate([own, jacobians], axis=2)
  return jacobians
