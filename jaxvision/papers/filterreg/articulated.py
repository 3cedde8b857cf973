"""Articulated registration: joint angles from body twists.

Each body sums the 6 × 6 system of its own twist, and the spatial Jacobians of the
joints carry them over to joint space: O(M) for the points, whatever the number of
joints. The direct assembly, a Jacobian of every point with respect to every joint, is
kept for comparison.

Source: Section 5.2, Algorithm 1.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import kinematics
from jaxvision.papers.filterreg import correspondences, twists
from jaxvision.papers.filterreg.correspondences import Mixture


@dataclasses.dataclass(frozen=True)
class Settings:
  """How an articulated model is registered.

  Attributes:
    sigma: σ of the mixture in metres, fixed.
    max_iterations: of EM.
    tolerance: the end is when no joint moved by more (radians or metres).
    floating: whether the base moves too.
    damping: of joints that nothing observes, in units of the mean diagonal.
    mixture: what the E-step assumes.
  """

  sigma: float = 0.01
  max_iterations: int = 15
  tolerance: float = 1e-4
  floating: bool = False
  damping: float = 1e-6
  mixture: Mixture = dataclasses.field(default_factory=Mixture)


class Model(NamedTuple):
  """Points fixed to the bodies of a tree.

  Attributes:
    tree: of J joints.
    points: [M, 3] in the frames of their bodies.
    bodies: [M] int32 in 0..J, 0 the base.
  """

  tree: kinematics.Tree
  points: chex.Array
  bodies: chex.Array


class Posture(NamedTuple):
  """A registered posture; always finite.

  Attributes:
    positions: [J] of the joints.
    base: [4, 4] of the base in the world.
    weights: [M] of the model points.
    iterations: of EM, int32.
    is_converged: whether the tolerance was met.
    is_valid: whether any point had weight.
  """

  positions: chex.Array
  base: chex.Array
  weights: chex.Array
  iterations: chex.Array
  is_converged: chex.Array
  is_valid: chex.Array


def place(model: Model, bodies: chex.Array) -> chex.Array:
  """Returns the model's points [M, 3] in the world, by [J + 1, 4, 4] of its bodies."""
  moving = bodies[model.bodies]
  rotated = jnp.einsum(
    "mab,mb->ma", moving[:, :3, :3], model.points, precision="highest"
  )
  return rotated + moving[:, :3, 3]


def assemble(
  points: chex.Array,
  targets: chex.Array,
  weights: chex.Array,
  bodies: chex.Array,
  jacobians: chex.Array,
) -> tuple[chex.Array, chex.Array]:
  """Returns A = Σ_j S_jᵀ (Σ w JᵀJ) S_j and b, by one twist a body.

  Args:
    points: [M, 3] in the world.
    targets: [M, 3].
    weights: [M].
    bodies: [M] int32 in 0..B-1.
    jacobians: [B, 6, n] S_j, twists about the world's origin for unit parameters.

  Returns:
    [n, n] and [n].
  """
  matrices, rights = twists.point_systems(
    points, targets, weights, bodies, jacobians.shape[0]
  )
  matrix = jnp.einsum(
    "bim,bij,bjn->mn", jacobians, matrices, jacobians, precision="highest"
  )
  right = jnp.einsum("bim,bi->m", jacobians, rights, precision="highest")
  return matrix, right


def assemble_directly(
  points: chex.Array,
  targets: chex.Array,
  weights: chex.Array,
  bodies: chex.Array,
  jacobians: chex.Array,
) -> tuple[chex.Array, chex.Array]:
  """Returns the same as `assemble`, from each point's 3 × n Jacobian: O(n² M)."""
  own = jnp.matmul(
    twists.point_jacobian(points), jacobians[bodies], precision="highest"
  ).reshape(-1, jacobians.shape[2])
  weighted = jnp.repeat(weights, 3)[:, None] * own
  matrix = jnp.matmul(weighted.T, own, precision="highest")
  right = jnp.matmul(weighted.T, (points - targets).ravel(), precision="highest")
  return matrix, right


@functools.partial(jax.jit, static_argnames="settings")
def solve(
  model: Model,
  observation: chex.Array,
  settings: Settings = Settings(),
  *,
  positions: chex.Array,
  base: chex.Array | None = None,
) -> Posture:
  """Returns the posture that explains the observation, from one close to it.

  Args:
    model: points on bodies; rows with NaN or infinities do not count.
    observation: [N, 3] points in the world, rows as above.
    settings: of EM.
    positions: [J] first guess.
    base: [4, 4] first guess of the base, the identity when None.

  Raises:
    ValueError: a cloud without points.
  """
  chex.assert_shape([model.points, observation], (None, 3))
  chex.assert_shape(positions, model.tree.parents.shape)
  if not (model.points.shape[0] and observation.shape[0]):
    raise ValueError("the model or the observation has no points")
  if base is None:
    base = jnp.eye(4, dtype=positions.dtype)
  in_model = jnp.all(jnp.isfinite(model.points), axis=1)
  is_seen = jnp.all(jnp.abs(observation) < 1e12, axis=1)
  model = model._replace(points=jnp.where(in_model[:, None], model.points, 0))
  observation = jnp.where(is_seen[:, None], observation, 0)
  count = jnp.sum(is_seen)
  center = jnp.sum(observation, axis=0) / jnp.maximum(count, 1)
  centred = jnp.where(is_seen[:, None], observation - center, 0)
  mixture = settings.mixture
  scale = settings.sigma * jnp.array(mixture.aspect, centred.dtype)
  features = jnp.where(is_seen[:, None], centred / scale, jnp.inf)
  values = correspondences.observed_values(centred, None, mixture)
  prepared = correspondences.prepare(features, values, mixture)

  def iterate(state):
    placed = kinematics.forward(model.tree, state.positions, state.base)
    points = place(model, placed) - center
    queries = jnp.where(in_model[:, None], points / scale, jnp.inf)
    filtered = correspondences.sums(prepared, queries, mixture)
    found = correspondences.correspond(
      filtered, jnp.asarray(settings.sigma), mixture, count
    )
    # Twists about the observation's mean: its digits, and the same joint angles.
    placed = placed.at[:, :3, 3].add(-center)
    jacobians = kinematics.spatial_jacobians(
      model.tree, placed, floating=settings.floating
    )
    matrix, right = assemble(
      points, found.targets, found.weights, model.bodies, jacobians
    )
    step = twists.solve_normal(matrix, right, settings.damping)
    new_base = state.base
    if settings.floating:
      moved = twists.twist_transform(step[:6]) @ placed[0]
      new_base = moved.at[:3, 3].add(center)
    new = state.positions + step[-state.positions.shape[0] :]
    is_usable = jnp.all(jnp.isfinite(new)) & jnp.all(jnp.isfinite(new_base))
    return Posture(
      positions=jnp.where(is_usable, new, state.positions),
      base=jnp.where(is_usable, new_base, state.base),
      weights=found.weights,
      iterations=state.iterations + 1,
      is_converged=jnp.max(jnp.abs(step)) <= settings.tolerance,
      is_valid=jnp.max(found.weights) > 0,
    )

  start = Posture(
    positions=positions,
    base=base,
    weights=jnp.zeros_like(model.points[:, 0]),
    iterations=jnp.int32(0),
    is_converged=jnp.bool_(False),
    is_valid=jnp.bool_(False),
  )
  return jax.lax.while_loop(
    lambda s: ~s.is_converged & (s.iterations < settings.max_iterations),
    iterate,
    start,
  )


def placement_error(model: Model, found: Posture, truth: Posture) -> chex.Array:
  """Returns the mean distance of the model's points in two postures, metres."""
  one, other = (
    place(model, kinematics.forward(model.tree, posture.positions, posture.base))
    for posture in (found, truth)
  )
  return jnp.mean(jnp.linalg.norm(one - other, axis=1))
