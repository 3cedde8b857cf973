"""What synchronization takes: the whole MAP estimate, and its growth with edges."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from jaxvision.ops import assignment
from jaxvision.papers.permutation_sync import data, langevin, solver, spectral
from jaxvision.papers.permutation_sync.problem import Problem

VIEWS, POINTS, DENSITY, RATE = 100, 50, 0.3, 0.15
DENSITIES = (0.1, 0.3, 0.9)


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns the rows of the benchmark; `seconds(call)` is its timer.

  The exponent is the slope of log time over log edges of an iteration: at most 1 where
  its cost is linear, and below as long as the images' own share still counts.
  """
  found, times, counts = [], [], []
  for density in DENSITIES:
    problem = _problem(density)
    state = _advance(_begin(_start(problem, VIEWS), problem), problem)
    times.append(seconds(functools.partial(_advance, state, problem)))
    counts.append(len(problem.edges))
    found.append(
      {
        "name": f"iteration, {VIEWS} views, {POINTS} points, {counts[-1]} edges",
        "milliseconds": 1e3 * times[-1],
        "edges": counts[-1],
      }
    )
  slope = np.polyfit(np.log(counts), np.log(times), 1)[0]
  found[-1]["exponent in edges"] = float(slope)

  problem = _problem(DENSITY)
  found.append(
    {
      "name": f"MAP estimate, {VIEWS} views, {POINTS} points",
      "milliseconds": 1e3 * seconds(functools.partial(solve, problem)),
      "edges": len(problem.edges),
      "iterations": int(solve(problem).iterations),
    }
  )
  start = _start(problem, VIEWS)
  found.append(
    {
      "name": f"MatchEIG's start, {VIEWS} views, {POINTS} points",
      "milliseconds": 1e3 * seconds(functools.partial(_start, problem, VIEWS)),
    }
  )
  sampling = langevin.SamplerConfig(samples=10)
  draw = functools.partial(_draw, jax.random.key(0), start, problem, sampling)
  found.append(
    {"name": "Langevin sample, the same", "milliseconds": 100 * seconds(draw)}
  )
  costs = np.random.default_rng(0).random((100, POINTS, POINTS), np.float32)
  found.append(
    {
      "name": f"assignment of 100 random {POINTS} × {POINTS} costs",
      "milliseconds": 1e3 * seconds(functools.partial(_assign, costs)),
    }
  )
  return found


def _problem(density: float) -> Problem:
  rng = np.random.default_rng(0)
  edges = data.random_graph(VIEWS, density, seed=0)
  return jax.device_put(data.swap_problem(rng, edges, VIEWS, POINTS, RATE)[0])


@jax.jit
def solve(problem: Problem) -> solver.Solution:
  """Returns the MAP estimate from the matches alone."""
  return solver.solve(problem, VIEWS)


@functools.partial(jax.jit, static_argnums=1)
def _start(problem, num_nodes):
  maps = spectral.absolute_maps(problem, num_nodes)
  return 0.5 * maps + 0.5 / maps.shape[-1]


@jax.jit
def _begin(points, problem):
  return solver.initial_state(points, problem, solver.DEFAULT)


@jax.jit
def _advance(state, problem):
  return solver.iterate(state, problem, solver.DEFAULT, solver.DEFAULT.memory, True)


@functools.partial(jax.jit, static_argnums=3)
def _draw(key, points, problem, config):
  return langevin.sample(key, points, problem, config).certainty


_assign = jax.jit(assignment.assign)
