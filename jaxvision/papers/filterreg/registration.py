"""Rigid registration by EM: point-to-point, point-to-plane, and by features.

Source: Sections 4 to 6.1; where the paper is silent, the authors' demonstrations.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import rigid
from jaxvision.papers.filterreg import correspondences, twists
from jaxvision.papers.filterreg.correspondences import Mixture


@dataclasses.dataclass(frozen=True)
class Settings:
  """How two clouds are registered; lengths in the clouds' unit, here metres.

  Attributes:
    objective: "point" fits points to their targets in closed form, "plane" takes a
      Gauss-Newton step along the mean normals.
    sigma: standard deviation σ of the mixture at the beginning; None takes σ² from the
      mean square distance of all pairs, as probreg does.
    smallest_sigma: σ stays as it is when its update is not above this.
    update_sigma: whether σ is estimated; if not, the lattice is built only once.
    covariance_weight_power: 1, or 2 as the published code has it.
    max_iterations: of EM.
    stop: "motion" ends when the last iteration turned by less than `tolerance` radians,
      moved by less than that part of the cloud's radius, and changed σ by at most 1 %;
      "objective" when q = Σ √w |x - target| / σ changed by less (probreg's rule).
    tolerance: see `stop`.
    feature_sigma: σ of the features, where there are any.
    mixture: what the E-step assumes.
  """

  objective: Literal["point", "plane"] = "point"
  sigma: float | None = 0.03
  smallest_sigma: float = 0.002
  update_sigma: bool = True
  covariance_weight_power: float = 1.0
  max_iterations: int = 150
  stop: Literal["motion", "objective"] = "motion"
  tolerance: float = 1e-4
  feature_sigma: float = 0.07
  mixture: Mixture = dataclasses.field(default_factory=Mixture)


# The point-to-plane demonstration: one σ, and as many steps.
PLANE = Settings(objective="plane", sigma=0.08, update_sigma=False, max_iterations=15)
# Learned features tell outliers more surely.
BY_FEATURES = Settings(mixture=Mixture(outlier_constant=0.6))
REFINEMENT = Settings(sigma=0.1, max_iterations=20)
# The re-implementation in the authors' repository.
PROBREG = Settings(
  sigma=None,
  smallest_sigma=0.01,
  max_iterations=50,
  stop="objective",
  tolerance=1e-3,
  mixture=Mixture(kernel="auto", outliers="normalised", outlier_ratio=0.0),
)


class Registration(NamedTuple):
  """A registration; always finite.

  Attributes:
    transform: [4, 4] of the model onto the observation.
    sigma: σ at the end.
    objective: q = Σ √w |x - target| / σ before the last M-step.
    weights: [M] of the model points in [0, 1), 0 for outliers.
    iterations: of EM, int32.
    is_converged: whether the tolerance was met.
    is_valid: whether at least three points that are not on one line had weight.
      Otherwise the transform is finite, but not determined by the clouds.
  """

  transform: chex.Array
  sigma: chex.Array
  objective: chex.Array
  weights: chex.Array
  iterations: chex.Array
  is_converged: chex.Array
  is_valid: chex.Array


class Centred(NamedTuple):
  """Both clouds with the observation's mean at the origin, which keeps digits."""

  model: chex.Array
  observation: chex.Array
  in_model: chex.Array
  in_observation: chex.Array
  center: chex.Array
  radius: chex.Array


@functools.partial(jax.jit, static_argnames="settings")
def solve(
  model: chex.Array,
  observation: chex.Array,
  settings: Settings = Settings(),
  *,
  normals: chex.Array | None = None,
  model_features: chex.Array | None = None,
  observation_features: chex.Array | None = None,
  initial: chex.Array | None = None,
) -> Registration:
  """Returns the rigid motion of the model that explains it best as observed.

  It is one compiled loop; vmap runs it over many pairs of clouds.

  Args:
    model: [M, 3] points that move. Rows with NaN or infinities do not count, which
      also serves to pad clouds to one size.
    observation: [N, 3] points that stay, rows as above.
    settings: of EM.
    normals: [N, 3] of the observation, for objective="plane".
    model_features: [M, F] that motion does not change, compared besides positions.
    observation_features: [N, F].
    initial: [4, 4] first guess, the identity when None.

  Raises:
    ValueError: a cloud without points, or normals or features missing.

  Source: Algorithm of Section 4.3 with Eq. 6 to 10.
  """
  clouds = center_clouds(model, observation)
  if settings.objective == "plane" and normals is None:
    raise ValueError("objective='plane' needs the observation's normals")
  if (model_features is None) != (observation_features is None):
    raise ValueError("features of the model and of the observation come together")
  if normals is not None:
    chex.assert_equal_shape([observation, normals])
    has_normal = jnp.all(jnp.isfinite(normals), axis=1)
    normals = jnp.where(has_normal[:, None], normals, 0)
    if settings.objective == "plane":
      clouds = clouds._replace(in_observation=clouds.in_observation & has_normal)
  mixture = settings.mixture
  values = correspondences.observed_values(clouds.observation, normals, mixture)
  scale = jnp.array(mixture.aspect, model.dtype)
  count = jnp.sum(clouds.in_observation)

  def features_of(points, exists, extra, sigma):
    features = points / (sigma * scale)
    if extra is not None:
      features = jnp.concatenate([features, extra / settings.feature_sigma], axis=1)
    return jnp.where(exists[:, None], features, jnp.inf)

  def prepared(sigma):
    features = features_of(
      clouds.observation, clouds.in_observation, observation_features, sigma
    )
    return correspondences.prepare(features, values, mixture)

  if initial is None:
    initial = jnp.eye(4, dtype=model.dtype)
  chex.assert_shape(initial, (4, 4))
  start = shift(initial, clouds.center)
  if settings.sigma is None:
    variance = pair_variance(rigid.apply(start, clouds.model), clouds)
    first_sigma = jnp.maximum(jnp.sqrt(variance), settings.smallest_sigma)
  else:
    first_sigma = jnp.asarray(settings.sigma, model.dtype)
  largest_sigma = jnp.maximum(clouds.radius, first_sigma)
  fixed = None if settings.update_sigma else prepared(first_sigma)

  def iterate(state):
    """E-step, M-step, and then σ: what the next E-step begins with."""
    transform, sigma = state.transform, state.sigma
    points = rigid.apply(transform, clouds.model)
    queries = features_of(points, clouds.in_model, model_features, sigma)
    filtered = correspondences.sums(
      prepared(sigma) if fixed is None else fixed, queries, mixture
    )
    found = correspondences.correspond(filtered, sigma, mixture, count)
    new = _maximize(transform, points, clouds, found, settings)
    moved = rigid.apply(new, clouds.model)
    distances = jnp.linalg.norm(points - found.targets, axis=1)
    objective = jnp.sum(jnp.sqrt(found.weights) * distances) / sigma
    new_sigma = sigma
    if settings.update_sigma:
      new_sigma = correspondences.updated_sigma(
        sigma, moved, found, mixture, settings.smallest_sigma, largest_sigma
      )
    if settings.stop == "motion":
      is_still = motion_between(transform, new, clouds) <= settings.tolerance
      is_still &= jnp.abs(new_sigma - sigma) <= 0.01 * sigma
    else:
      is_still = jnp.abs(objective - state.objective) < settings.tolerance
    return Registration(
      transform=new,
      sigma=new_sigma,
      objective=objective,
      weights=found.weights,
      iterations=state.iterations + 1,
      is_converged=is_still,
      is_valid=is_determined(points, found.weights),
    )

  end = iterate_until_converged(
    iterate, clouds, start, first_sigma, settings.max_iterations
  )
  return end._replace(transform=shift(end.transform, -clouds.center))


@functools.partial(jax.jit, static_argnames=("settings", "refinement"))
def solve_by_features(
  model: chex.Array,
  observation: chex.Array,
  model_features: chex.Array,
  observation_features: chex.Array,
  settings: Settings = BY_FEATURES,
  refinement: Settings | None = REFINEMENT,
) -> Registration:
  """Returns a global registration: one EM step on features alone, then refinement.

  Whatever the pose, features find each other; no first guess is needed.

  Args:
    model: [M, 3] points that move; rows with NaN or infinities do not count.
    observation: [N, 3] points that stay.
    model_features: [M, F] that motion does not change, e.g. learned descriptors.
    observation_features: [N, F].
    settings: gives `feature_sigma` and the mixture.
    refinement: of the geometric registration that follows; None leaves it out.

  Raises:
    ValueError: a cloud without points.

  Source: Eq. 8 and Section 6.3.
  """
  clouds = center_clouds(model, observation)
  chex.assert_equal_shape_prefix([model, model_features], 1)
  chex.assert_equal_shape_prefix([observation, observation_features], 1)
  mixture = settings.mixture
  values = correspondences.observed_values(clouds.observation, None, mixture)

  def scaled(features, exists):
    return jnp.where(exists[:, None], features / settings.feature_sigma, jnp.inf)

  prepared = correspondences.prepare(
    scaled(observation_features, clouds.in_observation), values, mixture
  )
  filtered = correspondences.sums(
    prepared, scaled(model_features, clouds.in_model), mixture
  )
  sigma = jnp.asarray(settings.feature_sigma, model.dtype)
  count = jnp.sum(clouds.in_observation)
  found = correspondences.correspond(filtered, sigma, mixture, count)
  start = jnp.eye(4, dtype=model.dtype)
  coarse = _maximize(start, clouds.model, clouds, found, settings)
  transform = shift(coarse, -clouds.center)
  if refinement is not None:
    return solve(model, observation, refinement, initial=transform)
  return Registration(
    transform=transform,
    sigma=sigma,
    objective=jnp.zeros_like(sigma),
    weights=found.weights,
    iterations=jnp.int32(1),
    is_converged=jnp.bool_(True),
    is_valid=is_determined(clouds.model, found.weights),
  )


def pose_error(
  transform: chex.Array, truth: chex.Array, model: chex.Array
) -> chex.Array:
  """Returns the mean distance of model points [M, 3] from their places (Eq. 22)."""
  difference = rigid.apply(transform, model) - rigid.apply(truth, model)
  return jnp.mean(jnp.linalg.norm(difference, axis=-1), axis=-1)


def center_clouds(model: chex.Array, observation: chex.Array) -> Centred:
  """Returns both clouds about the observation's mean, with 0 for what is not finite.

  Raises:
    ValueError: a cloud without points.
  """
  chex.assert_shape([model, observation], (None, 3))
  chex.assert_type([model, observation], float)
  for name, cloud in (("model", model), ("observation", observation)):
    if not cloud.shape[0]:
      raise ValueError(f"the {name} has no points")
  in_model, in_observation = (
    # Larger numbers have squares, and sums of them, that overflow.
    jnp.all(jnp.abs(cloud) < 1e12, axis=1)
    for cloud in (model, observation)
  )
  observation = jnp.where(in_observation[:, None], observation, 0)
  center = jnp.sum(observation, axis=0) / jnp.maximum(jnp.sum(in_observation), 1)
  observation = jnp.where(in_observation[:, None], observation - center, 0)
  model = jnp.where(in_model[:, None], model - center, 0)
  radius = jnp.sqrt(jnp.max(jnp.sum(jnp.square(observation), axis=1)))
  return Centred(model, observation, in_model, in_observation, center, radius)


def shift(transform: chex.Array, center: chex.Array) -> chex.Array:
  """Returns the same motion in coordinates whose origin is at `center`."""
  rotation, translation = transform[:3, :3], transform[:3, 3]
  turned = jnp.matmul(rotation, center, precision="highest")
  return rigid.transform(rotation, translation + turned - center)


def pair_variance(points: chex.Array, clouds: Centred) -> chex.Array:
  """Returns the mean over all pairs of |x - y|² / 3, scalar, of model points [M, 3]."""
  in_model = clouds.in_model[:, None]
  count = jnp.maximum(jnp.sum(in_model), 1)
  observed = jnp.maximum(jnp.sum(clouds.in_observation), 1)
  mean = jnp.sum(jnp.where(in_model, points, 0), axis=0) / count
  # The observation's mean is the origin.
  spread = jnp.sum(jnp.where(in_model, jnp.square(points - mean), 0)) / count
  other = jnp.sum(jnp.square(clouds.observation)) / observed
  return (spread + other + jnp.sum(jnp.square(mean))) / 3


def iterate_until_converged(
  iterate: Callable[[Registration], Registration],
  clouds: Centred,
  start: chex.Array,
  sigma: chex.Array,
  max_iterations: int,
) -> Registration:
  """Returns what iterate leads to from the transform `start` [4, 4] and σ."""
  first = Registration(
    transform=start,
    sigma=jnp.asarray(sigma, start.dtype),
    objective=jnp.zeros_like(start[0, 0]),
    weights=jnp.zeros_like(clouds.model[:, 0]),
    iterations=jnp.int32(0),
    is_converged=jnp.bool_(False),
    is_valid=jnp.bool_(False),
  )
  return jax.lax.while_loop(
    lambda s: ~s.is_converged & (s.iterations < max_iterations), iterate, first
  )


def motion_between(old: chex.Array, new: chex.Array, clouds: Centred) -> chex.Array:
  """Returns how much [4, 4] transforms differ: radians, and radii of the cloud.

  The larger of the rotation's angle (its chord, to be exact) and of the way of the
  model's mean in units of the observation's radius.
  """
  turn = jnp.linalg.norm(new[:3, :3] - old[:3, :3]) / jnp.sqrt(2.0)
  count = jnp.maximum(jnp.sum(clouds.in_model), 1)
  mean = jnp.sum(clouds.model, axis=0) / count
  way = jnp.matmul(new[:3, :3] - old[:3, :3], mean, precision="highest")
  way += new[:3, 3] - old[:3, 3]
  radius = jnp.where(clouds.radius > 0, clouds.radius, 1.0)
  return jnp.maximum(turn, jnp.linalg.norm(way) / radius)


def is_determined(points: chex.Array, weights: chex.Array) -> chex.Array:
  """Returns whether points [M, 3] with weights [M] span a plane at least."""
  total = jnp.sum(weights)
  share = weights / jnp.where(total > 0, total, 1.0)
  centred = points - jnp.sum(share[:, None] * points, axis=0)
  spread = jnp.matmul((share[:, None] * centred).T, centred, precision="highest")
  extents = jnp.linalg.eigvalsh(jnp.where(jnp.isfinite(spread), spread, 0.0))
  counts = jnp.sum(weights > 1e-3) >= 3
  return counts & (extents[1] > 1e-6 * extents[2]) & (extents[1] > 0)


def _maximize(transform, points, clouds, found, settings):
  """Returns the transform after the M-step, or the old one where nothing was found."""
  if settings.objective == "plane":
    matrix, right = twists.plane_systems(
      points, found.targets, found.normals, found.weights
    )
    step = twists.twist_transform(twists.solve_normal(matrix[0], right[0]))
    new = jnp.matmul(step, transform, precision="highest")
  else:
    # From the reference, so that rounding does not add up over the iterations.
    new = rigid.fit(
      clouds.model,
      found.targets,
      found.weights,
      covariance_weight_power=settings.covariance_weight_power,
    )
  is_usable = (jnp.max(found.weights) > 0) & jnp.all(jnp.isfinite(new))
  return jnp.where(is_usable, new, transform)
