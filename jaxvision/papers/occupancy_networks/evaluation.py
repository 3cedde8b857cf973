"""Measures of the paper: IoU of points, and Chamfer, normals and IoU of meshes.

Source: Section 4; `im2mesh/eval.py`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import mesh_sampling, point_metrics, voxels
from jaxvision.papers.occupancy_networks.model import OccupancyNetwork

THRESHOLDS = tuple(np.round(np.arange(0.05, 1.0, 0.05), 2).tolist())
# Tables of the paper take a tenth of the longest edge as their unit.
TABLE_UNIT = 10.0
EMPTY = {
  "completeness": 3**0.5,
  "accuracy": 3**0.5,
  "chamfer_l1": 3**0.5,
  "chamfer_l2": 3.0,
  "normal_consistency": -1.0,
  "iou": 0.0,
}


@functools.cache
def _probabilities(net: nn.Module) -> Callable[..., chex.Array]:
  def one(variables, observed, points):
    inputs = None if observed is None else observed[None]
    if isinstance(net, OccupancyNetwork):
      return jax.nn.sigmoid(net.apply(variables, points[None], inputs)[0][0])
    grid = jax.nn.sigmoid(net.apply(variables, inputs)[0])
    return voxels.lookup(grid, points)

  @jax.jit
  def all_of(variables, observed, points):
    return jax.lax.map(lambda shape: one(variables, *shape), (observed, points))

  return all_of


def probabilities(
  net: nn.Module, variables: Any, observed: chex.Array | None, points: chex.Array
) -> np.ndarray:
  """Returns [S, P] probabilities that points are inside S shapes.

  Args:
    net: an `OccupancyNetwork` or the network of R2N2, whose voxels are looked up.
    variables: of the network.
    observed: [S, ...] observations, or None.
    points: [S, P, 3].
  """
  return np.asarray(_probabilities(net)(variables, observed, points))


def mean_iou(inside: np.ndarray, occupancies: np.ndarray) -> float:
  """Returns the mean over S shapes of the IoU of points, both [S, P] booleans."""
  return float(np.mean(voxels.iou(inside, occupancies)))


def iou_by_threshold(
  probability: np.ndarray,
  occupancies: np.ndarray,
  thresholds: Sequence[float] = THRESHOLDS,
) -> dict[float, float]:
  """Returns {τ: mean IoU} of probabilities [S, P] against occupancies [S, P]."""
  return {tau: mean_iou(probability > tau, occupancies) for tau in thresholds}


def volume_ratio(probability: np.ndarray, occupancies: np.ndarray, tau: float) -> float:
  """Returns the mean over shapes of predicted over true volume, by points [S, P]."""
  predicted = np.sum(probability > tau, axis=1)
  return float(np.mean(predicted / np.maximum(np.sum(occupancies, axis=1), 1)))


def voxel_iou(grids: np.ndarray, points: np.ndarray, occupancies: np.ndarray) -> float:
  """Returns the mean IoU of S voxel grids [S, R, R, R] themselves, by points."""
  inside = jax.vmap(voxels.lookup)(jnp.asarray(grids), jnp.asarray(points))
  return mean_iou(np.asarray(inside), occupancies)


def measure_mesh(
  vertices: np.ndarray,
  faces: np.ndarray,
  example: dict[str, Any],
  *,
  points: int | None = None,
  seed: int = 0,
) -> dict[str, float]:
  """Returns the paper's measures of one mesh, in the object's unit (edge 1).

  Args:
    vertices, faces: [V, 3] and [F, 3] of the prediction; F = 0 counts as `EMPTY`.
    example: the true cloud, normals, points and occupancies. As many points are drawn
      on the mesh as the cloud has.
    points: for the IoU, the first of the example's; all when None.
    seed: of the points on the mesh.
  """
  if not len(faces):
    return dict(EMPTY)
  key = jax.random.key(seed)
  count = len(example["cloud"])
  # Meshes differ in size: padded to powers of two, few are compiled.
  padded = _padded(faces), _padded(vertices)
  drawn, normals = _sample(key, padded[1], padded[0], count)
  measures = _measure(drawn, normals, example["cloud"], example["normals"])
  inside = _contains(example["points"][:points], padded[1], padded[0])
  measures["iou"] = voxels.iou(inside, jnp.asarray(example["occupancies"][:points]))
  return {name: float(value) for name, value in measures.items()}


def measure_cloud(points: chex.Array, truth: chex.Array) -> dict[str, float]:
  """Returns the Chamfer distances of a predicted cloud [M, 3] from the true one."""
  measures = _distances(points, truth)
  return {name: float(value) for name, value in measures.items()}


def refinement_error(
  net: nn.Module,
  variables: Any,
  c: chex.Array | None,
  vertices: np.ndarray,
  faces: np.ndarray,
  tau: float,
  *,
  count: int = 8192,
) -> float:
  """Returns the mean |σ(f) - τ| at random points of a mesh, which refinement lowers."""
  points, _ = _sample(jax.random.key(1), _padded(vertices), _padded(faces), count)
  logits = jax.jit(functools.partial(net.apply, method="decode"))(
    variables, points[None], None, None if c is None else c[None]
  )
  return float(jnp.mean(jnp.abs(jax.nn.sigmoid(logits) - tau)))


@functools.partial(jax.jit, static_argnums=3)
def _sample(key, vertices, faces, count):
  points, normals, _ = mesh_sampling.sample_surface(key, vertices, faces, count)
  return points, normals


_contains = jax.jit(voxels.contains)


@jax.jit
def _distances(prediction, truth):
  there, _ = point_metrics.directed_squares(prediction, truth)
  back, _ = point_metrics.directed_squares(truth, prediction)
  accuracy, completeness = jnp.mean(jnp.sqrt(there)), jnp.mean(jnp.sqrt(back))
  return {
    "completeness": completeness,
    "accuracy": accuracy,
    "chamfer_l1": (accuracy + completeness) / 2,
    "chamfer_l2": (jnp.mean(there) + jnp.mean(back)) / 2,
  }


@jax.jit
def _measure(points, normals, truth, true_normals):
  consistency = point_metrics.normal_consistency(points, truth, normals, true_normals)
  return _distances(points, truth) | {"normal_consistency": consistency.mean}


def _padded(rows):
  """Returns rows [N, 3] followed by zeros, up to a power of two.

  A face of zeros has no area: no point is drawn on it and no line crosses it.
  """
  size = 1 << max(int(len(rows) - 1).bit_length(), 8)
  return np.pad(rows, ((0, size - len(rows)), (0, 0)))
