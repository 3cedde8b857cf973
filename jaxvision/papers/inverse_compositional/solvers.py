"""From the normal equations of a level to its pose: the iterations (M10, M11, M14).

Every solver is a function (level, weights, pose) -> pose that runs a fixed number of
iterations with the weights, and so the matrix JᵀWJ, of the level's start. Updates that
are not finite, of a level without any texture or depth, leave the pose as it is.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.papers.inverse_compositional import alignment
from jaxvision.papers.inverse_compositional.alignment import Level
from jaxvision.papers.inverse_compositional.encoders import kernel_init

SAMPLES = 10  # dampings that are tried, 10^-5 to 10^5
FLOOR = 1e-6  # of the trace, always added to the diagonal

LARGEST_DAMPING = 1e8
SMALLEST_DAMPING = 1e-8

Regress = Callable[[chex.Array], chex.Array]


class Problem(NamedTuple):
  """What the iterations of a level share.

  Attributes:
    level: both views.
    jacobian: [B, H W, 6].
    weights: [B, H W].
    hessian: [B, 6, 6] JᵀWJ.
    floor: [B, 6], what is always added to the hessian's diagonal.
  """

  level: Level
  jacobian: chex.Array
  weights: chex.Array
  hessian: chex.Array
  floor: chex.Array


def make_problem(level: Level, weights: chex.Array) -> Problem:
  """Returns the Problem of a level and weights [B, H, W]."""
  chex.assert_equal_shape([weights, level.template_depth])
  jacobian = alignment.jacobian(level).reshape(len(weights), -1, 6)
  weights = weights.reshape(len(weights), -1)
  hessian = jnp.einsum(
    "bni,bnj->bij", jacobian, weights[..., None] * jacobian, precision="highest"
  )
  trace = jnp.trace(hessian, axis1=-2, axis2=-1)
  # Without any texture or depth the matrix is 0: then any floor gives no update.
  floor = jnp.where(trace > 0, FLOOR * trace, 1.0)
  floor = jnp.broadcast_to(floor[:, None], (len(weights), 6))
  return Problem(level, jacobian, weights, hessian, floor)


def gradient(problem: Problem, poses: chex.Array) -> chex.Array:
  """Returns b = JᵀW r of the residuals at poses [B, *N, 4, 4]: [B, *N, 6]."""
  residual, _ = alignment.residual(problem.level, poses)
  return _gradient(problem, residual)


def step(
  problem: Problem, pose: chex.Array, b: chex.Array, damping: chex.Array
) -> chex.Array:
  """Returns the pose after the update (JᵀWJ + diag(damping) + floor)⁻¹ b.

  Args:
    problem: of the level.
    pose: [B, 4, 4].
    b: [B, 6], `gradient` at the pose.
    damping: [B, *N, 6] ≥ 0, any number of dampings.

  Returns:
    [B, *N, 4, 4].
  """
  extra = [1] * (damping.ndim - 2)

  def spread(array):
    return array.reshape(len(array), *extra, *array.shape[1:])

  diagonal = damping + spread(problem.floor)
  matrix = spread(problem.hessian) + diagonal[..., None] * jnp.eye(6, dtype=b.dtype)
  right = jnp.broadcast_to(spread(b), damping.shape)
  twist = jnp.linalg.solve(matrix, right[..., None])[..., 0]
  finite = jnp.all(jnp.isfinite(twist), axis=-1, keepdims=True)
  return alignment.apply_inverse(spread(pose), jnp.where(finite, twist, 0.0))


def gauss_newton(
  level: Level, weights: chex.Array, pose: chex.Array, *, iterations: int
) -> chex.Array:
  """Returns the pose [B, 4, 4] after undamped iterations from `pose`.

  Args:
    level: both views.
    weights: [B, H, W].
    pose: [B, 4, 4].
    iterations: K_iter.
  """
  problem = make_problem(level, weights)
  no_damping = jnp.zeros_like(problem.floor)

  def iterate(pose, _):
    return step(problem, pose, gradient(problem, pose), no_damping), None

  return jax.lax.scan(iterate, pose, length=iterations)[0]


def levenberg_marquardt(
  level: Level,
  weights: chex.Array,
  pose: chex.Array,
  *,
  iterations: int,
  damping: float = 1e-3,
) -> chex.Array:
  """Returns the pose after classically damped iterations; arguments as above.

  The damping λ diag(JᵀWJ) falls tenfold when an update lowers Σ w r², and rises tenfold
  when it does not and is taken back.

  Source: Marquardt, 1963; Section 3.2.
  """
  problem = make_problem(level, weights)
  diagonal = jnp.diagonal(problem.hessian, axis1=-2, axis2=-1)

  def assess(pose):
    residual, _ = alignment.residual(level, pose)
    cost = jnp.sum(weights * jnp.square(residual), axis=(-2, -1))
    return cost, _gradient(problem, residual)

  def iterate(carry, _):
    pose, cost, b, scale = carry
    trial = step(problem, pose, b, scale[:, None] * diagonal)
    trial_cost, trial_b = assess(trial)
    better = trial_cost < cost
    scale = jnp.where(better, scale / 10, scale * 10)
    scale = jnp.clip(scale, SMALLEST_DAMPING, LARGEST_DAMPING)
    pose = jnp.where(better[:, None, None], trial, pose)
    b = jnp.where(better[:, None], trial_b, b)
    return (pose, jnp.where(better, trial_cost, cost), b, scale), None

  cost, b = assess(pose)
  scale = jnp.full_like(cost, damping)
  carry = pose, cost, b, scale
  return jax.lax.scan(iterate, carry, length=iterations)[0][0]


def trust_region(
  level: Level,
  weights: chex.Array,
  pose: chex.Array,
  *,
  iterations: int,
  regress: Regress,
  samples: int = SAMPLES,
) -> chex.Array:
  """Returns the pose after iterations with a damping that a network chooses (C).

  The network sees what the gradient would be after updates of every damping from 10⁻⁵
  to 10⁵, and JᵀWJ.

  Args:
    level: both views.
    weights: [B, H, W].
    pose: [B, 4, 4].
    iterations: K_iter.
    regress: [B, 6 samples + 36] -> [B, 6] ≥ 0, a `DampingNetwork`.
    samples: dampings that are tried.

  Source: Section 4.3, Eq. 17 to 19; M10.
  """
  problem = make_problem(level, weights)
  lambdas = 10 ** jnp.linspace(-5.0, 5.0, samples, dtype=weights.dtype)
  diagonal = jnp.diagonal(problem.hessian, axis1=-2, axis2=-1)
  trials = lambdas[:, None] * diagonal[:, None]
  flat_hessian = problem.hessian.reshape(len(pose), 36)

  def iterate(pose, _):
    b = gradient(problem, pose)
    after = gradient(problem, step(problem, pose, b, trials))
    columns = jnp.swapaxes(after, 1, 2).reshape(len(pose), -1)
    damping = regress(jnp.concatenate([columns, flat_hessian], axis=-1))
    return step(problem, pose, b, damping), None

  return jax.lax.scan(iterate, pose, length=iterations)[0]


def fully_connected(
  level: Level,
  weights: chex.Array,
  pose: chex.Array,
  *,
  iterations: int,
  regress: Regress,
) -> chex.Array:
  """Returns the pose after iterations in which a network replaces the solve (M14).

  Args:
    level: both views.
    weights: [B, H, W].
    pose: [B, 4, 4].
    iterations: K_iter.
    regress: [B, 42] of JᵀWJ and JᵀWr -> [B, 6] twist, a `TwistNetwork`.

  Source: Section 5.1, IC-FC-LS-Net.
  """
  problem = make_problem(level, weights)
  flat_hessian = problem.hessian.reshape(len(pose), 36)

  def iterate(pose, _):
    inputs = jnp.concatenate([flat_hessian, gradient(problem, pose)], axis=-1)
    return alignment.apply_inverse(pose, regress(inputs)), None

  return jax.lax.scan(iterate, pose, length=iterations)[0]


class DampingNetwork(nn.Module):
  """The trust region network (C): six dampings ≥ 0.

  Attributes:
    features: of its hidden layers.
  """

  features: tuple[int, ...] = (128, 256)

  @nn.compact
  def __call__(self, inputs: chex.Array) -> chex.Array:
    """Returns [B, 6] of inputs [B, 6 samples + 36]."""
    return nn.relu(_dense(inputs, self.features))


class TwistNetwork(nn.Module):
  """Three layers from the normal equations to a twist.

  Attributes:
    features: of its hidden layers.
  """

  features: tuple[int, ...] = (128, 256)

  @nn.compact
  def __call__(self, inputs: chex.Array) -> chex.Array:
    """Returns [B, 6] of inputs [B, 42]."""
    return _dense(inputs, self.features)


def _dense(x: chex.Array, hidden: tuple[int, ...]) -> chex.Array:
  """Called inside a compact method: linear layers, ReLU after each but the last."""
  for number, features in enumerate((*hidden, 6)):
    if number:
      x = nn.relu(x)
    limit = x.shape[-1] ** -0.5
    x = nn.Dense(
      features,
      kernel_init=kernel_init,
      bias_init=lambda key, shape, dtype, limit=limit: jax.random.uniform(
        key, shape, dtype, -limit, limit
      ),
      name=f"fc{number}",
    )(x)
  return x


def _gradient(problem: Problem, residual: chex.Array) -> chex.Array:
  flat = residual.reshape(*residual.shape[:-2], -1)
  weights = problem.weights.reshape(len(flat), *[1] * (flat.ndim - 2), -1)
  return jnp.einsum(
    "b...n,bni->b...i", weights * flat, problem.jacobian, precision="highest"
  )
