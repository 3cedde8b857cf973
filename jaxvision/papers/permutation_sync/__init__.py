"""Probabilistic permutation synchronization on the Birkhoff polytope.

T. Birdal and U. Simsekli, Probabilistic Permutation Synchronization using the
Riemannian Structure of the Birkhoff Polytope, CVPR 2019.

Matches between pairs of images contradict each other around cycles. Absolute
permutations that explain them best are found on doubly stochastic matrices, by
Riemannian L-BFGS; Langevin samples around them say how certain each match is.

  problem = Problem(edges, matches)              # [M, 2], [M, n, n]
  solution = solve(problem, num_nodes=N)         # jits, vmaps over problems
  samples = sample(key, solution.points, problem)
  found = synchronize(problem)                   # any graph, all of it
"""

from jaxvision.papers.permutation_sync.langevin import SamplerConfig, Samples, sample
from jaxvision.papers.permutation_sync.problem import Problem, check
from jaxvision.papers.permutation_sync.solver import (
  Solution,
  SolverConfig,
  solve,
  solve_from,
)
from jaxvision.papers.permutation_sync.synchronization import (
  Synchronization,
  synchronize,
)

__all__ = [
  "Problem",
  "SamplerConfig",
  "Samples",
  "Solution",
  "SolverConfig",
  "Synchronization",
  "check",
  "sample",
  "solve",
  "solve_from",
  "synchronize",
]
