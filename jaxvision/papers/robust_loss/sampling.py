"""Does the sampler draw from the density? (C5)"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import robust

_nll = jax.jit(robust.nll)


@functools.cache
def distribution_function(alpha: float) -> tuple[np.ndarray, np.ndarray]:
  """Returns points x > 0 and the probability of a residual in [-x, x], at scale 1.

  Integrated numerically in log x, where heavy tails are short.

  Args:
    alpha: shape α ≥ 0.
  """
  log_x = np.linspace(-14.0, 32.0, 40_001)
  x = np.exp(log_x)
  density = 2 * np.exp(-np.asarray(_nll(jnp.array(x, float), alpha, 1.0), np.float64))
  mass = 0.5 * (density[1:] * x[1:] + density[:-1] * x[:-1]) * np.diff(log_x)
  first = density[0] * x[0]  # the density is flat below the first point
  return x, np.concatenate([[first], first + np.cumsum(mass)])


def kolmogorov_smirnov(draws: chex.Array, alpha: float) -> float:
  """Returns the largest difference of the empirical and the true distribution.

  Args:
    draws: [N] of `robust.sample` at scale 1.
    alpha: their shape.
  """
  chex.assert_rank(draws, 1)
  draws = np.sort(np.asarray(draws, np.float64))
  x, inside = distribution_function(alpha)
  within = np.interp(np.abs(draws), x, inside, left=0.0)
  expected = 0.5 * (1 + np.sign(draws) * within)
  steps = np.arange(len(draws) + 1) / len(draws)
  return float(
    max(np.max(np.abs(expected - steps[:-1])), np.max(np.abs(expected - steps[1:])))
  )
