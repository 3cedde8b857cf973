"""Parity adapters of filterreg: the authors' and probreg's names and layouts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import permutohedral, procrustes, rigid
from jaxvision.papers.filterreg import baselines, correspondences, registration, twists
from jaxvision.papers.filterreg.correspondences import Mixture
from tests.parity import rule

_SIGMA = 0.04  # of case estep
_MOVED = 0.01  # of case estep_sigma


def lattice(parameters, inputs):
  del parameters
  plain = permutohedral.enclose(jnp.asarray(inputs["feature"]))
  blurred = permutohedral.enclose(jnp.asarray(inputs["feature"]), blur=True)
  return {
    "key": plain.keys,
    "weight": plain.weights,
    "key_blur": blurred.keys,
    "weight_blur": blurred.weights,
  }


def expectation(model, observation, normals, sigma, mixture):
  """The E-step as `registration.solve` makes it, without centring the clouds."""
  values = correspondences.observed_values(observation, normals, mixture)
  prepared = correspondences.prepare(observation / sigma, values, mixture)
  filtered = correspondences.sums(prepared, model / sigma, mixture)
  count = observation.shape[0]
  return filtered, correspondences.correspond(
    filtered, jnp.asarray(sigma), mixture, count
  )


def estep(parameters, inputs):
  del parameters
  model, observation, normals = (
    jnp.asarray(inputs[name]) for name in ("model", "observation", "normal")
  )
  _, found = expectation(model, observation, normals, _SIGMA, Mixture())
  return {
    "m0": found.mass,
    "target": found.targets,
    "momentum": found.squares,
    "target_normal": found.normals,
    "weight": found.weights,
  }


def estep_sigma(parameters, inputs):
  del parameters
  # The pair gives this case no inputs of its own: they are those of case estep.
  if not inputs:
    inputs = {
      "model": rule.array("estep/model", (80, 3), -0.1, 0.1),
      "observation": rule.array("estep/observation", (120, 3), -0.1, 0.1),
    }
  model, observation = (jnp.asarray(inputs[name]) for name in ("model", "observation"))
  _, found = expectation(model, observation, None, _SIGMA, Mixture())
  sigma = correspondences.updated_sigma(
    jnp.float32(_SIGMA), model + _MOVED, found, Mixture(), 0.0, jnp.inf
  )
  return {"sigma": sigma}


def kabsch(parameters, inputs):
  del parameters
  transform = rigid.fit(
    inputs["model"], inputs["target"], inputs["weight"], covariance_weight_power=2.0
  )
  return {
    "transform": transform,
    "probreg_rotation": transform[:3, :3],
    "probreg_translation": transform[:3, 3],
  }


def kabsch2d(parameters, inputs):
  del parameters
  rotation, translation = procrustes.procrustes(
    inputs["model"], inputs["target"], inputs["weight"], covariance_weight_power=2.0
  )
  return {"rotation": rotation, "translation": translation}


def twist(parameters, inputs):
  del parameters
  twists_ = jnp.asarray(inputs["twist"])
  return {
    "matrix": twists.twist_transform(twists_),
    "rotation_linear": jnp.eye(3) + rigid.cross_matrix(twists_[:, :3]),
    "point_jacobian": twists.point_jacobian(twists_[:, :3]),
  }


def point_to_plane(parameters, inputs):
  del parameters
  model, target, normal, weight = (
    jnp.asarray(inputs[name]) for name in ("model", "target", "normal", "weight")
  )
  matrix, right = twists.plane_systems(model, target, normal, weight)
  step = twists.solve_normal(matrix[0], right[0])
  residual = jnp.sum(normal * (model - target), axis=1)
  return {
    "JtJ": matrix[0],
    "Jte": -right[0],  # the authors' error is target - x
    "twist": step,
    "probreg_twist": step,
    "probreg_q": jnp.sum(jnp.square(weight * residual)),
  }


def filter_blur(parameters, inputs):
  del parameters
  feature, value = jnp.asarray(inputs["feature"]), inputs["value"]
  silent = np.zeros((len(feature) - len(value), value.shape[1]), value.dtype)
  value = jnp.concatenate([silent, value])
  sizes = [
    permutohedral.size(permutohedral.build(feature, blur=blur))
    for blur in (True, False)
  ]
  return {
    "blur": permutohedral.gaussian_filter(feature, value, blur=True),
    "no_blur": permutohedral.gaussian_filter(feature, value, blur=False),
    "lattice_size": jnp.stack(sizes),
  }


def em_step(outlier_ratio, update_sigma, parameters, inputs):
  """One iteration of probreg, which weights Kabsch by sqrt(w), squared in H."""
  del parameters
  mixture = Mixture(kernel="auto", outliers="normalised", outlier_ratio=outlier_ratio)
  source, target = (jnp.asarray(inputs[name]) for name in ("source", "target"))
  clouds = registration.center_clouds(source, target)
  initial = registration.pair_variance(source - clouds.center, clouds)
  sigma = jnp.sqrt(initial)
  filtered, found = expectation(source, target, None, sigma, mixture)
  roots = jnp.sqrt(found.weights)
  transform = rigid.fit(source, found.targets, roots, covariance_weight_power=2.0)
  variance = initial
  if update_sigma:  # probreg's points are those before the step
    variance = jnp.square(
      correspondences.updated_sigma(sigma, source, found, mixture, 0.0, jnp.inf)
    )
  distances = jnp.linalg.norm(source - found.targets, axis=1)
  return {
    "sigma2_initial": initial,
    "m0": filtered[:, 0],
    "m1": filtered[:, 1:4],
    "m2": filtered[:, 4],
    "rotation": transform[:3, :3],
    "translation": transform[:3, 3],
    "sigma2": variance,
    "q": jnp.sum(roots / sigma * distances),
  }


def cpd_step(parameters, inputs):
  del parameters
  source, target = (jnp.asarray(inputs[name]) for name in ("source", "target"))
  clouds = registration.center_clouds(source, target)
  initial = registration.pair_variance(clouds.model, clouds)
  drift = baselines.drift_expectation(clouds.model, clouds, initial, 0.3)
  transform, _, parts = baselines.drift_maximization(
    clouds.model, clouds.observation, drift
  )
  transform = registration.shift(transform, -clouds.center)
  total = jnp.sum(drift.model_mass)
  # probreg counts the covariance in σ² once where Myronenko and Song, as
  # drift_maximization does, have it twice.
  variance = (parts[0] + parts[1] - parts[2] / 2) / (3 * total)
  q = (parts[0] + parts[1] - parts[2]) / (2 * variance)
  return {
    "sigma2_initial": initial,
    "p1": drift.model_mass,
    "pt1": drift.observed_mass,
    "px": drift.targets + drift.model_mass[:, None] * clouds.center,
    "rotation": transform[:3, :3],
    "translation": transform[:3, 3],
    "sigma2": variance,
    "q": q + 1.5 * total * jnp.log(variance),
  }


ADAPTERS = {
  "lattice3": lattice,
  "lattice6": lattice,
  "estep": estep,
  "estep_sigma": estep_sigma,
  "kabsch": kabsch,
  "kabsch2d": kabsch2d,
  "twist": twist,
  "point_to_plane": point_to_plane,
  "filter_blur": filter_blur,
  "em_step_0": functools.partial(em_step, 0.0, False),
  "em_step_1": functools.partial(em_step, 0.2, True),
  "cpd_step": cpd_step,
}
ADAPTERS = {name: jax.jit(adapter) for name, adapter in ADAPTERS.items()}
