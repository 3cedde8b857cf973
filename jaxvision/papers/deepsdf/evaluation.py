"""The paper's measures of a reconstruction, in the mesh's own frame, on the host."""

from collections.abc import Mapping

import chex
import jax
import numpy as np

from jaxvision.ops import point_metrics
from jaxvision.papers.deepsdf import preprocessing

CHAMFER_POINTS = 30_000
EMD_POINTS = 500
ACCURACY_POINTS, COSINE_POINTS = 1000, 2500
COMPLETE_WITHIN = 0.01  # the supplement's threshold is not known: ours


def to_original(points: np.ndarray, *, offset: np.ndarray, scale: float) -> np.ndarray:
  """Returns normalised points [N, 3] in the mesh's own frame."""
  return preprocessing.Normalization(np.asarray(offset), float(scale)).invert(points)


def chamfer(predicted: np.ndarray, truth: np.ndarray) -> float:
  """Returns the sum of both mean squared distances to the nearest point.

  Args:
    predicted: [M, 3].
    truth: [N, 3].

  Returns:
    the distance (the paper shows it times 10³); infinite where either set is empty.

  Source: deep_sdf/metrics/chamfer.py.
  """
  chex.assert_shape([predicted, truth], (None, 3))
  if not len(predicted) or not len(truth):
    return float("inf")
  there, back = _distances(predicted, truth), _distances(truth, predicted)
  return float(np.mean(np.square(there)) + np.mean(np.square(back)))


def measure(
  predicted: tuple[np.ndarray, np.ndarray],
  truth: tuple[np.ndarray, np.ndarray],
  *,
  chamfer_points: int = CHAMFER_POINTS,
) -> dict[str, float]:
  """Returns all measures of the paper of a surface.

  Args:
    predicted: points [M, 3] in random order, and their unit normals.
    truth: the same of the true surface.
    chamfer_points: used of either for the Chamfer distance.

  Returns:
    "chamfer", "emd", "accuracy" (the distance within which 90 % of the predicted points
    are), "completion" (share of the truth within 0.01 of the prediction), "cosine" (of
    the normals of nearest points). Without a prediction: infinities and zeros.
  """
  points, normals = predicted
  true_points, true_normals = truth
  if not len(points):
    infinite = dict.fromkeys(("chamfer", "emd", "accuracy"), float("inf"))
    return infinite | {"completion": 0.0, "cosine": 0.0}
  some, some_true = points[:ACCURACY_POINTS], true_points[:ACCURACY_POINTS]
  few = min(EMD_POINTS, len(points), len(true_points))
  index = _tree(points).query(true_points[:COSINE_POINTS])[1]
  cosine = np.sum(normals[index] * true_normals[:COSINE_POINTS], axis=1)
  return {
    "chamfer": chamfer(points[:chamfer_points], true_points[:chamfer_points]),
    "emd": float(_emd(points[:few], true_points[:few])),
    "accuracy": float(np.quantile(_distances(some, true_points), 0.9)),
    "completion": float(np.mean(_distances(some_true, points) <= COMPLETE_WITHIN)),
    "cosine": float(np.mean(cosine)),
  }


def summary(rows: list[Mapping[str, float]]) -> dict[str, float]:
  """Returns means over shapes, and the median of the Chamfer distance, times 10³."""
  chamfers = [row["chamfer"] for row in rows]
  means = {
    name: float(np.mean([row[name] for row in rows]))
    for name in rows[0]
    if name != "chamfer"
  }
  return {
    "CD mean": 1e3 * float(np.mean(chamfers)),
    "CD median": 1e3 * float(np.median(chamfers)),
  } | means


def nearest_shape(truth: np.ndarray, candidates: list[np.ndarray]) -> float:
  """Returns the Chamfer distance to the nearest of other shapes' points."""
  return min(chamfer(candidate, truth) for candidate in candidates)


_emd = jax.jit(point_metrics.emd)


def _distances(queries, points):
  return _tree(points).query(queries)[0]


def _tree(points):
  from scipy import spatial  # half a second to import, and few need it

  return spatial.cKDTree(points)
