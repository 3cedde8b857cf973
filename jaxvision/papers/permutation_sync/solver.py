"""The maximum-a-posteriori estimate: Riemannian L-BFGS on N Birkhoff polytopes.

The N maps are one point of the product manifold: inner products are summed over them.
"""

import dataclasses
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import assignment, birkhoff
from jaxvision.papers.permutation_sync import spectral
from jaxvision.papers.permutation_sync.problem import (
  Problem,
  components,
  energy_and_gradient,
)


@dataclasses.dataclass(frozen=True)
class SolverConfig:
  """Of the solver.

  Attributes:
    memory: pairs that L-BFGS keeps; 0 is Riemannian gradient descent.
    iterations: at most that many.
    halvings: of the step, in one line search.
    armijo: share of the slope that a step must gain.
    largest_change: of an entry's logarithm in the first trial. Without this bound
      exp(V / X) saturates and iterates leave the interior.
    cautious: a pair is kept where <s, y> ≥ cautious |grad| <s, s>.
    tolerance: iterations end at a smaller decrease, relative to U, or at one that the
      rounding of Σ |P_ij|² hides; along the gradient, which is tried first.
    gradient_tolerance: they end at a smaller norm of the gradient.
    infeasible: a trial is refused whose sums are further from 1.
    sweeps: of Sinkhorn in a retraction.
    sinkhorn_tolerance: at which they end.
    mixture: share of the centre in the start.
    shortest: where the bound on the change leaves less of a quasi-Newton step, the
      memory is dropped and the step goes along the gradient. Carried to a point where
      an entry is much smaller, a vector says nothing about it, and would hold back all
      the others.
    transport: how vectors are carried: by plain projection, as specified, or "scaled",
      keeping V / X before they are projected.
  """

  memory: int = 10
  iterations: int = 150
  halvings: int = 25
  armijo: float = 1e-4
  largest_change: float = 4.0
  cautious: float = 1e-4
  tolerance: float = 1e-7
  gradient_tolerance: float = 1e-6
  infeasible: float = 1e-3
  sweeps: int = 60
  sinkhorn_tolerance: float = 1e-6
  mixture: float = 0.5
  shortest: float = 0.3
  transport: Literal["projection", "scaled"] = "projection"


DEFAULT = SolverConfig()


class Minimum(NamedTuple):
  """What `minimize` finds.

  Attributes:
    points: [N, n, n] X, doubly stochastic.
    energy: U at X.
    energies: [iterations + 1] U at the start and after each iteration; it stays at its
      last value when the iterations end sooner.
    iterations: that were made.
    converged: False where the iterations ran out.
    infeasibility: largest distance of a sum of rows or columns of X from 1.
  """

  points: chex.Array
  energy: chex.Array
  energies: chex.Array
  iterations: chex.Array
  converged: chex.Array
  infeasibility: chex.Array


class Solution(NamedTuple):
  """What `solve` finds: a Minimum, and beside it two more.

  Attributes:
    permutations: [N, n, n] nearest to the points, of 0 and 1.
    components: number of connected components. Maps between images of different ones
      mean nothing: above 1, split the problem (`synchronization.synchronize` does).
  """

  points: chex.Array
  energy: chex.Array
  energies: chex.Array
  iterations: chex.Array
  converged: chex.Array
  infeasibility: chex.Array
  permutations: chex.Array
  components: chex.Array


class State(NamedTuple):
  """What one iteration hands to the next.

  Attributes:
    points: [N, n, n] X.
    energy: U at X.
    gradient: [N, n, n] Riemannian gradient.
    steps: [memory, N, n, n] s, carried to X, the latest last.
    changes: [memory, N, n, n] y, carried to X.
    count: how many of them are valid.
    previous: length at which a step along the gradient begins.
    energies: U after each iteration.
    iteration: their number.
    goes_on: whether there is another one.
    converged: whether they came to an end by themselves.
  """

  points: chex.Array
  energy: chex.Array
  gradient: chex.Array
  steps: chex.Array
  changes: chex.Array
  count: chex.Array
  previous: chex.Array
  energies: chex.Array
  iteration: chex.Array
  goes_on: chex.Array
  converged: chex.Array


class _Trial(NamedTuple):
  length: chex.Array
  halvings: chex.Array
  points: chex.Array
  energy: chex.Array
  gradient: chex.Array  # Euclidean
  is_accepted: chex.Array


def solve(problem: Problem, num_nodes: int, config: SolverConfig = DEFAULT) -> Solution:
  """Returns the MAP estimate of the absolute permutations, started from MatchEIG.

  A pure function: it jits whole, with `num_nodes` and `config` static, and vmaps over
  problems of one size.

  Args:
    problem: edges [M, 2] and matches [M, n, n] of a connected graph.
    num_nodes: N.
    config: of the solver.

  Source: sections 4 and 5; M10-M12.
  """
  start = spectral.absolute_maps(problem, num_nodes)
  return solve_from(birkhoff.soften(start, config.mixture), problem, config)


def solve_from(
  points: chex.Array, problem: Problem, config: SolverConfig = DEFAULT
) -> Solution:
  """Returns the MAP estimate as `solve` does, from another start.

  Args:
    points: [N, n, n] doubly stochastic; not permutations, from which nothing moves.
    problem: of N images with n key points.
    config: of the solver.
  """
  minimum = minimize(points, problem, config)
  return Solution(
    **minimum._asdict(),
    permutations=assignment.permutation(minimum.points),
    components=components(problem.edges, points.shape[0])[1],
  )


def minimize(
  points: chex.Array,
  problem: Problem,
  config: SolverConfig = DEFAULT,
  memory: chex.Array | None = None,
  grows: chex.Array | bool = True,
) -> Minimum:
  """Returns the soft maps of least energy that L-BFGS finds from a start.

  Args:
    points: as of `solve_from`.
    problem: as of `solve_from`.
    config: of the solver.
    memory: pairs that are used, up to config.memory, which is used when None; traced,
      so that 0, gradient descent, needs no compilation of its own.
    grows: whether a step along the gradient begins at twice the length of the last
      one; else at 1, as quasi-Newton steps do.
  """
  size = points.shape[-1]
  chex.assert_shape(points, (None, size, size))
  chex.assert_shape([problem.matches, problem.edges], [(None, size, size), (None, 2)])
  chex.assert_type([points, problem.matches, problem.edges], [float, float, int])
  memory = config.memory if memory is None else memory
  state = jax.lax.while_loop(
    lambda state: state.goes_on,
    lambda state: iterate(state, problem, config, memory, grows),
    initial_state(points, problem, config),
  )
  last = jnp.minimum(jnp.arange(config.iterations + 1), state.iteration)
  return Minimum(
    points=state.points,
    energy=state.energy,
    energies=state.energies[last],
    iterations=state.iteration,
    converged=state.converged,
    infeasibility=jnp.max(birkhoff.infeasibility(state.points)),
  )


def initial_state(points: chex.Array, problem: Problem, config: SolverConfig) -> State:
  """Returns the state that the iterations of `minimize` begin with."""
  value, euclidean = energy_and_gradient(points, problem)
  gradient = birkhoff.riemannian_gradient(points, euclidean)
  memory = jnp.zeros((config.memory, *points.shape), points.dtype)
  return State(
    points=points,
    energy=value,
    gradient=gradient,
    steps=memory,
    changes=memory,
    count=jnp.zeros((), jnp.int32),
    previous=1 / (_norm(points, gradient) + birkhoff.LEAST),
    energies=jnp.zeros(config.iterations + 1, points.dtype).at[0].set(value),
    iteration=jnp.zeros((), jnp.int32),
    goes_on=jnp.isfinite(value) & (config.iterations > 0),
    converged=jnp.zeros((), bool),
  )


def iterate(
  state: State,
  problem: Problem,
  config: SolverConfig,
  memory: chex.Array,
  grows: chex.Array,
) -> State:
  """Returns the state after one iteration; arguments as of `minimize`."""
  point, gradient = state.points, state.gradient
  direction = -gradient
  if config.memory:
    direction = -_inverse_hessian(state)
  slope = _inner(point, direction, gradient)
  norm = _norm(point, gradient)
  is_descent = slope < -1e-8 * norm * _norm(point, direction)
  change = jnp.max(jnp.abs(direction) / point)
  is_descent &= config.largest_change >= config.shortest * change
  direction = jnp.where(is_descent, direction, -gradient)
  count = count_before = jnp.where(is_descent, state.count, 0)
  slope = jnp.where(is_descent, slope, -jnp.square(norm))

  # Quasi-Newton steps begin at length 1. Those along the gradient begin at twice the
  # length that was good last time, and the very first has unit length.
  length = jnp.where(count > 0, 1.0, state.previous)
  change = jnp.max(jnp.abs(direction) / point)
  length = jnp.minimum(length, config.largest_change / (change + birkhoff.LEAST))
  trial = _search(point, direction, slope, length, state.energy, problem, config)
  accepted = trial.is_accepted

  at = birkhoff.projector(trial.points)
  carried = [trial.length * direction[None], gradient[None], state.steps, state.changes]
  carried = jnp.concatenate(carried)
  if config.transport == "scaled":
    carried *= trial.points / point
  ambient = (trial.points * trial.gradient)[None]
  projected = birkhoff.project_all(at, jnp.concatenate([ambient, carried]))
  new_gradient, step, carried = projected[:3]
  steps, changes = jnp.split(projected[3:], 2)
  difference = new_gradient - carried
  curvature = _inner(trial.points, step, difference)
  length_squared = _inner(trial.points, step, step)
  is_kept = curvature >= config.cautious * norm * length_squared
  is_kept &= curvature > 0
  if config.memory:
    steps = jnp.where(is_kept, _push(steps, step), steps)
    changes = jnp.where(is_kept, _push(changes, difference), changes)
    count = jnp.minimum(count + is_kept, memory)

  rounding = jnp.finfo(point.dtype).eps * jnp.sum(jnp.square(problem.matches))
  resolved = jnp.maximum(config.tolerance * trial.energy, 4 * rounding)
  is_still = state.energy - trial.energy < resolved
  is_flat = _norm(trial.points, new_gradient) < config.gradient_tolerance
  # A quasi-Newton step that fails or wins nothing costs the memory; along the gradient
  # there is nothing left to try.
  is_last = (count_before == 0) & (is_still | ~accepted)
  iteration = state.iteration + 1
  converged = is_last | (accepted & is_flat)
  value = jnp.where(accepted, trial.energy, state.energy)
  return State(
    points=jnp.where(accepted, trial.points, point),
    energy=value,
    gradient=jnp.where(accepted, new_gradient, gradient),
    steps=jnp.where(accepted, steps, state.steps),
    changes=jnp.where(accepted, changes, state.changes),
    count=jnp.where(accepted & ~is_still, count, 0),
    previous=jnp.where(
      accepted, jnp.where(grows, 2 * trial.length, 1.0), 1 / (norm + birkhoff.LEAST)
    ),
    energies=state.energies.at[iteration].set(value),
    iteration=iteration,
    goes_on=~converged & (iteration < config.iterations),
    converged=converged,
  )


def _search(point, direction, slope, length, energy, problem, config):
  """Halves the step until the energy falls enough; returns the last trial."""

  def evaluate(length, halvings):
    points = birkhoff.retract(
      point,
      length * direction,
      sweeps=config.sweeps,
      tolerance=config.sinkhorn_tolerance,
    )
    value, gradient = energy_and_gradient(points, problem)
    is_lower = value <= energy + config.armijo * length * slope
    is_feasible = jnp.max(birkhoff.infeasibility(points)) <= config.infeasible
    accepted = is_lower & is_feasible & (value < energy)
    return _Trial(length, halvings, points, value, gradient, accepted)

  # The trial that is accepted is the one that was judged, bit for bit.
  never = _Trial(
    2 * length,
    jnp.full((), -1, jnp.int32),
    point,
    jnp.full_like(energy, jnp.inf),
    jnp.zeros_like(point),
    jnp.zeros((), bool),
  )
  return jax.lax.while_loop(
    lambda trial: ~trial.is_accepted & (trial.halvings < config.halvings),
    lambda trial: evaluate(0.5 * trial.length, trial.halvings + 1),
    never,
  )


def _inverse_hessian(state):
  """Returns H grad by the two-loop recursion; all vectors are tangent at the point."""
  memory = state.steps.shape[0]
  is_valid = jnp.arange(memory) >= memory - state.count
  inner = jax.vmap(_inner, (None, 0, 0))
  curvatures = inner(state.points, state.steps, state.changes)
  # Transport is no isometry: a pair may have lost its positive curvature.
  is_valid &= curvatures > 0
  inverses = jnp.where(is_valid, 1 / jnp.where(is_valid, curvatures, 1.0), 0.0)

  def backward(vector, pair):
    step, change, inverse = pair
    alpha = inverse * _inner(state.points, step, vector)
    return vector - alpha * change, alpha

  pairs = state.steps, state.changes, inverses
  vector, alphas = jax.lax.scan(backward, state.gradient, pairs, reverse=True)
  squares = inner(state.points, state.changes, state.changes)
  latest = jnp.max(jnp.where(is_valid, jnp.arange(memory), -1))
  scale = jnp.where(latest >= 0, curvatures[latest] / squares[latest], 1.0)

  def forward(vector, pair):
    step, change, inverse, alpha = pair
    beta = inverse * _inner(state.points, change, vector)
    return vector + (alpha - beta) * step, None

  return jax.lax.scan(forward, scale * vector, (*pairs, alphas))[0]


def _push(history, latest):
  return jnp.concatenate([history[1:], latest[None]])


def _inner(point, one, other):
  return jnp.sum(birkhoff.inner(point, one, other))


def _norm(point, vector):
  return jnp.sqrt(_inner(point, vector, vector))
