"""Our DeepSDF in the place of facebookresearch/DeepSDF."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.deepsdf import (
  evaluation,
  preprocessing,
  published,
  training,
)
from jaxvision.train import State

# What the arrays of a checkpoint do not tell.
_OPTIONS = {"decoder_xyz_in_all_tanh": {"use_tanh": True}}


def decode(name, parameters, inputs):
  """Distances, and the gradient of their sum, at rows (code, point)."""
  rows = jnp.asarray(inputs["input"])
  options = _OPTIONS.get(name, {})
  network, params = published.convert(parameters, **options)

  def total(rows):
    size = network.latent_size
    distances = network.apply({"params": params}, rows[:, :size], rows[:, None, size:])
    return jnp.sum(distances), distances

  gradient, distances = jax.jit(jax.grad(total, has_aux=True))(rows)
  return {"sdf": distances, "grad_input": gradient}


def train_two_epochs(parameters, inputs):
  network, params = published.convert(parameters, dropout=0.0)
  samples = []
  count = len([name for name in inputs if re.fullmatch(r"points\d+", name)])
  for scene in range(count):
    points = inputs[f"points{scene}"]
    distance = np.linalg.norm(points, axis=1) - (0.45 + 0.06 * scene)
    rows = np.concatenate([points, distance[:, None]], axis=1).astype(np.float32)
    half = len(points) // 12
    outside, inside = rows[distance > 0], rows[distance <= 0]
    samples.append(np.concatenate([outside[:half], inside[:half]]))
  auto = training.AutoDecoder(network, count, band=0.5, regularization=1e-2)
  optimizer = training.optimizer(
    training.step_rate(5e-4, 2, 0.5), training.step_rate(1e-3, 2, 0.5), 1
  )
  start = {"decoder": params, "codes": jnp.asarray(inputs["codes"])}
  state = State.create(
    jax.random.key(0),
    start,
    optimizer,
    model_state={"regularization": jnp.zeros(())},
  )
  batch = {"shape": np.arange(count, dtype=np.int32), "samples": np.stack(samples)}
  step = jax.jit(auto.step(optimizer, 1))
  loss = []
  for _ in range(2):
    state, metrics = step(state, batch)
    loss.append(metrics["loss"])
  last = max(map(int, re.findall(r"lin(\d+)", " ".join(parameters))))
  return {
    "loss": np.array(loss),
    "codes_after": state.params["codes"],
    f"lin{last}.weight_after": state.params["decoder"][f"lin{last}"]["kernel"].T,
    "lin0.bias_after": state.params["decoder"]["lin0"]["bias"],
  }


def chamfer(parameters, inputs):
  del parameters
  generated = evaluation.to_original(
    inputs["gen"], offset=inputs["offset"], scale=inputs["scale"]
  )
  return {"chamfer": evaluation.chamfer(generated, inputs["gt"])}


def sdf_vote(parameters, inputs):
  del parameters
  distances, keep = preprocessing.vote_distances(
    inputs["query"],
    inputs["surface_points"],
    inputs["surface_normals"],
    variance=0.005,
  )
  return {"keep": keep, "sdf": np.where(keep, distances, 0)}


def rates(parameters, inputs):
  del parameters
  epoch = jnp.asarray(inputs["epoch"])
  return {
    "step": training.step_rate(5e-4, 500, 0.5)(epoch),
    "warmup": training.warmup_rate(1e-5, 1e-3, 40)(epoch),
    "constant": training.constant_rate(3e-4)(epoch),
  }


ADAPTERS = {
  name: lambda parameters, inputs, name=name: decode(name, parameters, inputs)
  for name in (
    "decoder_chairs",
    "decoder_layernorm",
    "decoder_xyz_in_all_tanh",
    "decoder_single_shape",
  )
} | {
  "train_2_epochs": train_two_epochs,
  "chamfer": chamfer,
  "sdf_vote": sdf_vote,
  "lr_schedules": rates,
}
