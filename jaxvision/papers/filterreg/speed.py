"""How fast registration is: rows for experiments.benchmark."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.papers.filterreg import data, registration
from jaxvision.papers.filterreg.registration import Settings

_SIZES = (1000, 10_000, 100_000)


def rows(seconds: Callable[[Callable[[], object]], float]) -> list[dict]:
  """Returns times of whole registrations, and of one iteration at three sizes.

  Args:
    seconds: times a call.
  """
  found = []
  for name, count in (("3,351 points", 3351), ("10,000 points", 10_000)):
    trial = _trial(count)
    for what, settings in (
      ("updated σ", Settings()),
      ("fixed σ", Settings(sigma=0.02, update_sigma=False)),
    ):
      solve = functools.partial(
        registration.solve, trial.model, trial.observation, settings
      )
      iterations = int(solve().iterations)
      found.append(
        {
          "name": f"filterreg/{name} to convergence, {what}",
          "milliseconds": 1e3 * seconds(solve),
          "iterations": iterations,
        }
      )
  times = []
  for count in _SIZES:
    times.append(iteration_seconds(count, seconds))
    found.append(
      {
        "name": f"filterreg/iteration, {count:,} points",
        "milliseconds": 1e3 * times[-1],
      }
    )
  exponent = math.log(times[-1] / times[0]) / math.log(_SIZES[-1] / _SIZES[0])
  found[-1]["exponent_of_points"] = exponent
  return found


def iteration_seconds(
  count: int, seconds: Callable[[Callable[[], object]], float]
) -> float:
  """Returns the time of one EM iteration, σ updated, of `count` against `count`."""
  trial = _trial(count)
  times = []
  for iterations in (2, 10):
    # A negative tolerance never stops.
    settings = Settings(max_iterations=iterations, tolerance=-1.0)
    solve = functools.partial(
      registration.solve, trial.model, trial.observation, settings
    )
    times.append(seconds(solve))
  return (times[1] - times[0]) / 8


def _trial(count: int) -> data.Trial:
  surface, _ = jax.jit(data.sample_surface, static_argnums=1)(jax.random.key(0), count)
  return jax.jit(functools.partial(data.rigid_trial, surface=jnp.asarray(surface)))(
    jax.random.key(2)  # one that ends at the truth, in as many steps as the bunny
  )
