"""The paper's measurements, made again: errors over outliers and noise, and times."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import kinematics, rigid
from jaxvision.papers.filterreg import (
  articulated,
  baselines,
  correspondences,
  data,
  registration,
)
from jaxvision.papers.filterreg.correspondences import Mixture
from jaxvision.papers.filterreg.registration import Settings

FILTERREG, NORMALISED = "FilterReg", "FilterReg, reading (b) of c"
PROBREG = "FilterReg, as probreg"
TRIMMED, TRUE_TRIM = "TrICP, 90 %", "TrICP, true share"
DRIFT = "CPD"
# The exact kernel's sums are larger than the lattice's.
EXACT = Mixture(kernel="exact", outlier_constant=0.2 / 0.46)


@functools.cache  # the same functions again, so that they are compiled only once
def methods(
  settings: Settings, outliers: float, max_iterations: int
) -> dict[str, Callable[[chex.Array, chex.Array], registration.Registration]]:
  """Returns {name: (model, observation) -> Registration} of what is compared.

  Args:
    settings: of FilterReg.
    outliers: their true ratio, for trimming by it.
    max_iterations: bound of the baselines, FilterReg's own.
  """
  ratio = Mixture(outliers="normalised", outlier_ratio=0.2)
  normalised = dataclasses.replace(settings, mixture=ratio)
  probreg = dataclasses.replace(
    registration.PROBREG,
    mixture=dataclasses.replace(registration.PROBREG.mixture, outlier_ratio=0.2),
  )
  icp = functools.partial(baselines.icp, max_iterations=max_iterations)
  return {
    FILTERREG: functools.partial(registration.solve, settings=settings),
    NORMALISED: functools.partial(registration.solve, settings=normalised),
    PROBREG: functools.partial(registration.solve, settings=probreg),
    TRIMMED: functools.partial(icp, overlap=0.9),
    TRUE_TRIM: functools.partial(icp, overlap=1 / (1 + outliers)),
    DRIFT: functools.partial(
      baselines.coherent_point_drift,
      outlier_ratio=max(0.1, outliers / (1 + outliers)),
      max_iterations=max_iterations,
    ),
  }


def measure(
  method: Callable[[chex.Array, chex.Array], registration.Registration],
  trials: data.Trial,
) -> dict[str, np.ndarray]:
  """Returns a method's pose error (Eq. 22), in mm, and iterations for each trial."""
  found = _over_trials(method)(trials.model, trials.observation)
  errors = pose_errors(found.transform, trials.truth, trials.surface)
  return {
    "errors": 1e3 * np.asarray(errors),
    "iterations": np.asarray(found.iterations),
    "transforms": np.asarray(found.transform),
  }


pose_errors = jax.jit(jax.vmap(registration.pose_error))


@functools.cache
def _over_trials(method):
  return jax.jit(jax.vmap(method))


def rigid_trials(
  seeds: Sequence[int],
  count: int,
  outliers: float,
  noise: float,
  surface: chex.Array | None = None,
) -> data.Trial:
  """Returns the trials of the seeds, stacked; arguments as of `data.rigid_trial`."""
  keys = jax.vmap(jax.random.key)(jnp.array(seeds))
  return _make_trials(keys, noise, surface, count, outliers)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _make_trials(keys, noise, surface, count, outliers):
  make = functools.partial(
    data.rigid_trial, count=count, outliers=outliers, noise=noise, surface=surface
  )
  return jax.vmap(make)(keys)


def sweep(
  seeds: Sequence[int],
  count: int,
  levels: Sequence[tuple[float, float]],
  compared: Sequence[str],
  settings: Settings,
  surface: chex.Array | None = None,
) -> list[dict]:
  """Returns a row for each level and method: errors in mm and iterations.

  Args:
    seeds: of the trials.
    count: points of each cloud, before outliers.
    levels: (outlier ratio, noise in diameters).
    compared: names of `methods`.
    settings: of FilterReg.
    surface: [K, 3] instead of the built-in one.
  """
  rows = []
  for outliers, noise in levels:
    trials = rigid_trials(seeds, count, outliers, noise, surface)
    offered = methods(settings, outliers, settings.max_iterations)
    for name in compared:
      if not outliers and name in (TRUE_TRIM, NORMALISED, PROBREG):
        continue  # these are about outliers
      found = measure(offered[name], trials)
      rows.append(
        {
          "outliers": outliers,
          "noise": noise,
          "method": name,
          "mean_mm": float(np.mean(found["errors"])),
          "median_mm": float(np.median(found["errors"])),
          "worst_mm": float(np.max(found["errors"])),
          "iterations": float(np.mean(found["iterations"])),
          "errors": found["errors"],
          "transforms": found["transforms"],
        }
      )
  return rows


def seconds(call: Callable[[], object], repeats: int = 7) -> float:
  """Returns the median time of call(), after one call that does not count."""
  jax.block_until_ready(call())
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - start)
  return statistics.median(times)


def time_methods(
  trial: data.Trial, settings: Settings, fixed_sigma: float
) -> list[dict]:
  """Returns rows as of the paper's Table 1: time, iterations and error on one trial."""
  offered = methods(settings, 0.0, settings.max_iterations)
  fixed = dataclasses.replace(settings, sigma=fixed_sigma, update_sigma=False)
  compared = {
    "FilterReg, fixed σ": functools.partial(registration.solve, settings=fixed),
    "FilterReg, updated σ": offered[FILTERREG],
    DRIFT: offered[DRIFT],
    TRIMMED: offered[TRIMMED],
  }
  rows = []
  for name, method in compared.items():
    found = method(trial.model, trial.observation)
    repeats = 1 if name == DRIFT else 5
    total = seconds(functools.partial(method, trial.model, trial.observation), repeats)
    error = registration.pose_error(found.transform, trial.truth, trial.surface)
    iterations = int(found.iterations)
    rows.append(
      {
        "method": name,
        "ms an iteration": 1e3 * total / iterations,
        "iterations": iterations,
        "total ms": 1e3 * total,
        "error, mm": 1e3 * float(error),
      }
    )
  return rows


def compare_expectations(trial: data.Trial, sigma: float) -> dict[str, float]:
  """Returns how the lattice's E-step compares with the exact one, at one σ.

  Returns:
    "lattice_ms", "build_ms" and "exact_ms": times of querying the lattice, of building
    it, of the exact sum. "scale": lattice over exact m0; "mass_error": root mean square
    of their difference after that scale, relative; "target_error": root mean square
    difference of targets in σ.
  """

  @jax.jit
  def posed(trial):
    clouds = registration.center_clouds(trial.model, trial.observation)
    moved = rigid.apply(registration.shift(trial.truth, clouds.center), clouds.model)
    values = correspondences.observed_values(clouds.observation, None, Mixture())
    return moved / sigma, clouds.observation / sigma, values

  queries, features, values = posed(trial)

  @functools.partial(jax.jit, static_argnums=2)
  def prepare(features, values, mixture):
    return correspondences.prepare(features, values, mixture)

  @functools.partial(jax.jit, static_argnums=2)
  def sums(prepared, queries, mixture):
    return correspondences.sums(prepared, queries, mixture)

  lattice = prepare(features, values, Mixture())
  pair = features, values
  found = np.asarray(sums(lattice, queries, Mixture()))
  exact = np.asarray(sums(pair, queries, EXACT))
  is_near = exact[:, 0] > 1
  ours, theirs = found[is_near], exact[is_near]
  scale = float(np.sum(ours[:, 0] * theirs[:, 0]) / np.sum(theirs[:, 0] ** 2))
  ratio = ours[:, 0] / (scale * theirs[:, 0])
  one, other = (s[:, 1:4] / s[:, :1] for s in (ours, theirs))
  distance = np.linalg.norm(one - other, axis=1) / sigma
  return {
    "sigma": sigma,
    "lattice_ms": 1e3 * seconds(lambda: sums(lattice, queries, Mixture())),
    "build_ms": 1e3 * seconds(lambda: prepare(features, values, Mixture())),
    "exact_ms": 1e3 * seconds(lambda: sums(pair, queries, EXACT)),
    "scale": scale,
    "mass_error": float(np.sqrt(np.mean((ratio - 1) ** 2))),
    "target_error": float(np.sqrt(np.mean(distance**2))),
  }


def compare_kernels(trials: data.Trial, settings: Settings) -> dict[str, float]:
  """Returns by how much, in mm, the exact kernel's final poses differ: mean, worst."""
  ours = methods(settings, 0.0, settings.max_iterations)[FILTERREG]
  exact = dataclasses.replace(settings, mixture=EXACT)
  theirs = methods(exact, 0.0, settings.max_iterations)[FILTERREG]
  one, other = (
    jnp.asarray(measure(method, trials)["transforms"]) for method in (ours, theirs)
  )
  apart = 1e3 * pose_errors(one, other, trials.surface)
  return {"mean": float(jnp.mean(apart)), "worst": float(jnp.max(apart))}


def compare_assemblies(
  key: chex.PRNGKey, joints: int, points_per_link: int
) -> dict[str, float]:
  """Returns how twist assembly compares with the direct one for one posture.

  Returns:
    "twist_ms", "direct_ms", and "difference": the largest of A, relative to its largest
    element.
  """

  @jax.jit
  def posed(key):
    keys = jax.random.split(key, 4)
    model = data.arm(keys[0], joints=joints, points_per_link=points_per_link)
    positions = jax.random.uniform(keys[1], (joints,), minval=-0.5, maxval=0.5)
    placed = kinematics.forward(model.tree, positions)
    points = articulated.place(model, placed)
    targets = points + 0.01 * jax.random.normal(keys[2], points.shape)
    weights = jax.random.uniform(keys[3], points.shape[:1])
    jacobians = kinematics.spatial_jacobians(model.tree, placed)
    return points, targets, weights, model.bodies, jacobians

  arguments = posed(key)
  twist = jax.jit(articulated.assemble)
  direct = jax.jit(articulated.assemble_directly)
  one, other = twist(*arguments)[0], direct(*arguments)[0]
  return {
    "joints": joints,
    "points": arguments[0].shape[0],
    "twist_ms": 1e3 * seconds(lambda: twist(*arguments), 20),
    "direct_ms": 1e3 * seconds(lambda: direct(*arguments), 20),
    "difference": float(jnp.max(jnp.abs(one - other)) / jnp.max(jnp.abs(other))),
  }
