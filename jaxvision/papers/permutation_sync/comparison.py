"""All methods on the same problems, and what the claims need to know of them."""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import birkhoff
from jaxvision.papers.permutation_sync import (
  data,
  langevin,
  match_als,
  match_lift,
  metrics,
  solver,
  spectral,
  uncertainty,
)
from jaxvision.papers.permutation_sync.problem import Problem, relative

METHODS = ("input", "spectral", "MatchEIG", "MatchALS", "MatchLIFT", "ours")


class ProblemSet(NamedTuple):
  """Problems of one size, batched, with their answers.

  Attributes:
    name: of the set.
    problems: edges [B, M, 2] and matches [B, M, n, n].
    truth: [B, M, n, n] true relative permutations.
    num_nodes: N.
    pictures: images [B, N, H, W] and points [B, N, n, 2], where there are some.
  """

  name: str
  problems: Problem
  truth: chex.Array
  num_nodes: int
  pictures: dict[str, chex.Array] | None = None


@dataclasses.dataclass(frozen=True)
class Budget:
  """What the methods may spend.

  Attributes:
    als_iterations: of MatchALS.
    lift_iterations: of MatchLIFT.
    dense_rows: both are left out where N n is more: they form W, and MatchLIFT
      decomposes it in each iteration.
  """

  als_iterations: int = 200
  lift_iterations: int = 100
  dense_rows: int = 2000


DEFAULT = Budget()


def compare(
  problems: ProblemSet,
  config: solver.SolverConfig,
  sampling: langevin.SamplerConfig,
  budget: Budget,
  seed: int = 0,
) -> dict[str, np.ndarray]:
  """Returns what each method reaches, a leading axis of B problems each.

  Args:
    problems: of one size.
    config: of the solver.
    sampling: of the sampler.
    budget: of the baselines.
    seed: of the sampler.

  Returns:
    "recall/METHOD" and "consistency/METHOD" of each; of ours also "energy",
    "iterations", "converged", "infeasibility", "maps" and "certainty" [B, M, n, n].
  """
  some, truth, num_nodes, _ = problems[1:]
  solution = solve(some, num_nodes, config)
  keys = jax.random.split(jax.random.key(seed), len(truth))
  samples = draw(keys, solution.points, some, sampling.beta, sampling)
  corners = metrics.triangles(np.asarray(some.edges[0]))
  maps = baselines(some, num_nodes, budget)
  maps["ours"] = edge_maps(solution.permutations, some.edges)
  found = {
    name: getattr(solution, name)
    for name in ("energy", "iterations", "converged", "infeasibility")
  }
  found |= {"maps": maps["ours"], "certainty": samples.certainty}
  for method, one in maps.items():
    found[f"recall/{method}"], found[f"consistency/{method}"] = measure(
      one, truth, some.edges, corners
    )
  return {name: np.asarray(value) for name, value in found.items()}


@functools.partial(jax.jit, static_argnums=1)
@functools.partial(jax.vmap, in_axes=(0, None))
def starts(problem: Problem, num_nodes: int) -> chex.Array:
  """Returns MatchEIG's permutations of batched problems, [B, N, n, n]."""
  return spectral.absolute_maps(problem, num_nodes)


@functools.partial(jax.jit, static_argnums=2)
@functools.partial(jax.vmap, in_axes=(0, 0, None))
def solve_from(
  points: chex.Array, problem: Problem, config: solver.SolverConfig
) -> solver.Solution:
  """Returns the solutions of batched problems; one compilation for all claims."""
  return solver.solve_from(points, problem, config)


def solve(
  problem: Problem, num_nodes: int, config: solver.SolverConfig
) -> solver.Solution:
  """Returns the solutions of batched problems, started from MatchEIG."""
  start = birkhoff.soften(starts(problem, num_nodes), config.mixture)
  return solve_from(start, problem, config)


@functools.partial(jax.jit, static_argnums=4)
@functools.partial(jax.vmap, in_axes=(0, 0, 0, None, None))
def draw(
  key: chex.PRNGKey,
  points: chex.Array,
  problem: Problem,
  beta: chex.Array,
  config: langevin.SamplerConfig,
) -> langevin.Samples:
  """Returns a chain for each of batched problems; `beta` is used, not the config's."""
  config = dataclasses.replace(config, beta=beta)
  return langevin.sample(key, points, problem, config)


@functools.partial(jax.jit, static_argnums=(1, 2))
@functools.partial(jax.vmap, in_axes=(0, None, None))
def baselines(
  problem: Problem, num_nodes: int, budget: Budget
) -> dict[str, chex.Array]:
  """Returns the permutations [B, M, n, n] of every method but ours."""
  size = problem.matches.shape[-1]
  ends = spectral.scaled_eigenvectors(problem, num_nodes)[problem.edges]
  soft = {
    "input": problem.matches,
    "MatchEIG": jnp.einsum("mad,mbd->mab", ends[:, 0], ends[:, 1]),
  }
  if num_nodes * size <= budget.dense_rows:
    soft["MatchALS"] = match_als.match_als(
      problem, num_nodes, iterations=budget.als_iterations
    )
    soft["MatchLIFT"] = match_lift.match_lift(
      problem, num_nodes, iterations=budget.lift_iterations
    )
  # All are rounded by one call: one loop to compile.
  rounded = metrics.round_maps(jnp.stack(list(soft.values())))
  maps = dict(zip(soft, rounded, strict=True))
  absolute = spectral.spectral(problem, num_nodes)
  return maps | {"spectral": relative(absolute, problem.edges)}


@jax.jit
@jax.vmap
def edge_maps(permutations: chex.Array, edges: chex.Array) -> chex.Array:
  """Returns X_i X_jᵀ of batched problems, [B, M, n, n]."""
  return relative(permutations, edges)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, 0, None))
def measure(
  maps: chex.Array, truth: chex.Array, edges: chex.Array, corners: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Returns recall [B] and cycle consistency [B] of maps [B, M, n, n]."""
  consistency = metrics.cycle_consistency(maps, edges, corners)
  return metrics.recall(maps, truth), consistency


def swap_set(
  seeds: tuple[int, ...], num_nodes: int, size: int, rate: float
) -> ProblemSet:
  """Returns one problem of the swap model a seed, on complete graphs."""
  edges = data.complete_graph(num_nodes)

  def make(key):
    problem, truth = data.swap_problem(key, edges, num_nodes, size, rate)
    return problem, data.true_maps(truth, problem.edges)

  problems, truth = jax.jit(jax.vmap(make))(_keys(seeds))
  name = f"swaps {rate:g}, N = {num_nodes}, n = {size}"
  return ProblemSet(name, problems, truth, num_nodes)


def view_set(seeds: tuple[int, ...], num_nodes: int, size: int) -> ProblemSet:
  """Returns one problem of points seen by cameras a seed, on complete graphs."""
  edges = data.complete_graph(num_nodes)

  def make(key):
    problem, truth = data.view_problem(key, edges, num_nodes, size)
    return problem, data.true_maps(truth, problem.edges)

  problems, truth = jax.jit(jax.vmap(make))(_keys(seeds))
  return ProblemSet(f"views, N = {num_nodes}, n = {size}", problems, truth, num_nodes)


def _keys(seeds):
  return jax.vmap(jax.random.key)(jnp.array(seeds))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def random_points(
  key: chex.PRNGKey, count: int, num_nodes: int, size: int
) -> chex.Array:
  """Returns [count, N, n, n] random doubly stochastic matrices."""
  return birkhoff.random_point(key, (count, num_nodes, size, size))


def iterations_to(energies: np.ndarray, target: float) -> int:
  """Returns the first iteration at which U is at most the target; else their number."""
  reached = np.asarray(energies) <= target
  return int(np.argmax(reached)) if np.any(reached) else len(energies)


@jax.jit
@jax.vmap
def candidate_recall(
  key: chex.PRNGKey, certainty: chex.Array, maps: chex.Array, truth: chex.Array
) -> dict[str, chex.Array]:
  """Returns the recall [B] of the MAP estimate, of top-K and of Rand-K for K = 2, 3."""
  found = {"MAP": metrics.recall(maps, truth)}
  for k, random_key in zip((2, 3), jax.random.split(key), strict=True):
    top = uncertainty.top_k(certainty, maps, k)
    found[f"top-{k}"] = metrics.choice_recall(top, truth)
    random = uncertainty.random_k(random_key, maps, k)
    found[f"Rand-{k}"] = metrics.choice_recall(random, truth)
  return found


def ranking(certainty: np.ndarray, is_right: np.ndarray) -> float:
  """Returns how often a right match is more certain than a wrong one (area under ROC).

  Ties count half; NaN where all are right or all wrong.
  """
  from scipy import stats

  certainty, is_right = np.ravel(certainty), np.ravel(is_right).astype(bool)
  right, wrong = int(is_right.sum()), int((~is_right).sum())
  if not right or not wrong:
    return float("nan")
  ranks = stats.rankdata(certainty)
  return float((ranks[is_right].sum() - right * (right + 1) / 2) / (right * wrong))
