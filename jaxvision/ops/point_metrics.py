"""How far apart two point sets are: Chamfer, earth mover's, F-score, normals.

Everything is jittable and, but for the assignment itself, differentiable. A point that
is not finite is infinitely far from everything: distances from it are infinite, and
none is measured to it. Sets are not batched: `jax.vmap` does that.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import assignment
from jaxvision.ops.nearest import nearest


class FScore(NamedTuple):
  """Shares in [0, 1]; `f` is the harmonic mean of the others, 0 where both are 0."""

  f: chex.Array
  precision: chex.Array
  recall: chex.Array


class NormalConsistency(NamedTuple):
  """Mean |cosine| between normals of nearest points, in [0, 1]; `mean` of both ways."""

  mean: chex.Array
  accuracy: chex.Array
  completeness: chex.Array


def directed_squares(
  queries: chex.Array, points: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Returns squared distances to nearest points, and which points those are.

  Args:
    queries: [M, d], M ≥ 1.
    points: [N, d], N ≥ 1.

  Returns:
    [M] squared distances, differentiable in both sets, and [M] int32 indices.
  """
  chex.assert_rank([queries, points], 2)
  if not queries.shape[0]:
    raise ValueError("there are no points to measure from")
  stop = jax.lax.stop_gradient
  index, distances = nearest(stop(queries), stop(points))
  squares = jnp.sum(jnp.square(queries - points[index]), axis=-1)
  return jnp.where(jnp.isfinite(distances), squares, jnp.inf), index


def directed_distances(queries: chex.Array, points: chex.Array) -> chex.Array:
  """Returns [M] distances of queries [M, d] to their nearest points [N, d]."""
  squares, _ = directed_squares(queries, points)
  return _safe_sqrt(squares)


def accuracy(prediction: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the mean distance of predicted points [M, d] to the truth [N, d]."""
  return jnp.mean(directed_distances(prediction, truth))


def completeness(prediction: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the mean distance of true points [N, d] to the prediction [M, d]."""
  return jnp.mean(directed_distances(truth, prediction))


def chamfer(
  prediction: chex.Array, truth: chex.Array, *, squared: bool = True
) -> chex.Array:
  """Returns the Chamfer distance: the sum of both directions' means.

  Halve it for the "Chamfer-L1" (unsquared) and "Chamfer-L2" of Occupancy Networks.

  Args:
    prediction: [M, d].
    truth: [N, d].
    squared: whether distances are squared (PSGN, DeepSDF).
  """
  there, _ = directed_squares(prediction, truth)
  back, _ = directed_squares(truth, prediction)
  if not squared:
    there, back = _safe_sqrt(there), _safe_sqrt(back)
  return jnp.mean(there) + jnp.mean(back)


def emd(
  prediction: chex.Array, truth: chex.Array, *, squared: bool = False
) -> chex.Array:
  """Returns the earth mover's distance: the mean over the best one-to-one matching.

  The matching is exact (about N^3 work), and constant where gradients are concerned.

  Args:
    prediction: [N, d], finite.
    truth: [N, d], finite.
    squared: whether distances are squared, in the matching too.
  """
  chex.assert_rank([prediction, truth], 2)
  chex.assert_equal_shape([prediction, truth])
  differences = prediction[:, None] - truth
  costs = jnp.sum(jnp.square(differences), axis=-1)
  if not squared:
    costs = jnp.sqrt(costs)
  columns = assignment.assign(jax.lax.stop_gradient(costs))
  squares = jnp.sum(jnp.square(prediction - truth[columns]), axis=-1)
  return jnp.mean(squares if squared else _safe_sqrt(squares))


def f_score(
  prediction: chex.Array, truth: chex.Array, threshold: chex.Numeric
) -> FScore:
  """Returns the F-score: which share of either set is within `threshold` of the other.

  Args:
    prediction: [M, d].
    truth: [N, d].
    threshold: distance, in the points' unit.

  Source: Knapitsch et al., Tanks and Temples, 2017.
  """
  precision = jnp.mean(directed_distances(prediction, truth) <= threshold)
  recall = jnp.mean(directed_distances(truth, prediction) <= threshold)
  total = precision + recall
  f = 2 * precision * recall / jnp.where(total > 0, total, 1.0)
  return FScore(f, precision, recall)


def normal_consistency(
  prediction: chex.Array,
  truth: chex.Array,
  predicted_normals: chex.Array,
  true_normals: chex.Array,
) -> NormalConsistency:
  """Returns how well normals agree at nearest points, whatever their signs.

  Args:
    prediction, truth: [M, 3] and [N, 3] points.
    predicted_normals, true_normals: [M, 3] and [N, 3] of any length but 0.

  Source: Mescheder et al., CVPR 2019, Section 4.
  """
  chex.assert_equal_shape([prediction, predicted_normals])
  chex.assert_equal_shape([truth, true_normals])
  mine, theirs = _normalize(predicted_normals), _normalize(true_normals)
  _, to_truth = directed_squares(prediction, truth)
  _, to_prediction = directed_squares(truth, prediction)
  there = jnp.mean(jnp.abs(jnp.sum(mine * theirs[to_truth], axis=-1)))
  back = jnp.mean(jnp.abs(jnp.sum(theirs * mine[to_prediction], axis=-1)))
  return NormalConsistency((there + back) / 2, there, back)


def accuracy_quantile(
  prediction: chex.Array, truth: chex.Array, share: float = 0.9
) -> chex.Array:
  """Returns the distance within which a share of the predicted points is of the truth.

  The "mesh accuracy" of DeepSDF with the share 0.9.
  """
  chex.assert_scalar_in(share, 0.0, 1.0)
  return jnp.quantile(directed_distances(prediction, truth), share)


def _normalize(vectors):
  length = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
  return vectors / jnp.where(length > 0, length, 1.0)


def _safe_sqrt(squares):
  """Returns the roots, whose gradient at 0 is 0 instead of NaN."""
  is_positive = squares > 0
  return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, squares, 1.0)), 0.0)
