"""How fast the networks are, beside bare convolutions of the same shapes."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.nn.convolution import Conv
from jaxvision.nn.spectral_norm import SpectralConv
from jaxvision.ops import padding as paddings
from jaxvision.papers.spade import training, variants
from jaxvision.papers.spade.discriminator import Discriminator
from jaxvision.papers.spade.generator import Generator
from jaxvision.train import jit_once

# The training step that is timed: a demo's.
CLASSES, SIDE, BATCH, FEATURES = 8, 64, 4, 16

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class Shape(NamedTuple):
  """A convolution that a network calls: x [B, H, W, C] with kernel [k, k, C, O]."""

  x: tuple[int, ...]
  kernel: tuple[int, ...]
  strides: tuple[int, ...]
  padding: paddings.Amounts

  def __call__(self, x: chex.Array, kernel: chex.Array) -> chex.Array:
    return lax.conv_general_dilated(
      x, kernel, self.strides, self.padding, dimension_numbers=_LAYOUT
    )

  def draw(self) -> tuple[chex.Array, chex.Array]:
    key = jax.random.key(0)
    return jax.random.normal(key, self.x), jax.random.normal(key, self.kernel)


def convolutions(network: nn.Module, *inputs: Any) -> list[Shape]:
  """Returns the convolutions of a network's pass, in the order of their calls.

  Args:
    network: one without transposed convolutions.
    inputs: of its call, or their `jax.ShapeDtypeStruct`.
  """
  found = []

  def record(call, args, kwargs, context):
    layer = context.module
    if isinstance(layer, Conv | SpectralConv) and context.method_name == "__call__":
      x = args[0].shape
      strides = paddings.per_axis(layer.strides, 2, "strides")
      amounts = paddings.convolution_padding(
        layer.padding, x[1:3], layer.kernel_size, strides
      )
      kernel = (*layer.kernel_size, x[-1], layer.features)
      found.append(Shape(x, kernel, strides, amounts))
    return call(*args, **kwargs)

  with nn.intercept_methods(record):
    jax.eval_shape(network.init, jax.random.key(0), *inputs)
  return found


def bare(
  shapes: Sequence[Shape], argnums: tuple[int, ...] = ()
) -> Callable[[], list[chex.Array]]:
  """Returns a call that runs convolutions one after the other.

  Args:
    shapes: the convolutions.
    argnums: which gradients are taken besides: 0 of the input, 1 of the kernel.
  """
  arrays = [shape.draw() for shape in shapes]

  @jax.jit
  def run(arrays):
    results = []
    for shape, (x, kernel) in zip(shapes, arrays, strict=True):
      if argnums:
        total = functools.partial(_energy, shape)
        results.append(jax.value_and_grad(total, argnums)(x, kernel))
      else:
        results.append(shape(x, kernel))
    return results

  return functools.partial(run, arrays)


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns rows of the paper's generator at 256 x 256 and of a training step.

  Args:
    seconds: call -> its median time in seconds.
  """
  data = variants.DATA_SETS["ade20k"]
  generator = variants.networks("spade", data).generator
  maps = jnp.zeros((1, *data.shape, data.channels)).at[..., 0].set(1.0)
  variables = jit_once(generator.init)(jax.random.key(0), maps)
  table = [
    _row(
      "generator, 256 x 256",
      seconds(functools.partial(jax.jit(generator.apply), variables, maps)),
      seconds(bare(convolutions(generator, maps))),
    )
  ]
  step, state, batch = demo_step()
  networks = demo_networks()
  maps = training.encode(networks, batch)
  ours = convolutions(networks.generator, maps)
  pair = jnp.concatenate([maps, maps]), jnp.concatenate([batch["images"]] * 2)
  judged = convolutions(networks.discriminator, *pair)
  parts = [
    bare(ours, (0, 1)),  # the generator's step
    bare(judged, (0,)),
    bare(ours),  # the discriminator's
    bare(judged, (0, 1)),
  ]
  compiled = jax.jit(step)
  table.append(
    _row(
      f"training step, {BATCH} of {SIDE} x {SIDE}, {FEATURES} features",
      seconds(lambda: compiled(state, batch)),
      sum(map(seconds, parts)),
    )
  )
  return table


def demo_networks() -> training.Networks:
  """Returns the networks of the training step that is timed."""
  return training.Networks(
    Generator(FEATURES, crop_size=SIDE),
    Discriminator(features=FEATURES),
    num_classes=CLASSES,
  )


def demo_step() -> tuple[Callable, Any, dict[str, chex.Array]]:
  """Returns step, state and batch of the training step that is timed."""
  networks, optimizers = demo_networks(), training.two_time_scales()
  key = jax.random.key(0)
  batch = {
    "labels": jax.random.randint(key, (BATCH, SIDE, SIDE), 0, CLASSES),
    "images": jax.random.uniform(key, (BATCH, SIDE, SIDE, 3)),
  }
  step = training.make_step(networks, training.Objective(), optimizers)
  init = functools.partial(training.init, networks, optimizers=optimizers)
  return step, jit_once(init)(key, batch), batch


def _energy(shape, x, kernel):
  return jnp.sum(jnp.square(shape(x, kernel)))


def _row(name, duration, plain):
  return {
    "name": f"spade/{name}",
    "milliseconds": 1e3 * duration,
    "bare_convolutions_milliseconds": 1e3 * plain,
    "ratio": duration / plain,
  }
