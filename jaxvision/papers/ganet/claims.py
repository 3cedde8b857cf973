"""The paper's comparisons, made again ("Claims to reproduce at small scale")."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from jaxvision.ops.aggregation import normalize_weights, semi_global_aggregation
from jaxvision.train import jit_once

SGA, NO_SGA, LGA = "SGA", "no SGA", "SGA + LGA"

# Scene Flow: end-point error in pixels.
PAPER = {"GA-Net-11": 0.95, "GA-Net*-11": 1.54, "GA-Net-15": 0.84, "deep": 0.78}
_MACS_PER_VOXEL = 4 * 5


def claim_guided_layers(
  run, rows: Mapping[str, Sequence[Mapping]], seeds: Sequence[int]
) -> None:
  """Records claims 1 and 2.

  Args:
    run: where to.
    rows: errors of each system, one mapping a seed.
    seeds: of the trainings.
  """
  for number, ours, baseline, name, share, what, paper in (
    (1, SGA, NO_SGA, "EPE", 0.92, "SGA lowers the error by at least 8 %", "0.95, 1.54"),
    (1, SGA, NO_SGA, "EPE textureless", 0.9, "by at least 10 % without texture", ""),
    (2, LGA, SGA, "EPE edge", 0.95, "LGA lowers it by at least 5 % near edges", ""),
  ):
    if ours not in rows or baseline not in rows:
      continue
    means = [np.mean([row[name] for row in rows[key]]) for key in (ours, baseline)]
    run.claim(
      f"C{number}: {what}",
      ours=float(means[0]),
      baseline=share * float(means[1]),
      better="lower",
      seeds=seeds,
      paper=paper,
      note=f"{name}, pixels, equal updates; the baseline is {share} of {means[1]:.3f}",
    )


def claim_training_free(run, rows: Mapping[str, Mapping]) -> None:
  """Records claim 3, of `training_free.compare`."""
  run.claim(
    "C3: without learning, SGA has at least 10 % fewer wrong pixels than raw costs",
    ours=rows["SGA, maximum"]["all"],
    baseline=0.9 * rows["raw"]["all"],
    better="lower",
    note="share above 1 px of the motorcycle pair; the baseline is 0.9 of "
    f"{rows['raw']['all']:.3f}",
  )
  run.claim(
    "C3: the sum over directions beats a 5 x 5 x 3 box without texture",
    ours=rows["SGA, sum"]["textureless"],
    baseline=rows["box 5 x 5 x 3"]["textureless"],
    better="lower",
    note="share above 1 px where the motorcycle pair has no texture along its rows",
  )


def claim_fractions(
  run, system: str, errors: Sequence[tuple[float, float]], seeds: Sequence[int]
) -> None:
  """Records claim 4, of a system's and classical fractional errors with every seed."""
  ours, classical = np.mean(errors, axis=0)
  run.claim(
    "C4: fractional error at least 20 % below classical SGM's on slanted planes",
    ours=float(ours),
    baseline=0.8 * float(classical),
    better="lower",
    seeds=seeds,
    note=f"{system}, mean error where both are right to a pixel; the baseline is 0.8 "
    f"of {classical:.3f}",
  )


def properties() -> dict[str, tuple[float, float]]:
  """Returns (ours, bound) of what must hold for any weights (claim 5)."""
  rng = np.random.default_rng(0)
  cost = jnp.asarray(rng.standard_normal((1, 7, 9, 11, 3), np.float32))
  weights = jnp.asarray(rng.standard_normal((1, 9, 11, 4, 5, 3), np.float32))
  weights = normalize_weights(weights, axis=-2)
  aggregate = jit_once(semi_global_aggregation)
  aggregated = aggregate(cost, weights)
  scaled = aggregate(2.5 * cost, weights)
  fixed = aggregate(jnp.full_like(cost, 1.5), jnp.abs(weights))
  return {
    "a constant volume stays, weights not negative": (
      float(jnp.max(jnp.abs(fixed - 1.5))),
      1e-5,
    ),
    "SGA(a X) = a SGA(X) for a > 0": (
      float(jnp.max(jnp.abs(scaled - 2.5 * aggregated))),
      1e-5,
    ),
    "|SGA| is at most max |X|": (
      float(jnp.max(jnp.abs(aggregated)) - jnp.max(jnp.abs(cost))),
      1e-5,
    ),
    "operations a voxel below 1/40 of a 3 x 3 x 3 convolution of 32 channels": (
      _MACS_PER_VOXEL,
      27 * 32 / 40,
    ),
    "and 1/100 of one of 75 channels": (_MACS_PER_VOXEL, 27 * 75 / 100),
  }


def claim_properties(run) -> None:
  """Records claim 5."""
  for name, (ours, bound) in properties().items():
    run.claim(f"C5: {name}", ours=ours, baseline=bound, better="lower")
