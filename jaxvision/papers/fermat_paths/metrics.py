"""Errors of points, normals, surfaces and detected discontinuities."""

from typing import NamedTuple

import chex
import numpy as np

from jaxvision.papers.fermat_paths.surfaces import Samples


class PointErrors(NamedTuple):
  """How far points are from the true surface.

  Attributes:
    distance: [N] cm.
    angle: [N] between the normals, degrees.
  """

  distance: np.ndarray
  angle: np.ndarray


def sphere_errors(
  points: np.ndarray, normals: np.ndarray, center, radius: float, *, inward: bool
) -> PointErrors:
  """Returns the errors of points [N, 3] on a sphere, whose normals may be inward."""
  outward = points - np.asarray(center)
  distance = np.linalg.norm(outward, axis=1)
  truth = outward / distance[:, None] * (-1 if inward else 1)
  return PointErrors(np.abs(distance - radius), angles(normals, truth))


def plane_errors(points: np.ndarray, normals: np.ndarray, depth: float) -> PointErrors:
  """Returns the errors of points [N, 3] on the plane z = depth."""
  truth = np.broadcast_to([0.0, 0.0, -1.0], normals.shape)
  return PointErrors(np.abs(points[:, 2] - depth), angles(normals, truth))


def sampled_errors(
  points: np.ndarray, normals: np.ndarray, truth: Samples
) -> PointErrors:
  """Returns the errors against dense samples of a surface.

  Distances are to the tangent plane of the nearest sample.
  """
  from scipy import spatial

  surface = np.asarray(truth.points)
  _, nearest = spatial.cKDTree(surface).query(points)
  true_normals = np.asarray(truth.normals)[nearest]
  distance = np.abs(np.sum((points - surface[nearest]) * true_normals, axis=1))
  return PointErrors(distance, angles(normals, true_normals))


def angles(normals: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Returns the [N] angles between unit vectors [N, 3], degrees."""
  chex.assert_equal_shape([normals, truth])
  cross = np.linalg.norm(np.cross(normals, truth), axis=1)
  return np.degrees(np.arctan2(cross, np.sum(normals * truth, axis=1)))


def completeness(points: np.ndarray, truth: np.ndarray, reach: float) -> float:
  """Returns the share of true points [M, 3] within `reach` cm of a point [N, 3]."""
  from scipy import spatial

  if not len(points) or not len(truth):
    return 0.0
  distances, _ = spatial.cKDTree(points).query(truth)
  return float(np.mean(distances <= reach))


def detection_scores(
  found: np.ndarray, truth: np.ndarray, tolerance: float
) -> tuple[float, float]:
  """Returns recall and precision of path lengths.

  Args:
    found: [n, K] cm, NaN where there is none.
    truth: [n, T] cm, NaN where there is none.
    tolerance: cm.
  """
  chex.assert_rank([found, truth], [2, 2])
  near = np.abs(found[:, :, None] - truth[:, None]) <= tolerance  # NaN is not
  exists, detected = np.isfinite(truth), np.isfinite(found)
  recall = np.sum(np.any(near, axis=1)) / max(np.sum(exists), 1)
  precision = np.sum(np.any(near, axis=2)) / max(np.sum(detected), 1)
  return float(recall), float(precision)
