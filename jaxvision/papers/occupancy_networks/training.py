"""Stages: how each variant learns."""

import functools

import jax
import jax.numpy as jnp
import optax
from etils import epath

from jaxvision import published
from jaxvision.ops import point_metrics
from jaxvision.papers.occupancy_networks import losses, model
from jaxvision.papers.occupancy_networks.model import OccupancyNetwork
from jaxvision.papers.occupancy_networks.variants import Sizes, Variant, network
from jaxvision.published import torchvision
from jaxvision.train import Stage, State, gradient_step


def stage(
  name: str,
  variant: Variant,
  sizes: Sizes,
  optimizer: optax.GradientTransformation,
  batch: dict[str, jax.ShapeDtypeStruct],
) -> Stage:
  """Returns the training of a variant.

  Args:
    name: of the stage.
    variant: what trains.
    sizes: of its network.
    optimizer: of all its parameters.
    batch: shapes of the global batch, as `data.batch_shapes` gives them.
  """
  net = network(variant, sizes)

  def init(key):
    zeros = {key: jnp.zeros((1, *s.shape[1:]), s.dtype) for key, s in batch.items()}
    variables = dict(model.init(net, key, zeros))
    return State.create(key, variables.pop("params"), optimizer, model_state=variables)

  loss_fn = functools.partial(_LOSSES[variant.output], net)
  return Stage(
    name=name,
    init=init,
    step=gradient_step(loss_fn, optimizer),
    batch=batch,
    forward=functools.partial(_forward, net),
  )


def with_imagenet(state: State, path: epath.PathLike) -> State:
  """Returns a state whose image encoder begins with torchvision's weights.

  Args:
    state: of a variant that observes images through a residual network.
    path: torchvision's checkpoint of the same depth, whose classifier is dropped.

  Raises:
    UserError: it is no such checkpoint.
  """
  weights = {
    name: array
    for name, array in published.load(path).items()
    if not name.removeprefix("module.").startswith("fc.")
  }
  statistics = state.model_state["batch_stats"]
  shapes = {
    "params": state.params["encoder"]["features"],
    "batch_stats": statistics["encoder"]["features"],
  }
  found = torchvision.resnet(weights, shapes)

  def placed(tree, collection):
    encoder = {**tree["encoder"], "features": found[collection]}
    return {**tree, "encoder": encoder}

  return state.replace(
    params=placed(state.params, "params"),
    model_state={**state.model_state, "batch_stats": placed(statistics, "batch_stats")},
  )


def _occupancy_loss(net, params, model_state, batch, rng):
  occupancy = batch["occupancies"]
  noise = None
  if net.z_dim:
    noise = jax.random.normal(rng, (len(occupancy), net.z_dim))
  (logits, kl), updated = net.apply(
    {"params": params, **model_state},
    batch["points"],
    batch.get("inputs"),
    occupancy,
    noise,
    train=True,
    mutable=list(model_state),
  )
  errors = losses.reconstruction(logits, occupancy)
  metrics = {"reconstruction": jnp.mean(errors)}
  if net.z_dim:
    metrics["kl"] = jnp.mean(kl)
  return jnp.mean(errors + kl), (metrics, updated)


def _voxel_loss(net, params, model_state, batch, rng):
  del rng
  logits, updated = _apply(net, params, model_state, batch)
  errors = losses.binary_cross_entropy(logits, batch["voxels"])
  return jnp.mean(errors), ({}, updated)


def _cloud_loss(net, params, model_state, batch, rng):
  del rng
  points, updated = _apply(net, params, model_state, batch)
  errors = jax.vmap(point_metrics.chamfer)(points, batch["cloud"])
  return jnp.mean(errors), ({}, updated)


_LOSSES = {"occupancy": _occupancy_loss, "r2n2": _voxel_loss, "psgn": _cloud_loss}


def _apply(net, params, model_state, batch):
  variables = {"params": params, **model_state}
  return net.apply(variables, batch["inputs"], train=True, mutable=list(model_state))


def _forward(net, state, batch):
  variables = {"params": state.params, **state.model_state}
  if isinstance(net, OccupancyNetwork):
    return net.apply(variables, batch["points"], batch.get("inputs"))[0]
  return net.apply(variables, batch["inputs"])
