"""Our Birkhoff polytope in the places of the authors' C++ and of geoopt."""

import jax
import jax.numpy as jnp

from jaxvision.ops import birkhoff, sinkhorn
from jaxvision.papers.permutation_sync import Problem, SamplerConfig, langevin
from jaxvision.papers.permutation_sync.problem import energy, gradient

# Of the case's description: constants of the authors' call, not of its numbers.
STEP, BETA = 0.001, 0.1


def sinkhorn_forms(parameters, inputs):
  del parameters
  matrix = jnp.asarray(inputs["A"])
  return {
    # Their test of convergence cannot be met.
    "ceres": sinkhorn.balance(matrix, sweeps=40, tolerance=0.0, epsilon=0.0),
    "geoopt": sinkhorn.balance(matrix, sweeps=100, tolerance=1e-5, epsilon=1e-12),
  }


def geometry(parameters, inputs):
  del parameters
  point, ambient, other, tangent = (
    jnp.asarray(inputs[name]) for name in ("X", "Y", "Z", "xi")
  )
  projection = birkhoff.project(point, ambient)
  projection_of_other = birkhoff.project(point, other)
  retraction = birkhoff.retract(point, tangent)
  return {
    "projection": projection,
    "projection_Z": projection_of_other,
    "riemannian_gradient": birkhoff.riemannian_gradient(point, ambient),
    "retraction": retraction,
    "inner": birkhoff.inner(point, projection, projection_of_other),
    "transport": birkhoff.transport(point, retraction, projection),
  }


def _problem(inputs):
  edges = jnp.asarray(inputs["edges"], jnp.int32)
  return jnp.asarray(inputs["X"]), Problem(edges, jnp.asarray(inputs["P"]))


def energy_case(parameters, inputs):
  del parameters
  points, problem = _problem(inputs)
  euclidean = gradient(points, problem)
  return {
    "U": energy(points, problem),
    "gradient": euclidean,
    "riemannian_gradient": birkhoff.riemannian_gradient(points, euclidean),
  }


def langevin_step(parameters, inputs):
  del parameters
  points, problem = _problem(inputs)
  config = SamplerConfig(step=STEP, beta=BETA, clip=None, sweeps=100)
  noise = jnp.asarray(inputs["noise"])
  vector = langevin.tangent_step(points, gradient(points, problem), noise, config)
  return {"V": vector, "X_next": langevin.move(points, vector, config)}


ADAPTERS = {
  "sinkhorn": jax.jit(sinkhorn_forms),
  "geometry": jax.jit(geometry),
  "energy": jax.jit(energy_case),
  "langevin_step": jax.jit(langevin_step),
}
