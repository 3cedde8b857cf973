"""How well points and counts agree with the truth, over a set of images."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scores:
  """Measures of a set of images.

  Attributes:
    precision, recall, f_score: in percent, of points within the radius.
    ahd: mean average Hausdorff distance, pixels.
    mean_error, mae, rmse, mse: of counts; errors are estimates less the truth.
    mean_percentage_error, mape: of counts, in percent of the truth; where nothing is
      there, 100 for each object too many.
    correlation: Pearson's, of counts; NaN where one of both never changes.
    determination: R² of counts, NaN where the truth never changes.
  """

  precision: float
  recall: float
  f_score: float
  ahd: float
  mean_error: float
  mae: float
  mean_percentage_error: float
  mape: float
  mse: float
  rmse: float
  correlation: float
  determination: float


class Judge:
  """Collects what is measured image by image.

  Args:
    radius: pixels within which a point is found.
    skip_empty_truth: whether images without objects have no distance.
  """

  def __init__(self, radius: float, *, skip_empty_truth: bool = False):
    self.radius = radius
    self._skip_empty_truth = skip_empty_truth
    self._found, self._wrong, self._missed = 0, 0, 0
    self._distances: list[float] = []
    self._counts: list[tuple[float, float]] = []

  def add_points(
    self, points: np.ndarray, truth: np.ndarray, *, empty: float = float("inf")
  ) -> None:
    """Adds the points [M, 2] and [N, 2] of an image.

    Args:
      points: estimates.
      truth: the true ones.
      empty: the average Hausdorff distance where one set is empty.
    """
    distances = _distances(points, truth)
    near = distances <= self.radius
    found = int(np.sum(near.any(axis=1)))
    self._found += found
    self._wrong += len(points) - found
    self._missed += int(np.sum(~near.any(axis=0)))
    if len(truth) or not self._skip_empty_truth:
      self._distances.append(averaged_hausdorff(points, truth, empty=empty))

  def add_count(self, count: float, truth: float) -> None:
    self._counts.append((float(count), float(truth)))

  def scores(self) -> Scores:
    """Returns the measures of all that was added; NaN of what never was."""
    precision = recall = f_score = 0.0
    if self._found:
      precision = 100 * self._found / (self._found + self._wrong)
      recall = 100 * self._found / (self._found + self._missed)
      f_score = 2 * precision * recall / (precision + recall)
    counts = np.array(self._counts or [(np.nan, np.nan)])
    errors = counts[:, 0] - counts[:, 1]
    shares = 100 * errors / np.where(counts[:, 1] == 0, 1.0, counts[:, 1])
    mse = float(np.mean(np.square(errors)))
    spread = np.std(counts, axis=0)
    correlation = determination = float("nan")
    if np.all(spread > 0):
      correlation = float(np.corrcoef(counts.T)[0, 1])
    if spread[1] > 0:
      determination = float(1 - mse / spread[1] ** 2)
    return Scores(
      precision=precision,
      recall=recall,
      f_score=f_score,
      ahd=float(np.mean(self._distances)) if self._distances else float("nan"),
      mean_error=float(np.mean(errors)),
      mae=float(np.mean(np.abs(errors))),
      mean_percentage_error=float(np.mean(shares)),
      mape=float(np.mean(np.abs(shares))),
      mse=mse,
      rmse=float(np.sqrt(mse)),
      correlation=correlation,
      determination=determination,
    )


def averaged_hausdorff(
  points: np.ndarray, truth: np.ndarray, *, empty: float = float("inf")
) -> float:
  """Returns the average Hausdorff distance of two sets [M, 2] and [N, 2]."""
  if not len(points) or not len(truth):
    return empty
  distances = _distances(points, truth)
  return float(distances.min(axis=1).mean() + distances.min(axis=0).mean())


def mean_scores(scores: Sequence[Scores]) -> Scores:
  """Returns the mean of each measure, over seeds."""
  fields = [field.name for field in dataclasses.fields(Scores)]
  return Scores(
    **{name: float(np.mean([getattr(one, name) for one in scores])) for name in fields}
  )


def _distances(points, truth):
  points = np.asarray(points, np.float64).reshape(-1, 2)
  truth = np.asarray(truth, np.float64).reshape(-1, 2)
  return np.linalg.norm(points[:, None] - truth[None], axis=-1)
