"""Errors of disparities, all over and where they are hard."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from jaxvision.ops import aggregation, cost_volume, stereo_metrics
from jaxvision.papers.ganet import training_free
from jaxvision.papers.ganet.stereo_data import normalize

SMALL_PENALTY, LARGE_PENALTY = 0.05, 0.6  # of classical SGM, for costs in [0, 1]


def predict_all(
  forward: Callable, pairs: Mapping[str, np.ndarray], batch: int
) -> np.ndarray:
  """Returns the disparities [N, H, W] of all pairs.

  Args:
    forward: (left, right), normalised -> disparity [batch, H, W].
    pairs: with left and right [N, H, W, 3] in [0, 1].
    batch: pairs at a time; the last ones are padded by repetition.
  """
  count = len(pairs["left"])
  found = []
  for start in range(0, count, batch):
    picked = np.minimum(np.arange(start, start + batch), count - 1)
    views = (normalize(pairs[name][picked]) for name in ("left", "right"))
    found.append(np.asarray(forward(*views)))
  return np.concatenate(found)[:count]


def measure(
  disparity: np.ndarray, pairs: Mapping[str, np.ndarray], max_disp: int
) -> dict[str, float]:
  """Returns the paper's errors and those of strata, means over images.

  An image counts for a stratum that it has.

  Args:
    disparity: [N, H, W] pixels.
    pairs: the truth, with masks as `data.stereo_scenes` gives them, if any.
    max_disp: the largest true disparity that counts.
  """
  disparity, truth = jnp.asarray(disparity), jnp.asarray(pairs["disparity"])
  valid = stereo_metrics.valid_disparities(truth, max_disp)
  row = {
    "EPE": stereo_metrics.end_point_error(disparity, truth, valid),
    "> 1 px": stereo_metrics.bad_rate(disparity, truth, valid, 1.0),
    "> 3 px": stereo_metrics.bad_rate(disparity, truth, valid, 3.0),
    "D1": stereo_metrics.d1_rate(disparity, truth, valid),
  }
  for name in ("textureless", "edge", "occluded", "visible"):
    if name in pairs:
      mask = valid & jnp.asarray(pairs[name])
      row[f"EPE {name}"] = stereo_metrics.end_point_error(disparity, truth, mask)
  if "visible" in pairs:
    mask = valid & jnp.asarray(pairs["visible"])
    row["D1 visible"] = stereo_metrics.d1_rate(disparity, truth, mask)
  return {name: float(np.nanmean(value)) for name, value in row.items()}


def classical(pairs: Mapping[str, np.ndarray], max_disp: int) -> np.ndarray:
  """Returns integer disparities [N, H, W] of classical semi-global matching."""
  left, right = (jnp.asarray(pairs[name]) for name in ("left", "right"))
  cost = 1 - training_free.matching_scores(left, right, max_disp + 1)
  cost = aggregation.classical_semi_global_matching(cost, SMALL_PENALTY, LARGE_PENALTY)
  return np.asarray(cost_volume.winner_takes_all(cost))


def fractional_errors(
  ours: np.ndarray, theirs: np.ndarray, pairs: Mapping[str, np.ndarray]
) -> tuple[float, float]:
  """Returns the mean errors of two results where both are right to a pixel.

  Only pixels on planes count: seen in both views and away from borders.
  """
  errors = [np.abs(result - pairs["disparity"]) for result in (ours, theirs)]
  mask = (errors[0] < 1) & (errors[1] < 1) & ~pairs["occluded"] & ~pairs["edge"]
  if not mask.any():
    return float("nan"), float("nan")
  return tuple(float(error[mask].mean()) for error in errors)
