"""Generalised fast global registration (gFGR): rigid fits of mostly wrong pairs.

Fast global registration (FGR) is iteratively reweighted least squares under the loss of
α = -2, whose scale is annealed. With the general loss the shape may be annealed
instead: from least squares (α = 2) on towards -∞, at the scale of the noise.

Source: Section 3.3; Zhou, Park, Koltun, Fast Global Registration, ECCV 2016.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import rigid, robust

ITERATIONS = 64
_ITERATIONS_PER_LEVEL = 4
LAST_SCALE = 0.025  # in diameters of the cloud
_SHAPES = (2, 1, 1 / 2, 1 / 4, 0, -1 / 4, -1 / 2, -1, -2, -4, -8, -16, -32)


class Schedule(NamedTuple):
  """What the loss is in each iteration.

  Attributes:
    alphas: [T] shapes.
    scales: [T] scales c, in multiples of the cloud's diameter.
  """

  alphas: chex.Array
  scales: chex.Array


class Registration(NamedTuple):
  """A rigid fit.

  Attributes:
    transform: [4, 4] of source onto target.
    weights: [N] of the pairs in the last iteration, in [0, 1]; 0 marks an outlier.
    is_valid: whether at least three finite pairs had weight. Otherwise the transform
      is finite, but not determined by the pairs.
  """

  transform: chex.Array
  weights: chex.Array
  is_valid: chex.Array


def scale_annealed(alpha: float = -2.0, last_scale: float = LAST_SCALE) -> Schedule:
  """Returns FGR's schedule (α = -2): every 4 iterations the scale falls by 1.4.

  It begins with the diameter, where nearly all pairs count, and ends at `last_scale`
  diameters.
  """
  scales = np.maximum(1.4 ** -_levels().astype(float), last_scale)
  return _schedule(np.full(ITERATIONS, alpha), scales)


def shape_annealed(last_scale: float = LAST_SCALE) -> Schedule:
  """Returns the paper's schedule: α falls from 2 to -32, all at `last_scale`."""
  alphas = np.array(_SHAPES)[np.minimum(_levels(), len(_SHAPES) - 1)]
  return _schedule(alphas, np.full(ITERATIONS, last_scale))


def fixed(alpha: float, last_scale: float = LAST_SCALE) -> Schedule:
  """Returns one shape α at one scale, without annealing; 2 is least squares."""
  return _schedule(np.full(ITERATIONS, alpha), np.full(ITERATIONS, last_scale))


def _levels():
  return np.arange(ITERATIONS) // _ITERATIONS_PER_LEVEL


def _schedule(alphas, scales):
  return Schedule(jnp.array(alphas, jnp.float32), jnp.array(scales, jnp.float32))


def solve(source: chex.Array, target: chex.Array, schedule: Schedule) -> Registration:
  """Returns the rigid transform that minimises Σ ρ(|T source - target|, α, c).

  Args:
    source: [N, 3] points, N ≥ 1, in any unit.
    target: [N, 3] their putative correspondences. Pairs with NaN or infinities are
      left out.
    schedule: of the loss. A larger last scale tolerates more noise, a smaller one
      more outliers.

  Raises:
    ValueError: there are no pairs.
  """
  chex.assert_type([source, target], float)
  chex.assert_shape([source, target], (None, 3))
  chex.assert_equal_shape([source, target])
  if not source.shape[0]:
    raise ValueError("registration needs at least one pair of points")
  exists = jnp.all(jnp.isfinite(source) & jnp.isfinite(target), axis=-1)
  source = jnp.where(exists[:, None], source, 0.0)
  target = jnp.where(exists[:, None], target, 0.0)
  diameter = _diameter(source, exists)

  def reweight(carry, loss):
    transform, _ = carry
    alpha, scale = loss
    residuals = jnp.linalg.norm(rigid.apply(transform, source) - target, axis=-1)
    weights = exists * robust.weight(residuals, alpha, scale * diameter)
    # Where all are outliers the weights would vanish and with them the estimate.
    weights /= jnp.maximum(jnp.max(weights), jnp.finfo(weights.dtype).tiny)
    return (rigid.fit(source, target, weights), weights), None

  start = jnp.eye(4, dtype=source.dtype), exists.astype(source.dtype)
  (transform, weights), _ = jax.lax.scan(reweight, start, schedule)
  return Registration(transform, weights, jnp.sum(weights > 1e-3) >= 3)


def rmse(transform: chex.Array, source: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the root mean square distance of moved source points [N, 3] from truth."""
  moved = rigid.apply(transform, source)
  return jnp.sqrt(jnp.mean(jnp.sum(jnp.square(moved - truth), axis=-1)))


def _diameter(points, exists):
  """Returns twice the largest distance from the mean, 1 where there is no extent."""
  center = jnp.sum(points, axis=0) / jnp.maximum(jnp.sum(exists), 1)
  distances = jnp.linalg.norm(points - center, axis=-1)
  diameter = 2 * jnp.max(jnp.where(exists, distances, 0.0))
  return jnp.where(jnp.isfinite(diameter) & (diameter > 0), diameter, 1.0)
