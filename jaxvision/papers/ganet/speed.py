"""How long the guided layers take, beside a pass over the volume's memory."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.ops.aggregation import (
  classical_semi_global_matching,
  normalize_weights,
  semi_global_aggregation,
)
from jaxvision.ops.local_aggregation import local_guided_aggregation

SHAPE = (1, 48, 64, 128, 8)  # the volume


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns a row for each layer, forward and with its gradient.

  Args:
    seconds: call -> its median time in seconds.
  """
  batch, _, height, width, channels = SHAPE
  keys = jax.random.split(jax.random.key(0), 3)
  cost = jax.random.normal(keys[0], SHAPE)
  weights = jax.random.normal(keys[1], (batch, height, width, 4, 5, channels))
  weights = normalize_weights(weights, axis=-2)
  volume = cost[..., 0]
  filters = jax.random.normal(keys[2], (batch, height, width, 3, 5, 5))
  filters = normalize_weights(filters, axis=(-3, -2, -1))

  def gradient(layer):
    return jax.jit(
      lambda x, w: jax.vjp(layer, x, w)[1](jnp.ones_like(x)),
    )

  lga = functools.partial(local_guided_aggregation, repeats=2)
  calls = {
    "read and write the volume": (jax.jit(lambda x: x + 1), (cost,)),
    "SGA forward": (jax.jit(semi_global_aggregation), (cost, weights)),
    "SGA forward and backward": (gradient(semi_global_aggregation), (cost, weights)),
    "LGA twice, forward": (jax.jit(lga), (volume, filters)),
    "LGA twice, forward and backward": (gradient(lga), (volume, filters)),
    "classical SGM": (
      jax.jit(functools.partial(classical_semi_global_matching)),
      (volume, 0.1, 1.0),
    ),
  }
  table = []
  for name, (function, arguments) in calls.items():
    duration = seconds(functools.partial(function, *arguments))
    row = {"name": name, "milliseconds": 1e3 * duration}
    if name.startswith("SGA"):
      row["passes"] = row["milliseconds"] / table[0]["milliseconds"]
      memory = function.lower(*arguments).compile().memory_analysis()
      row["temporaries_in_volumes"] = memory.temp_size_in_bytes / cost.nbytes
    table.append(row)
  return table
