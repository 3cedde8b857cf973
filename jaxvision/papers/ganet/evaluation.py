"""Errors of disparities, all over and where they are hard."""

import functools
from collections.abc import Callable, Mapping

import numpy as np

from jaxvision.ops import aggregation, cost_volume, stereo_metrics
from jaxvision.papers.ganet import training_free
from jaxvision.papers.ganet.stereo_data import normalize
from jaxvision.train import jit_once

STRATA = ("textureless", "edge", "occluded", "visible")
# Of classical SGM, for costs in [0, 1]: the costs' truncation and share of gradients,
# milder than for photographs as the scenes have more noise, and the penalties.
TRUNCATION, GRADIENT_SHARE = (0.12, 0.04), 0.6
SMALL_PENALTY, LARGE_PENALTY = 0.05, 0.6


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
  strata = {name: pairs[name] for name in STRATA if name in pairs}
  row = _compiled_errors()(disparity, pairs["disparity"], max_disp, strata)
  return {name: mean_of_known(values) for name, values in row.items()}


def mean_of_known(values) -> float:
  """Returns the mean of what is not NaN; NaN where there is nothing."""
  values = np.asarray(values)
  known = values[~np.isnan(values)]
  return float(known.mean()) if known.size else float("nan")


@functools.cache
def _compiled_errors():
  return jit_once(_errors)


def _errors(disparity, truth, max_disp, strata):
  """Returns the errors of every image by name, [N] each, NaN for strata it lacks."""
  valid = stereo_metrics.valid_disparities(truth, max_disp)
  row = {
    "EPE": stereo_metrics.end_point_error(disparity, truth, valid),
    "> 1 px": stereo_metrics.bad_rate(disparity, truth, valid, 1.0),
    "> 3 px": stereo_metrics.bad_rate(disparity, truth, valid, 3.0),
    "D1": stereo_metrics.d1_rate(disparity, truth, valid),
  }
  for name, mask in strata.items():
    row[f"EPE {name}"] = stereo_metrics.end_point_error(disparity, truth, valid & mask)
  if "visible" in strata:
    row["D1 visible"] = stereo_metrics.d1_rate(
      disparity, truth, valid & strata["visible"]
    )
  return row


def classical(pairs: Mapping[str, np.ndarray], max_disp: int) -> np.ndarray:
  """Returns integer disparities [N, H, W] of classical semi-global matching."""
  return np.asarray(_compiled_matching(max_disp)(pairs["left"], pairs["right"]))


@functools.cache
def _compiled_matching(max_disp):
  def match(left, right):
    scores = training_free.matching_scores(
      left,
      right,
      max_disp + 1,
      truncation=TRUNCATION,
      gradient_share=GRADIENT_SHARE,
    )
    cost = aggregation.classical_semi_global_matching(
      1 - scores, SMALL_PENALTY, LARGE_PENALTY
    )
    return cost_volume.winner_takes_all(cost)

  return jit_once(match)


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
