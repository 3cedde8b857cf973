"""All methods on the same problems, and what the claims need to know of them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import birkhoff, sinkhorn
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
  solution, ours = solve(some, num_nodes, config)
  keys = jax.random.split(jax.random.key(seed), len(truth))
  samples = draw(keys, solution.points, some, sampling.beta, sampling)
  corners = metrics.triangles(np.asarray(some.edges[0]))
  maps = baselines(some, num_nodes, budget)
  maps["ours"] = ours
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
@functools.partial(jax.vmap, in_axes=(0, 0, None, None, None))
def minimize(
  points: chex.Array,
  problem: Problem,
  config: solver.SolverConfig,
  memory: chex.Array,
  grows: chex.Array,
) -> solver.Minimum:
  """Returns `solver.minimize` of batched problems; one compilation for all claims."""
  return solver.minimize(points, problem, config, memory, grows)


@jax.jit
@jax.vmap
def rounded_maps(points: chex.Array, edges: chex.Array) -> chex.Array:
  """Returns X_i X_jᵀ [B, M, n, n] of the permutations nearest to soft points."""
  return relative(metrics.round_maps(points), edges)


def solve(
  problem: Problem, num_nodes: int, config: solver.SolverConfig
) -> tuple[solver.Minimum, chex.Array]:
  """Returns our minimum and maps [B, M, n, n], started from MatchEIG."""
  start = birkhoff.soften(starts(problem, num_nodes), config.mixture)
  found = minimize(start, problem, config, config.memory, True)
  return found, rounded_maps(found.points, problem.edges)


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
  values, vectors = spectral.eigenvectors(problem, num_nodes)
  scaled = vectors * jnp.sqrt(jnp.maximum(values, 0.0))
  ends = scaled[problem.edges]
  soft = {
    "spectral": vectors @ vectors[0].T,
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
  ends = np.cumsum([len(one) for one in soft.values()])[:-1]
  rounded = metrics.round_maps(jnp.concatenate(list(soft.values())))
  maps = dict(zip(soft, jnp.split(rounded, ends), strict=True))
  return maps | {"spectral": relative(maps["spectral"], problem.edges)}


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
  name = f"swaps {rate:g}, N = {num_nodes}, n = {size}"
  make = functools.partial(data.swap_problem, rate=rate)
  return _one_a_seed(name, make, seeds, num_nodes, size)


def view_set(seeds: tuple[int, ...], num_nodes: int, size: int) -> ProblemSet:
  """Returns one problem of points seen by cameras a seed, on complete graphs."""
  name = f"views, N = {num_nodes}, n = {size}"
  return _one_a_seed(name, data.view_problem, seeds, num_nodes, size)


def _one_a_seed(name, make, seeds, num_nodes, size):
  edges = data.complete_graph(num_nodes)
  made = [
    make(np.random.default_rng(seed), edges, num_nodes=num_nodes, size=size)
    for seed in seeds
  ]
  return stack(name, [one for one, _ in made], [truth for _, truth in made])


def stack(
  name: str,
  problems: Sequence[Problem],
  truths: Sequence[np.ndarray],
  pictures: dict[str, chex.Array] | None = None,
) -> ProblemSet:
  """Returns the set of problems of one size and their true permutations [N, n, n]."""
  edges, matches = (np.stack(arrays) for arrays in zip(*problems, strict=True))
  maps = [
    truth[mine[:, 0]] @ truth[mine[:, 1]].swapaxes(1, 2)
    for truth, mine in zip(truths, edges, strict=True)
  ]
  problems = Problem(edges, matches)
  return ProblemSet(name, problems, np.stack(maps), len(truths[0]), pictures)


def random_points(seed: int, count: int, num_nodes: int, size: int) -> chex.Array:
  """Returns [count, N, n, n] random doubly stochastic matrices."""
  entries = np.random.default_rng(seed).normal(size=(count, num_nodes, size, size))
  return _balance(np.abs(entries).astype(np.float32) + 1e-6)


_balance = jax.jit(sinkhorn.balance)


def iterations_to(energies: np.ndarray, target: float) -> int:
  """Returns the first iteration at which U is at most the target; else their number."""
  reached = np.asarray(energies) <= target
  return int(np.argmax(reached)) if np.any(reached) else len(energies)


@jax.jit
@jax.vmap
def candidate_recall(
  scores: chex.Array, certainty: chex.Array, maps: chex.Array, truth: chex.Array
) -> dict[str, chex.Array]:
  """Returns the recall [B] of the MAP estimate, of top-K and of Rand-K for K = 2, 3.

  Args:
    scores: [B, M, n, n] random, by which Rand-K chooses.
    certainty: [B, M, n, n].
    maps: [B, M, n, n] ours.
    truth: [B, M, n, n].
  """
  found = {"MAP": metrics.recall(maps, truth)}
  for k in (2, 3):
    top = uncertainty.top_k(certainty, maps, k)
    found[f"top-{k}"] = metrics.choice_recall(top, truth)
    random = uncertainty.top_k(scores, maps, k)
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
