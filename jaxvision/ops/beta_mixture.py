"""A mixture of two beta distributions, fitted to values in [0, 1]."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.scipy import special

# A steep density at the ends keeps a component where it started.
_LARGEST_END = 0.8
# Below it float64, in which the method was published, knows no density.
_SMALLEST_LOG = -745.0


class BetaMixture(NamedTuple):
  """Two beta distributions, the one of low values first.

  Attributes:
    a, b: [2] shapes.
    weights: [2] that sum to 1.
    iterations: [] int32.
  """

  a: chex.Array
  b: chex.Array
  weights: chex.Array
  iterations: chex.Array

  @property
  def means(self) -> chex.Array:
    return self.a / (self.a + self.b)


def fit(
  values: chex.Array, *, tolerance: float = 1e-4, iterations: int = 1000
) -> BetaMixture:
  """Returns the mixture that the iterated method of moments finds.

  The first component starts from the values in [0, 1/3], the second from those in
  [2/3, 1]. Values 0 and 1, where densities are 0 or infinite, belong to the component
  of their side.

  Args:
    values: [...] in [0, 1], at least one.
    tolerance: largest relative change of a parameter at which it stops.
    iterations: at most so many.

  Source: Schröder and Rahmann, A hybrid parameter estimation algorithm for beta
    mixtures and applications to methylation state classification, 2017.
  """
  chex.assert_type(values, float)
  values = values.reshape(-1)
  logs = jnp.log(values), jnp.log1p(-values)

  def advance(carry):
    parameters, _, step = carry
    shares = _shares(values, *logs, *parameters)
    amounts = jnp.sum(shares, axis=1)
    safe = jnp.maximum(amounts, jnp.finfo(values.dtype).tiny)
    mean = jnp.sum(shares * values, axis=1) / safe
    away = jnp.square(values - mean[:, None])
    variance = jnp.sum(shares * away, axis=1) / safe
    new = *_shapes(mean, variance), amounts / values.size
    changes = [_relative_change(x, y) for x, y in zip(new, parameters, strict=True)]
    return new, jnp.max(jnp.stack(changes)), step + 1

  start = _start(values), jnp.asarray(jnp.inf, values.dtype), jnp.zeros((), jnp.int32)
  (a, b, weights), _, steps = jax.lax.while_loop(
    lambda carry: (carry[1] >= tolerance) & (carry[2] < iterations), advance, start
  )
  return BetaMixture(a, b, weights, steps)


def _start(values):
  """Returns a, b and weights of the two outer thirds."""
  third = 1 / 3
  inside = jnp.stack([values <= third, values >= 2 * third])
  counts = jnp.sum(inside, axis=1).astype(values.dtype)
  safe = jnp.maximum(counts, 1.0)
  mean = jnp.sum(jnp.where(inside, values, 0.0), axis=1) / safe
  away = jnp.where(inside, jnp.square(values - mean[:, None]), 0.0)
  variance = jnp.sum(away, axis=1) / safe
  mean = jnp.where(counts > 0, mean, jnp.asarray([third / 2, 1 - third / 2]))
  variance = jnp.where(variance > 0, variance, third / (12 * (counts + 1)))
  a, b = _shapes(mean, variance)
  a = a.at[0].min(_LARGEST_END)
  b = b.at[1].min(_LARGEST_END)
  return a, b, counts / jnp.maximum(jnp.sum(counts), 1.0)


def _shapes(mean, variance):
  """Returns the a and b of beta distributions by their moments."""
  tiny = jnp.finfo(mean.dtype).tiny
  strength = mean * (1 - mean) / jnp.maximum(variance, tiny) - 1
  # All in one place at 0 or 1 has no shape: the least one keeps numbers finite.
  strength = jnp.maximum(strength, 1e-6)
  return strength * mean, strength * (1 - mean)


def _shares(values, log_values, log_rest, a, b, weights):
  """Returns each component's share of each value, [2, N]."""
  a, b, weights = a[:, None], b[:, None], weights[:, None]
  low = _power(a - 1, log_values)
  high = _power(b - 1, log_rest)
  logits = jnp.log(weights) + low + high - special.betaln(a, b)
  logits = jnp.where(logits < _SMALLEST_LOG, -jnp.inf, logits)
  largest = jnp.max(logits, axis=0)
  shares = jnp.exp(logits - jnp.where(jnp.isfinite(largest), largest, 0.0))
  shares = shares / jnp.sum(shares, axis=0)
  sides = jnp.stack([values < 0.5, values >= 0.5]).astype(values.dtype)
  return jnp.where(jnp.isfinite(largest), shares, sides)


def _power(exponent, logarithm):
  """Returns the logarithm of a power, 0 for exponent 0."""
  product = exponent * jnp.where(exponent == 0, 0.0, logarithm)
  return jnp.where(exponent == 0, 0.0, product)


def _relative_change(new, old):
  largest = jnp.maximum(jnp.abs(new), jnp.abs(old))
  changes = jnp.abs(new - old) / jnp.where(largest > 0, largest, 1.0)
  return jnp.max(changes)
