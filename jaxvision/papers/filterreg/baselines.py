"""What the paper compares with: ICP, trimmed ICP, point-to-plane ICP, rigid CPD.

Source: Besl and McKay, A method for registration of 3-D shapes, 1992; Chetverikov et
al., The trimmed iterative closest point algorithm, 2002; Chen and Medioni, Object
modelling by registration of multiple range images, 1992; Myronenko and Song, Point set
registration: coherent point drift, 2010.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import nearest, rigid
from jaxvision.papers.filterreg import twists
from jaxvision.papers.filterreg.registration import (
  Registration,
  center_clouds,
  is_determined,
  iterate_until_converged,
  motion_between,
  pair_variance,
  shift,
)

_OBSERVED_AT_ONCE = 128


class Drift(NamedTuple):
  """What one E-step of coherent point drift finds.

  Attributes:
    model_mass: [M] Σ_k P_ik.
    observed_mass: [N] Σ_i P_ik.
    targets: [M, 3] Σ_k P_ik y_k.
  """

  model_mass: chex.Array
  observed_mass: chex.Array
  targets: chex.Array


@functools.partial(jax.jit, static_argnames="max_iterations")
def icp(
  model: chex.Array,
  observation: chex.Array,
  *,
  overlap: chex.Numeric = 1.0,
  normals: chex.Array | None = None,
  max_distance: chex.Numeric = jnp.inf,
  initial: chex.Array | None = None,
  max_iterations: int = 100,
  tolerance: chex.Numeric = 1e-4,
) -> Registration:
  """Returns the motion found by iterated closest points; trimmed where overlap < 1.

  Args:
    model: [M, 3] points that move; rows that are not finite do not count.
    observation: [N, 3] points that stay.
    overlap: share of the model's points, those nearest to the observation, that each
      iteration keeps; 0.9 in the authors' comparison.
    normals: [N, 3] of the observation: minimises the distance to planes instead.
    max_distance: pairs farther apart do not count.
    initial: [4, 4] first guess, the identity when None.
    max_iterations: bound.
    tolerance: as in `registration.Settings`.

  Returns:
    the motion; `sigma` is the root mean square distance of the pairs kept.
  """
  clouds = center_clouds(model, observation)
  points_at = jnp.where(clouds.in_observation[:, None], clouds.observation, jnp.inf)
  count = jnp.sum(clouds.in_model)
  kept = jnp.maximum(jnp.round(overlap * count).astype(jnp.int32), 1)
  if normals is not None:
    chex.assert_equal_shape([observation, normals])
    normals = jnp.where(jnp.isfinite(normals), normals, 0)

  def iterate(state):
    transform = state.transform
    points = rigid.apply(transform, clouds.model)
    found, distances = nearest.nearest(points, points_at)
    distances = jnp.where(clouds.in_model, distances, jnp.inf)
    limit = jnp.sort(distances)[kept - 1]
    is_pair = (distances <= limit) & (distances <= max_distance)
    weights = (is_pair & jnp.isfinite(distances)).astype(model.dtype)
    targets = clouds.observation[found]
    if normals is None:
      new = rigid.fit(clouds.model, targets, weights)
    else:
      matrix, right = twists.plane_systems(points, targets, normals[found], weights)
      step = twists.twist_transform(twists.solve_normal(matrix[0], right[0]))
      new = jnp.matmul(step, transform, precision="highest")
    is_usable = (jnp.max(weights) > 0) & jnp.all(jnp.isfinite(new))
    new = jnp.where(is_usable, new, transform)
    total = jnp.maximum(jnp.sum(weights), 1)
    squares = jnp.where(weights > 0, jnp.square(distances), 0)
    return Registration(
      transform=new,
      sigma=jnp.sqrt(jnp.sum(squares) / total),
      objective=jnp.sum(squares),
      weights=weights,
      iterations=state.iterations + 1,
      is_converged=motion_between(transform, new, clouds) <= tolerance,
      is_valid=is_determined(points, weights),
    )

  return _until_converged(iterate, clouds, initial, 0.0, max_iterations)


@functools.partial(jax.jit, static_argnames="max_iterations")
def coherent_point_drift(
  model: chex.Array,
  observation: chex.Array,
  *,
  outlier_ratio: chex.Numeric = 0.2,
  initial: chex.Array | None = None,
  max_iterations: int = 100,
  tolerance: chex.Numeric = 1e-4,
) -> Registration:
  """Returns the motion found by rigid CPD without scale, O(M N) an iteration.

  Here the model induces the mixture, and every observed point is explained by it.

  Args:
    model: [M, 3] points that move; rows that are not finite do not count.
    observation: [N, 3] points that stay.
    outlier_ratio: w in [0, 1).
    initial: [4, 4] first guess, the identity when None.
    max_iterations: bound.
    tolerance: as in `registration.Settings`.
  """
  clouds = center_clouds(model, observation)
  start = shift(
    jnp.eye(4, dtype=model.dtype) if initial is None else initial, clouds.center
  )
  variance = pair_variance(rigid.apply(start, clouds.model), clouds)

  def iterate(state):
    transform, sigma = state.transform, state.sigma
    points = rigid.apply(transform, clouds.model)
    drift = drift_expectation(points, clouds, jnp.square(sigma), outlier_ratio)
    new, variance, _ = drift_maximization(clouds.model, clouds.observation, drift)
    is_usable = (jnp.sum(drift.model_mass) > 0) & jnp.all(jnp.isfinite(new))
    new = jnp.where(is_usable, new, transform)
    new_sigma = jnp.where(is_usable, jnp.sqrt(jnp.maximum(variance, 0.0)), sigma)
    # Without any noise the variance would vanish.
    new_sigma = jnp.maximum(new_sigma, 1e-4 * clouds.radius)
    is_still = motion_between(transform, new, clouds) <= tolerance
    return Registration(
      transform=new,
      sigma=new_sigma,
      objective=variance,
      weights=jnp.minimum(drift.model_mass, 1.0),
      iterations=state.iterations + 1,
      is_converged=is_still & (jnp.abs(new_sigma - sigma) <= 0.01 * sigma),
      is_valid=is_determined(points, drift.model_mass),
    )

  return _until_converged(iterate, clouds, initial, jnp.sqrt(variance), max_iterations)


def drift_expectation(
  points: chex.Array, clouds, variance: chex.Array, outlier_ratio: chex.Numeric
) -> Drift:
  """Returns CPD's sums of P_ik = K_ik / (Σ_i K_ik + (2πσ²)^(3/2) w / (1 - w) · M / N).

  Args:
    points: [M, 3] moved model points.
    clouds: of `registration.center_clouds`.
    variance: σ², scalar.
    outlier_ratio: w in [0, 1).
  """
  odds = outlier_ratio / (1 - outlier_ratio)
  counts = jnp.sum(clouds.in_model) / jnp.maximum(jnp.sum(clouds.in_observation), 1)
  constant = (2 * jnp.pi * variance) ** 1.5 * odds * counts
  safe = jnp.where(variance > 0, variance, 1.0)

  def add(total, block):
    observed, exists = block
    squares = sum(
      jnp.square(observed[:, axis, None] - points[:, axis]) for axis in range(3)
    )
    kernel = jnp.exp(-squares / (2 * safe))
    kernel = jnp.where(clouds.in_model & exists[:, None], kernel, 0)
    below = jnp.sum(kernel, axis=1) + constant
    share = 1 / jnp.where(below > 0, below, 1.0)
    mass = jnp.sum(kernel, axis=1) * share
    extended = jnp.concatenate([jnp.ones_like(observed[:, :1]), observed], axis=1)
    total += jnp.matmul(kernel.T, share[:, None] * extended, precision="highest")
    return total, mass

  count = clouds.observation.shape[0]
  missing = -count % min(_OBSERVED_AT_ONCE, count)
  observed = jnp.pad(clouds.observation, ((0, missing), (0, 0)))
  exists = jnp.pad(clouds.in_observation, (0, missing))
  size = min(_OBSERVED_AT_ONCE, count)
  blocks = observed.reshape(-1, size, 3), exists.reshape(-1, size)
  start = jnp.zeros((points.shape[0], 4), points.dtype)
  total, masses = jax.lax.scan(add, start, blocks)
  return Drift(total[:, 0], masses.reshape(-1)[:count], total[:, 1:])


def drift_maximization(
  model: chex.Array, observation: chex.Array, drift: Drift
) -> tuple[chex.Array, chex.Array, chex.Array]:
  """Returns CPD's M-step without scale.

  Args:
    model: [M, 3] points before any motion.
    observation: [N, 3].
    drift: of the E-step.

  Returns:
    the [4, 4] motion, the variance σ², and the parts of 3 N_P σ², [3]: the spread of
    the observation, that of the model, and twice their covariance along the motion.
  """
  total = jnp.sum(drift.model_mass)
  safe = jnp.where(total > 0, total, 1.0)
  mass = drift.model_mass
  means = drift.targets / jnp.where(mass > 0, mass, 1.0)[:, None]
  transform = rigid.fit(model, means, mass)
  observed_mean = jnp.sum(drift.targets, axis=0) / safe
  model_mean = jnp.sum(mass[:, None] * model, axis=0) / safe
  centred = model - model_mean
  turned = jnp.matmul(centred, transform[:3, :3].T, precision="highest")
  covariance = jnp.sum(turned * (drift.targets - mass[:, None] * observed_mean))
  parts = jnp.stack(
    [
      jnp.sum(drift.observed_mass[:, None] * jnp.square(observation - observed_mean)),
      jnp.sum(mass[:, None] * jnp.square(centred)),
      2 * covariance,
    ]
  )
  return transform, (parts[0] + parts[1] - parts[2]) / (3 * safe), parts


def _until_converged(iterate, clouds, initial, sigma, max_iterations):
  if initial is None:
    initial = jnp.eye(4, dtype=clouds.model.dtype)
  chex.assert_shape(initial, (4, 4))
  start = shift(initial, clouds.center)
  end = iterate_until_converged(iterate, clouds, start, sigma, max_iterations)
  return end._replace(transform=shift(end.transform, -clouds.center))
