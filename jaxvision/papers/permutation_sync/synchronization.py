"""The whole way for one problem of any graph: solve, sample, tell what is certain."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.permutation_sync import langevin, metrics, solver, uncertainty
from jaxvision.papers.permutation_sync.problem import Problem, components, relative


class Synchronization(NamedTuple):
  """What is known of N images after synchronization, numpy arrays.

  Attributes:
    permutations: [N, n, n] absolute maps; the first image of each component has the
      identity. Maps between images of different components mean nothing.
    components: [N] connected component of each image, 0, 1, ...
    maps: [M, n, n] relative permutations of the edges, cycle-consistent.
    certainty: [M, n, n] in [0, 1], rows of sum 1.
    candidates: [M, n, K] columns: each point's match, then the next most certain.
    energy: U at the MAP estimate, over all components.
    converged: whether every component's iterations came to an end by themselves.
    infeasibility: largest distance of a sum of rows or columns from 1.
  """

  permutations: np.ndarray
  components: np.ndarray
  maps: np.ndarray
  certainty: np.ndarray
  candidates: np.ndarray
  energy: float
  converged: bool
  infeasibility: float


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _synchronize(key, problem, num_nodes, config, sampling, k):
  solution = solver.solve(problem, num_nodes, config)
  maps = relative(solution.permutations, problem.edges)
  samples = langevin.sample(key, solution.points, problem, sampling)
  candidates = uncertainty.top_k(samples.certainty, maps, k)
  return solution, maps, samples.certainty, candidates


def synchronize(
  problem: Problem,
  config: solver.SolverConfig = solver.DEFAULT,
  sampling: langevin.SamplerConfig = langevin.DEFAULT,
  *,
  k: int = 3,
  seed: int = 0,
) -> Synchronization:
  """Returns absolute permutations, certainty and candidates of a checked problem.

  Each connected component of the graph is a problem of its own. Images that no edge
  touches keep the identity.

  Args:
    problem: edges [M, 2] and matches [M, n, n], see `problem.check`.
    config: of the solver.
    sampling: of the sampler.
    k: candidates a point, at most n.
    seed: of the sampler.
  """
  edges, matches = np.asarray(problem.edges), np.asarray(problem.matches)
  num_nodes, size = int(edges.max()) + 1, matches.shape[-1]
  k = min(k, size)
  labels = np.asarray(components(jnp.asarray(edges), num_nodes)[0])
  permutations = np.tile(np.eye(size, dtype=np.float32), (num_nodes, 1, 1))
  maps, certainty = np.zeros_like(matches), np.zeros_like(matches)
  candidates = np.zeros((*matches.shape[:2], k), np.int32)
  energy, converged, infeasibility = 0.0, True, 0.0
  for label in np.unique(labels[edges]):
    nodes = np.flatnonzero(labels == label)
    mine = labels[edges[:, 0]] == label
    part = Problem(np.searchsorted(nodes, edges[mine]).astype(np.int32), matches[mine])
    key = jax.random.fold_in(jax.random.key(seed), int(label))
    solution, *found = _synchronize(key, part, len(nodes), config, sampling, k)
    permutations[nodes] = metrics.fix_gauge(solution.permutations)
    maps[mine], certainty[mine], candidates[mine] = found
    energy += float(solution.energy)
    converged &= bool(solution.converged)
    infeasibility = max(infeasibility, float(solution.infeasibility))
  return Synchronization(
    permutations, labels, maps, certainty, candidates, energy, converged, infeasibility
  )
