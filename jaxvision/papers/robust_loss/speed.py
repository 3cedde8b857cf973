"""How long the loss takes, beside the plainest robust loss there is."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.ops import robust

_COUNT = 10_000_000


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns the time of value and gradient of ten million residuals.

  Args:
    seconds: median time of a call.

  Returns:
    a row for √(x² + 1) - 1 and one for the general loss, with "over_reference".
  """
  x = jax.random.normal(jax.random.key(0), (_COUNT,))
  alpha, scale = jnp.float32(1.3), jnp.float32(0.7)

  def reference(x):
    return jnp.sum(jnp.sqrt(x * x + 1) - 1)

  def general(x, alpha, scale):
    return jnp.sum(robust.loss(x, alpha, scale))

  plain = jax.jit(jax.value_and_grad(reference))
  ours = jax.jit(jax.value_and_grad(general))
  base = seconds(functools.partial(plain, x))
  time = seconds(functools.partial(ours, x, alpha, scale))
  return [
    {"name": "√(x² + 1) - 1, 10 million", "milliseconds": 1e3 * base},
    {
      "name": "general robust loss, 10 million",
      "milliseconds": 1e3 * time,
      "over_reference": time / base,
    },
  ]
