"""How fast the generator is, beside bare convolutions of the same arithmetic."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.papers.stylegan import configurations
from jaxvision.papers.stylegan.synthesis import widths

RESOLUTION, BATCH = 256, 4


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns the benchmark's rows.

  Args:
    seconds: call -> its median time.
  """
  network = configurations.generator("F", RESOLUTION)
  z = jnp.ones((BATCH, 512))
  shapes = jax.eval_shape(network.init, jax.random.key(0), z)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes
  )
  forward = jax.jit(network.apply)
  bare, flops = bare_convolutions(widths(RESOLUTION))
  ours, floor = seconds(lambda: forward(variables, z)), seconds(bare)
  name = f"stylegan/{BATCH} x {RESOLUTION} x {RESOLUTION}"
  return [
    {"name": f"{name} bare convolutions", "milliseconds": 1e3 * floor},
    {
      "name": f"{name} generator",
      "milliseconds": 1e3 * ours,
      "gflops_per_second": flops / ours / 1e9,
      "times_bare_convolutions": ours / floor,
    },
  ]


def bare_convolutions(channels: tuple[int, ...]) -> tuple[Callable, int]:
  """Returns a call of XLA's convolutions with a generator's shapes, and its FLOPs.

  A layer that doubles the map has four taps for each output, and stands here as a
  window of 2 x 2 on the doubled map.

  Args:
    channels: at 4 x 4, 8 x 8, ... pixels.
  """
  layers, flops = [], 0
  for stage, outputs in enumerate(channels):
    side = 4 * 2**stage
    below = channels[max(stage - 1, 0)]
    shapes = [(3, outputs, outputs), (1, outputs, 3)]
    if stage:
      shapes.append((2, below, outputs))
    for window, inputs, filters in shapes:
      x = jnp.ones((BATCH, side, side, inputs))
      layers.append((x, jnp.ones((window, window, inputs, filters))))
      flops += 2 * BATCH * side**2 * window**2 * inputs * filters

  @jax.jit
  def run(layers):
    return [
      lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
      )
      for x, kernel in layers
    ]

  return lambda: run(layers), flops
