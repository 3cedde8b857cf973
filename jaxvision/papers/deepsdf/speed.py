"""How long training, inference and meshing take."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.deepsdf import inference, meshing, training
from jaxvision.papers.deepsdf.decoder import Decoder, init

_SAMPLES = 16_384  # of one shape: a 64th of the paper's batch
_PIECE = 2048  # samples whose features stay in the cache


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns the times of the parts.

  Args:
    seconds: median time of a call.

  Returns:
    a training step at paper size on 16,384 samples, with "gflops_per_second" (matrix
    products only); all codes of 16 shapes in one scan; and the mesh of a demo-sized
    network on 129³ points, whole and refined, with "over_dense".
  """
  return [_training_row(seconds), _inference_row(seconds), *_mesh_rows(seconds)]


def matmul_flops(decoder: Decoder, samples: int) -> float:
  """Returns the operations of the matrix products of one training step.

  Products with codes are made once a shape, those with points are not matrix products:
  neither counts.
  """
  inputs = decoder.latent_size + 3
  total = 0
  for number, (fan_in, width) in enumerate(decoder.layer_widths()):
    if number == 0:
      continue
    total += (fan_in - inputs if number in decoder.latent_in else fan_in) * width
  return 6.0 * samples * total


def _training_row(seconds):
  decoder = Decoder()
  auto = training.AutoDecoder(decoder, 1, accumulate=_SAMPLES // _PIECE)
  rate = training.constant_rate(5e-4)
  stage = training.stage(
    "auto_decoder",
    auto,
    training.optimizer(rate, rate, 1),
    batch=1,
    samples=_SAMPLES,
    epoch_steps=1,
  )
  state = jax.jit(stage.init)(jax.random.key(0))
  samples = np.random.default_rng(0).uniform(-1, 1, (1, _SAMPLES, 4))
  batch = {"shape": jnp.zeros(1, jnp.int32), "samples": jnp.float32(samples)}
  step = jax.jit(stage.step)
  time = seconds(lambda: step(state, batch)[0].params)
  return {
    "name": f"training step, 8 × 512, {_SAMPLES:,} samples",
    "milliseconds": 1e3 * time,
    "gflops_per_second": matmul_flops(decoder, _SAMPLES) / time / 1e9,
  }


def _small() -> tuple[Decoder, dict]:
  decoder = Decoder(16, (128,) * 6, (3,), norm_layers=tuple(range(6)), dropout=0.0)
  return decoder, jax.jit(functools.partial(init, decoder))(jax.random.key(0))


def _inference_row(seconds):
  decoder, params = _small()
  samples = np.random.default_rng(0).uniform(-0.5, 0.5, (16, 4000, 4))
  observed = inference.observe(np.abs(samples), -np.abs(samples))
  fit = inference.compiled_fit(decoder, iterations=100, samples=300)
  time = seconds(lambda: fit(params, observed, jax.random.key(0)))
  return {
    "name": "codes of 16 shapes, 100 iterations, one scan",
    "milliseconds": 1e3 * time,
  }


def _mesh_rows(seconds):
  decoder, params = _small()
  params = _ball_like(decoder, params)
  code = jnp.zeros(16)
  times = [
    seconds(
      lambda refine=refine: meshing.mesh(decoder, params, code, 129, refine=refine)
    )
    for refine in (False, True)
  ]
  return [
    {"name": "mesh of 129³ points, whole grid", "milliseconds": 1e3 * times[0]},
    {
      "name": "mesh of 129³ points, refined",
      "milliseconds": 1e3 * times[1],
      "over_dense": times[1] / times[0],
    },
  ]


def _ball_like(decoder, params):
  """Returns parameters with a closed surface of about the size of a shape.

  A short training on a ball of radius 0.6: the surface is what makes refinement work.
  """
  auto = training.AutoDecoder(decoder, 1)
  rate = training.constant_rate(3e-3)
  optimizer = training.optimizer(rate, rate, 1)
  stage = training.stage("", auto, optimizer, batch=1, samples=512, epoch_steps=1)
  state = jax.jit(stage.init)(jax.random.key(0))
  state = state.replace(
    params={"decoder": params, "codes": jnp.zeros_like(state.params["codes"])}
  )
  points = np.random.default_rng(0).uniform(-1, 1, (1, 512, 3))
  distances = np.linalg.norm(points, axis=-1, keepdims=True) - 0.6
  samples = jnp.float32(np.concatenate([points, distances], axis=-1))
  batch = {"shape": jnp.zeros(1, jnp.int32), "samples": samples}
  step = jax.jit(stage.step)
  for _ in range(150):
    state, _ = step(state, batch)
  return state.params["decoder"]
