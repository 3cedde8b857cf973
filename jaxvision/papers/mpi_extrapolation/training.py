"""Training steps of the networks and of what they are compared with."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxvision.ops import mpi, rigid
from jaxvision.papers.mpi_extrapolation import losses
from jaxvision.papers.mpi_extrapolation.model import Prediction, network_input, signed
from jaxvision.train import Stage, State, gradient_step, sequence

Batch = Mapping[str, chex.Array]


def volume_of(batch: Batch) -> chex.Array:
  """Returns the network's input of a batch, see `model.network_input`."""
  return network_input(
    batch["reference"],
    batch["sources"],
    batch["reference_pose"],
    batch["source_poses"],
    batch["depths"],
    batch["intrinsics"],
  )


def camera_of(batch: Batch) -> tuple[chex.Array, chex.Array, chex.Array]:
  """Returns what the target's view takes: transforms, depths, intrinsics."""
  transforms = jnp.matmul(
    batch["target_pose"], rigid.invert(batch["reference_pose"]), precision="highest"
  )
  return transforms, batch["depths"], batch["intrinsics"]


def losses_of(
  vgg: Mapping[str, Any] | None,
  layers: Mapping[str, chex.Array],
  batch: Batch,
  structure: float = 0.0,
) -> dict[str, chex.Array]:
  """Returns the loss of the view that each MPI gives.

  Args:
    vgg: see `losses.view_loss`.
    layers: [B, H, W, D, 4] by name; the first one's view says which pixels count.
    batch: with the target.
    structure: see `losses.view_loss`.
  """
  camera, mask, total = camera_of(batch), None, {}
  for name, planes in layers.items():
    warped = mpi.warp_layers(planes, *camera)
    if mask is None:
      mask = losses.frustum_mask(mpi.sees_every_plane(warped))
    view = mpi.over_composite(warped)
    parts = losses.view_loss(vgg, view, batch["target"], mask, structure)
    total[name] = jnp.sum(parts)
  return total


def stage(
  name: str,
  network: nn.Module,
  optimizer: optax.GradientTransformation,
  batch: Batch,
  vgg: Callable[[chex.PRNGKey], Any] | None = None,
  *,
  start: Callable[[Any], Any] | None = None,
  structure: float = 0.0,
) -> Stage:
  """Returns the stage that trains a network by the views of its MPIs.

  Args:
    name: of the stage.
    network: `model.Extrapolator`, or one whose result is an MPI.
    optimizer: of its parameters.
    batch: shapes of a batch; other sizes and numbers of planes are compiled as they
      come.
    vgg: key -> parameters of the loss's VGG-19; None for pixels alone.
    start: Glorot's parameters -> those to start from, see `starting`.
    structure: see `losses.view_loss`.
  """

  def layers_of(params, batch):
    prediction = network.apply({"params": params}, volume_of(batch))
    if isinstance(prediction, Prediction):
      return {"initial": prediction.initial, "refined": prediction.refined}
    return {"initial": prediction}

  def loss_fn(params, model_state, batch, rng):
    del rng
    features = {"params": model_state["vgg"]} if vgg is not None else None
    parts = losses_of(features, layers_of(params, batch), batch, structure)
    return sum(parts.values()), (parts, model_state)

  def init(key):
    shapes = {
      name: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype)
      for name, leaf in batch.items()
    }
    params = initial_params(network, key, jax.eval_shape(volume_of, shapes))
    params = params if start is None else start(params)
    model_state = {} if vgg is None else {"vgg": vgg(key)}
    return State.create(key, params, optimizer, model_state=model_state)

  def forward(state, batch):
    layers = list(layers_of(state.params, batch).values())[-1]
    return mpi.render(layers, *camera_of(batch))

  return Stage(name, init, gradient_step(loss_fn, optimizer), batch, forward)


def adversarial_stage(
  name: str,
  network: nn.Module,
  discriminator: nn.Module,
  optimizer: optax.GradientTransformation,
  batch: Batch,
  *,
  weight: float,
) -> Stage:
  """Returns the stage that trains a network against a discriminator of its views.

  Pixels alone and hinge losses; the refined view is what is judged.

  Args:
    name: of the stage.
    network: `baselines.DirectExtrapolator`.
    discriminator: of images [B, H, W, 3] in [-1, 1].
    optimizer: of either's parameters.
    batch: shapes of a batch.
    weight: of the adversary beside the loss of the view.
  """

  def predict(params, batch):
    prediction = network.apply({"params": params["generator"]}, volume_of(batch))
    layers = {"initial": prediction.initial, "refined": prediction.refined}
    return layers, mpi.render(prediction.refined, *camera_of(batch))

  def judge(params, images):
    return discriminator.apply({"params": params["discriminator"]}, images)

  def discriminator_loss(params, model_state, batch, rng):
    del rng
    _, view = predict(params, batch)
    fake = judge(params, jax.lax.stop_gradient(view))
    real = judge(params, signed(batch["target"]))
    loss = jnp.mean(jax.nn.relu(1 + fake)) + jnp.mean(jax.nn.relu(1 - real))
    return loss, ({}, model_state)

  def generator_loss(params, model_state, batch, rng):
    del rng
    layers, view = predict(params, batch)
    parts = losses_of(None, layers, batch)
    parts["adversarial"] = -weight * jnp.mean(judge(params, view))
    return sum(parts.values()), (parts, model_state)

  def init(key):
    generator_key, discriminator_key = jax.random.split(key)
    shapes = {
      name: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype)
      for name, leaf in batch.items()
    }
    volume = jax.eval_shape(volume_of, shapes)
    params = {
      "generator": initial_params(network, generator_key, volume),
      "discriminator": initial_params(
        discriminator, discriminator_key, shapes["target"]
      ),
    }
    return State.create(key, params, dict.fromkeys(params, optimizer))

  step = sequence(
    gradient_step(discriminator_loss, optimizer, group="discriminator"),
    gradient_step(generator_loss, optimizer, group="generator"),
  )

  def forward(state, batch):
    return predict(state.params, batch)[1]

  return Stage(name, init, step, batch, forward)


def initial_params(
  network: nn.Module, key: chex.PRNGKey, inputs: jax.ShapeDtypeStruct
) -> Any:
  """Returns the parameters that a network starts from: Glorot's uniform kernels.

  All are cut from one vector: drawing each by itself takes a minute to compile.

  Args:
    network: its kernels are called "kernel", its biases "bias", its scales "scale".
    key: random key.
    inputs: shape of what it sees.
  """
  shapes = jax.eval_shape(network.init, jax.random.key(0), inputs)["params"]
  leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
  kernels = [leaf for path, leaf in leaves if path[-1].key == "kernel"]
  drawn = jax.random.uniform(
    key, (sum(math.prod(leaf.shape) for leaf in kernels),), minval=-1.0
  )
  filled, start = [], 0
  for path, leaf in leaves:
    if path[-1].key == "kernel":
      *window, inputs, outputs = leaf.shape
      limit = math.sqrt(6 / (math.prod(window) * (inputs + outputs)))
      end = start + math.prod(leaf.shape)
      filled.append(limit * drawn[start:end].reshape(leaf.shape))
      start = end
    else:
      fill = jnp.ones if path[-1].key == "scale" else jnp.zeros
      filled.append(fill(leaf.shape, leaf.dtype))
  return jax.tree.unflatten(tree, filled)
