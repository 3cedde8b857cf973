"""Birkhoff-RLMC: samples around the optimum by Riemannian Langevin dynamics."""

import dataclasses
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import birkhoff
from jaxvision.papers.permutation_sync.problem import (
  Problem,
  energy_and_gradient,
  relative,
)


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
  """Of the sampler.

  Attributes:
    step: h.
    beta: β of the density exp(-β U).
    samples: that are kept: all after `burn_in`.
    burn_in: samples that are not.
    noise: how the noise Z meets the metric. "scaled", the authors' pointer and the
      default: Π_X(X ⊙ (-h ∂U + sqrt(2h/β) Z)). "literal", Eq. 16 as printed:
      Π_X(-h grad U + sqrt(2h/β) Z), which explodes for small entries unless clipped.
      "exact" for the metric: Π_X(-h X ⊙ ∂U + sqrt(2h/β) sqrt(X) ⊙ Z).
    clip: largest |V / X| of a step; None does not clip.
    sweeps: of Sinkhorn in a retraction.
    sinkhorn_tolerance: at which they end.
  """

  step: float = 1e-4
  beta: float = 0.1
  samples: int = 1000
  burn_in: int = 0
  noise: Literal["scaled", "literal", "exact"] = "scaled"
  clip: float | None = 3.0
  sweeps: int = 60
  sinkhorn_tolerance: float = 1e-5


DEFAULT = SamplerConfig()


class Samples(NamedTuple):
  """What `sample` draws.

  Attributes:
    certainty: [M, n, n] mean of X_i X_jᵀ over the samples; rows sum to 1.
    energies: [samples] U of each.
    points: [samples / thin, N, n, n] every thin-th sample; empty with thin 0.
    last: [N, n, n] the last sample.
  """

  certainty: chex.Array
  energies: chex.Array
  points: chex.Array
  last: chex.Array


def tangent_step(
  points: chex.Array,
  gradient: chex.Array,
  noise: chex.Array,
  config: SamplerConfig = DEFAULT,
) -> chex.Array:
  """Returns the tangent vector V [N, n, n] of one step, before the retraction.

  It descends: as β grows to infinity it is Riemannian gradient descent.

  Args:
    points: [N, n, n] X.
    gradient: [N, n, n] Euclidean gradient of U.
    noise: [N, n, n] Z, standard normal.
    config: of the sampler.

  Source: Eq. 16-17; M13.
  """
  chex.assert_equal_shape([points, gradient, noise])
  spread = (2 * config.step / config.beta) ** 0.5 * noise
  drift = -config.step * gradient
  if config.noise == "scaled":
    ambient = points * (drift + spread)
  elif config.noise == "literal":
    ambient = birkhoff.project(points, points * drift) + spread
  elif config.noise == "exact":
    ambient = points * drift + jnp.sqrt(points) * spread
  else:
    raise ValueError(f"noise is 'scaled', 'literal' or 'exact', not {config.noise!r}")
  vector = birkhoff.project(points, ambient)
  if config.clip is None:
    return vector
  return jnp.clip(vector, -config.clip * points, config.clip * points)


def move(
  points: chex.Array, vector: chex.Array, config: SamplerConfig = DEFAULT
) -> chex.Array:
  """Returns the retraction of a step."""
  return birkhoff.retract(
    points, vector, sweeps=config.sweeps, tolerance=config.sinkhorn_tolerance
  )


def sample(
  key: chex.PRNGKey,
  points: chex.Array,
  problem: Problem,
  config: SamplerConfig = DEFAULT,
  *,
  thin: int = 0,
) -> Samples:
  """Draws a chain from exp(-β U), started at the MAP estimate's soft maps.

  The chain is not adjusted: no step is refused.

  Args:
    key: of the noise.
    points: [N, n, n] where the chain starts.
    problem: of N images with n key points.
    config: of the sampler; static under jit.
    thin: every thin-th sample is kept as it is; none for 0.
  """

  def advance(state, key):
    points, gradient = state
    noise = jax.random.normal(key, points.shape, points.dtype)
    points = move(points, tangent_step(points, gradient, noise, config), config)
    value, gradient = energy_and_gradient(points, problem)
    return (points, gradient), value

  def draw(state, key):
    chain, certainty = state
    chain, value = advance(chain, key)
    return (chain, certainty + relative(chain[0], problem.edges)), value

  def draw_several(state, keys):
    state, values = jax.lax.scan(draw, state, keys)
    return state, (values, state[0][0])

  burn_key, key = jax.random.split(key)
  chain = points, energy_and_gradient(points, problem)[1]
  if config.burn_in:
    burn_keys = jax.random.split(burn_key, config.burn_in)
    chain, _ = jax.lax.scan(advance, chain, burn_keys)
  state = chain, jnp.zeros_like(problem.matches)
  keys = jax.random.split(key, config.samples)
  if thin:
    if config.samples % thin:
      raise ValueError(f"{config.samples} samples do not divide by thin {thin}")
    keys = keys.reshape(-1, thin)
    ((last, _), total), (values, kept) = jax.lax.scan(draw_several, state, keys)
  else:
    ((last, _), total), values = jax.lax.scan(draw, state, keys)
    kept = jnp.zeros((0, *points.shape), points.dtype)
  return Samples(total / config.samples, values.reshape(-1), kept, last)
