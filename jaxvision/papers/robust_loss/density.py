"""Densities of photographs' patches: the loss's likelihood without any network (C2).

Each coefficient of a patch, in some representation and about the mean patch, gets a
distribution of its own, whose shape and scale are learned by descending the negative
log-likelihood.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvision.nn import robust_losses
from jaxvision.papers.robust_loss.likelihoods import (
  REPRESENTATIONS,
  Bounds,
  likelihood,
)

_BOUNDS = Bounds(scale_init=0.1)


@dataclasses.dataclass(frozen=True)
class Fit:
  """How a density is fitted.

  Attributes:
    steps: of Adam.
    batch: patches a step.
    rate: learning rate; a cosine takes it to 0 over the last fifth of the steps.
    levels: of the wavelets.
    bounds: of the parameters.
  """

  steps: int = 600
  batch: int = 64
  rate: float = 0.1
  levels: int = 4
  bounds: Bounds = _BOUNDS


class Density(NamedTuple):
  """A fitted density.

  Attributes:
    mean: [H, W, 3] the mean patch.
    params: of the distribution's module.
  """

  mean: chex.Array
  params: dict


def schedule(rate: float, steps: int) -> optax.Schedule:
  """Returns the paper's: constant, then a cosine to 0 over the last 20 % of steps."""
  constant = round(0.8 * steps)
  return optax.join_schedules(
    [
      optax.constant_schedule(rate),
      optax.cosine_decay_schedule(rate, max(steps - constant, 1)),
    ],
    [constant],
  )


def coefficients(
  patches: chex.Array, mean: chex.Array, representation: str, levels: int
) -> chex.Array:
  """Returns [N, H W 3] coefficients of patches about a mean.

  Args:
    patches: [N, H, W, 3] in [0, 1].
    mean: [H, W, 3].
    representation: a key of REPRESENTATIONS.
    levels: of the wavelets.
  """
  chex.assert_rank(patches, 4)
  color, basis = REPRESENTATIONS[representation]
  found = robust_losses.to_coefficients(patches - mean, color, basis, levels=levels)
  return found.reshape(len(patches), -1)


def fit(
  key: chex.PRNGKey,
  patches: chex.Array,
  distribution: str,
  representation: str,
  config: Fit = Fit(),
) -> Density:
  """Returns the density that makes patches likely.

  Args:
    key: of the batches.
    patches: [N, H, W, 3] in [0, 1].
    distribution: one of DISTRIBUTIONS.
    representation: a key of REPRESENTATIONS.
    config: of the fit.
  """
  chex.assert_type(patches, float)
  mean = jnp.mean(patches, axis=0)
  matrix = _coefficients(patches, mean, representation, config.levels)
  return Density(mean, _descend(key, matrix, distribution, config))


def log_likelihood(
  density: Density,
  patches: chex.Array,
  distribution: str,
  representation: str,
  config: Fit = Fit(),
) -> chex.Array:
  """Returns the mean log-likelihood of patches [N, H, W, 3], in nats a patch."""
  matrix = _coefficients(patches, density.mean, representation, config.levels)
  return _mean_log_likelihood(density.params, matrix, distribution, config.bounds)


def shape_and_scale(
  density: Density, config: Fit = Fit()
) -> tuple[chex.Array, chex.Array]:
  """Returns α and c of every coefficient, [H, W, 3] each, of an "adaptive" density."""
  module = likelihood("adaptive", (density.mean.size,), config.bounds)
  variables = {"params": density.params}
  return tuple(
    module.apply(variables, method=name).reshape(density.mean.shape)
    for name in ("alpha", "scale")
  )


_coefficients = functools.partial(jax.jit, static_argnums=(2, 3))(coefficients)


# The same for all representations: they differ in the matrix alone.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _descend(key, matrix, distribution, config):
  module = likelihood(distribution, matrix.shape[1:], config.bounds)
  optimizer = optax.adam(schedule(config.rate, config.steps))

  def loss(params, key):
    chosen = jax.random.randint(key, (config.batch,), 0, len(matrix))
    losses = module.apply({"params": params}, matrix[chosen])
    return jnp.sum(losses) / config.batch

  def step(carry, key):
    params, state = carry
    updates, state = optimizer.update(jax.grad(loss)(params, key), state)
    return (optax.apply_updates(params, updates), state), None

  params = module.init(key, matrix[:1])["params"]
  start = params, optimizer.init(params)
  keys = jax.random.split(key, config.steps)
  return jax.lax.scan(step, start, keys)[0][0]


@functools.partial(jax.jit, static_argnums=(2, 3))
def _mean_log_likelihood(params, matrix, distribution, bounds):
  module = likelihood(distribution, matrix.shape[1:], bounds)
  return -jnp.sum(module.apply({"params": params}, matrix)) / len(matrix)
