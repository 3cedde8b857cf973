"""How fast the networks are, beside bare convolutions of the same arithmetic."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.papers.stylegan import configurations, growing, training
from jaxvision.papers.stylegan.synthesis import widths

RESOLUTION, BATCH = 256, 4
# The training step is timed on a quarter of the paper's channels: in full it would
# take minutes on a CPU.
STEP_RESOLUTION = 64
STEP_SIZES = {"base": 2048, "largest": 128}
# Passes of each network in a step by what is differentiated: () nothing, (0,) by the
# input, (0, 1) by the kernel too. Generator: one for the discriminator's step, one and
# its gradient for its own. Discriminator: fakes and their gradient; reals, their
# gradient by images, and the gradient of both by parameters, which is as much again;
# images' gradient for the generator's step.
_GENERATOR_PASSES = {(): 1, (0, 1): 1}
_DISCRIMINATOR_PASSES = {(0, 1): 3, (0,): 1}


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns the benchmark's rows.

  Args:
    seconds: call -> its median time.
  """
  return _generator_rows(seconds) + _step_rows(seconds)


def _generator_rows(seconds):
  network = configurations.generator("F", RESOLUTION)
  z = jnp.ones((BATCH, 512))
  variables = _filled(jax.eval_shape(network.init, jax.random.key(0), z))
  forward = jax.jit(network.apply)
  bare, flops = bare_convolutions(generator_layers(widths(RESOLUTION)), BATCH)
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


def _step_rows(seconds):
  side = STEP_RESOLUTION
  both = training.Adversaries(
    configurations.generator("F", side, **STEP_SIZES),
    configurations.discriminator("F", side, **STEP_SIZES),
    latent=512,
  )
  segment = growing.Segment(0, side, False, BATCH, 1e-3, 1, 0.0, 0.0, 0)
  stage = both.stage("step", segment)
  shapes = jax.eval_shape(stage.init, jax.random.key(0))
  state = _filled(shapes.replace(rng=None)).replace(rng=jax.random.key(0))
  state = both.enter(state, segment, jax.random.key(0))
  batch = {"images": jnp.zeros((BATCH, side, side, 3), jnp.uint8)}
  step = jax.jit(stage.step)

  channels = widths(side, **STEP_SIZES)
  total, forwards, floor = 0, 0.0, 0.0
  for layers, passes in (
    (generator_layers(channels), _GENERATOR_PASSES),
    (discriminator_layers(channels), _DISCRIMINATOR_PASSES),
  ):
    bare, flops = bare_convolutions(layers, BATCH)
    # A gradient has as many operations as the convolution itself.
    products = sum(times * (1 + len(by)) for by, times in passes.items())
    total, forwards = total + products * flops, forwards + products * seconds(bare)
    for by, times in passes.items():
      floor += times * seconds(bare_convolutions(layers, BATCH, by)[0])
  ours = seconds(lambda: step(state, batch))
  name = f"stylegan/{BATCH} x {side} x {side}, {channels[0]} channels"
  return [
    {"name": f"{name} bare convolutions of a step", "milliseconds": 1e3 * floor},
    {
      "name": f"{name} training step",
      "milliseconds": 1e3 * ours,
      "gflops_per_second": total / ours / 1e9,
      "times_bare_convolutions": ours / floor,
      "times_bare_forwards": ours / forwards,
    },
  ]


Layer = tuple[int, int, int, int]  # side of the output, window, inputs, outputs


def generator_layers(channels: Sequence[int]) -> list[Layer]:
  """Returns a generator's convolutions; `channels` are at 4, 8, ... pixels.

  A layer that doubles the map has four taps for each output, and stands here as a
  window of 2 x 2 on the doubled map.
  """
  layers = []
  for stage, outputs in enumerate(channels):
    side = 4 * 2**stage
    layers += [(side, 3, outputs, outputs), (side, 1, outputs, 3)]
    if stage:
      layers.append((side, 2, channels[stage - 1], outputs))
  return layers


def discriminator_layers(channels: Sequence[int]) -> list[Layer]:
  """Returns a discriminator's convolutions.

  A layer that halves the map has sixteen taps for each output.
  """
  layers = [(4 * 2 ** (len(channels) - 1), 1, 3, channels[-1])]
  layers.append((4, 3, channels[0] + 1, channels[0]))
  for stage in range(1, len(channels)):
    side = 4 * 2**stage
    layers.append((side, 3, channels[stage], channels[stage]))
    layers.append((side // 2, 4, channels[stage], channels[stage - 1]))
  return layers


def bare_convolutions(
  layers: Sequence[Layer], batch: int, by: tuple[int, ...] = ()
) -> tuple[Callable, int]:
  """Returns a call of XLA's convolutions of these layers, and the FLOPs of one pass.

  Args:
    layers: the convolutions.
    batch: images.
    by: which of XLA's gradients are taken besides: 0 by the input, 1 by the kernel.
  """
  flops = sum(2 * batch * s**2 * k**2 * i * o for s, k, i, o in layers)
  inputs = [
    (jnp.ones((batch, side, side, i)), jnp.ones((k, k, i, o)))
    for side, k, i, o in layers
  ]

  def convolve(x, kernel):
    return lax.conv_general_dilated(
      x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

  @jax.jit
  def run(inputs):
    if not by:
      return [convolve(*pair) for pair in inputs]
    energy = jax.value_and_grad(lambda *pair: jnp.sum(jnp.square(convolve(*pair))), by)
    return [energy(*pair) for pair in inputs]

  return lambda: run(inputs), flops


def _filled(shapes):
  """Returns a tree of normal numbers, which take no compilation to draw."""
  rng = np.random.default_rng(0)

  def fill(leaf):
    return jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)

  return jax.tree.map(fill, shapes)
