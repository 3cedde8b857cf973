"""How long correlation, warps, and the network of 384 x 512 frames take."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.correlation import local_correlation
from jaxvision.ops.warp import backward_warp
from jaxvision.papers.selflow import training
from jaxvision.papers.selflow.network import SelFlow
from jaxvision.train import jit_once

SIZE = (384, 512)


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns a row for each operation, the network's inference, a step of training.

  Args:
    seconds: call -> its median time in seconds.
  """
  rng = np.random.default_rng(0)

  def random(*shape):
    return jax.device_put(rng.random(shape, np.float32))

  height, width = SIZE
  pair = random(2, 1, height // 4, width // 4, 32)
  cotangent = random(1, height // 4, width // 4, 81)

  def correlation_gradients(first, second, cotangent):
    _, pull = jax.vjp(local_correlation, first, second)
    return pull(cotangent)

  image, flow = random(1, height, width, 3), 8 * random(1, height, width, 2) - 4
  table = []
  for name, function, arguments in (
    ("correlation 81 x 96 x 128 x 32", local_correlation, tuple(pair)),
    ("its gradients", correlation_gradients, (*pair, cotangent)),
    ("warp 384 x 512 x 3, clamp", backward_warp, (image, flow)),
    (
      "warp 384 x 512 x 3, truncate",
      functools.partial(backward_warp, border="truncate"),
      (image, flow),
    ),
  ):
    table.append(_row(name, function, arguments, seconds))

  stage = training.stage(
    "census",
    SelFlow(),
    training.Objective(),
    training.optimizer(1e-4, halve_every=50_000),
    training.batch_shapes(1, height, width),
  )
  state = jit_once(stage.init)(jax.random.key(0))
  batch = {
    "frames": random(1, 5, height, width, 3),
    "superpixels": jnp.zeros((1, height, width), jnp.int32),
  }
  three = {"frames": batch["frames"][:, :3]}
  table.append(_row("network 3 x 384 x 512", stage.forward, (state, three), seconds))
  table.append(_row("step 5 x 384 x 512, census", stage.step, (state, batch), seconds))
  return table


def _row(name, function, arguments, seconds) -> dict:
  compiled = jax.jit(function).lower(*arguments).compile()
  flops = compiled.cost_analysis().get("flops", float("nan"))
  duration = seconds(functools.partial(compiled, *arguments))
  return {
    "name": name,
    "milliseconds": 1e3 * duration,
    "gflops_per_second": flops / duration / 1e9,
  }
