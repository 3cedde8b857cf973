"""Parity adapters of rscnn: the authors' names and layout (channels first)."""

import functools

import jax
import jax.numpy as jnp

from jaxvision.nn.point_layers import FeaturePropagation
from jaxvision.ops import point_interpolation
from jaxvision.ops.nearest import k_nearest
from jaxvision.papers.rscnn import convolution, grouping, networks, published, schedules
from tests.parity.arrays import to_numpy

# What the authors' call of each case says and its tensors do not.
FPS_COUNT = 40
RADIUS, COUNT = 0.23, 16
LEARNING_RATE = 1e-3


def channels_last(x):
  return jnp.swapaxes(jnp.asarray(x), 1, 2)


def fps(parameters, inputs):
  del parameters
  return {"idx": grouping.sample_centroids(inputs["xyz"], FPS_COUNT)}


def ball_query(parameters, inputs):
  del parameters
  xyz = jnp.asarray(inputs["xyz"])
  centroids = grouping.sample_centroids(xyz, FPS_COUNT)
  return {
    "fps_idx": centroids,
    "new_xyz": grouping.take(xyz, centroids),
    "group_idx": grouping.neighbourhoods(xyz, centroids, RADIUS, COUNT),
  }


def query_and_group(parameters, inputs):
  found = ball_query(parameters, inputs)
  offsets = grouping.gather(jnp.asarray(inputs["xyz"]), found["group_idx"]).offsets
  both = jnp.concatenate([offsets, offsets], axis=-1)
  return {"grouped": jnp.moveaxis(both, -1, 1)}


def three_interpolate(parameters, inputs):
  del parameters

  def interpolate(features, unknown, known):
    indices, distances = k_nearest(unknown, known, 3)
    weights = point_interpolation.inverse_distance_weights(distances)
    found = point_interpolation.interpolate(features, indices, weights)
    return found, (indices, distances)

  def total(features):
    found, nearest = jax.vmap(interpolate)(
      channels_last(features), inputs["unknown"], inputs["known"]
    )
    found = channels_last(found)
    return jnp.sum(found * inputs["weight_out"]), (found, *nearest)

  features = jnp.asarray(inputs["features"])
  grad, (found, indices, distances) = jax.grad(total, has_aux=True)(features)
  return {
    "dist": distances,
    "idx": indices,
    "interpolated": found,
    "grad_features": grad,
  }


def abstraction(parameters, scales, first, **options):
  """Returns a set abstraction and its variables."""
  reader, variables = published.Reader(parameters), published.Variables()
  features = published.set_abstraction(reader, variables, "", ("conv",), first)
  scales = convolution.Scales(*scales, features)
  return convolution.SetAbstraction(scales, first, **options), variables.tree()


def abstract(parameters, inputs, scales):
  features = inputs.get("features")
  model, variables = abstraction(parameters, scales, features is None)
  xyz, found, _ = jax.jit(functools.partial(model.apply, train=False))(
    variables,
    jnp.asarray(inputs["xyz"]),
    None if features is None else channels_last(features),
  )
  return {"new_xyz": xyz, "new_features": channels_last(found)}


def sa_first_single_scale(parameters, inputs):
  return abstract(parameters, inputs, (48, (RADIUS,), (COUNT,)))


def sa_multi_scale(parameters, inputs):
  return abstract(parameters, inputs, (32, (0.2, 0.3, 0.4), (8, 12, 16)))


def sa_global(parameters, inputs):
  reader, variables = published.Reader(parameters), published.Variables()
  width = published.pooling(reader, variables, "", ())
  found = networks.GlobalPooling(width).apply(
    variables.tree(),
    jnp.asarray(inputs["xyz"]),
    channels_last(inputs["features"]),
    train=False,
  )
  return {"features_out": found[..., None]}


def fp_module(parameters, inputs):
  reader, variables = published.Reader(parameters), published.Variables()
  published.propagation(reader, variables, "", ())
  tree = variables.tree()
  layers = tree["params"]["mlp"]
  widths = [layer["linear"]["kernel"].shape[1] for layer in layers.values()]
  found = FeaturePropagation(widths).apply(
    tree,
    jnp.asarray(inputs["unknown"]),
    jnp.asarray(inputs["known"]),
    channels_last(inputs["unknown_feats"]),
    channels_last(inputs["known_feats"]),
    train=False,
  )
  return {"features_out": channels_last(found)}


def classifier(parameters, inputs):
  network, variables = published.convert(parameters)
  apply = jax.jit(functools.partial(network.apply, mutable="intermediates"))
  logits, state = apply(variables, jnp.asarray(inputs["points"]))
  seen = {name: found[0] for name, found in state["intermediates"].items()}
  return {
    "logits": logits,
    "sa0": channels_last(seen["features0"]),
    "sa1": channels_last(seen["features1"]),
    "sa2": seen["pooled"][..., None],
  }


def segmenter(parameters, inputs):
  network, variables = published.convert(parameters)
  apply = jax.jit(functools.partial(network.apply, mutable="intermediates"))
  points, category = jnp.asarray(inputs["points"]), jnp.asarray(inputs["category"])
  logits, state = apply(variables, points, category)
  seen = {name: found[0] for name, found in state["intermediates"].items()}
  return {
    "logits": logits,
    **{f"sa{i}": channels_last(seen[f"features{i}"]) for i in range(4)},
    "global16": seen["pooled_last"][..., None],
    "global64": seen["pooled_before"][..., None],
  }


def sa_first_train_grad(parameters, inputs):
  model, variables = abstraction(parameters, (32, (0.4,), (12,)), True)
  xyz = jnp.asarray(inputs["xyz"])

  def total(params):
    variables_ = {"params": params, "batch_stats": variables["batch_stats"]}
    (_, found, _), state = model.apply(
      variables_, xyz, None, train=True, mutable="batch_stats"
    )
    found = channels_last(found)
    return jnp.sum(found * inputs["weight_out"]), (found, state["batch_stats"])

  params = jax.tree.map(jnp.asarray, variables["params"])
  grad, (found, after) = jax.jit(jax.grad(total, has_aux=True))(params)
  prefix = "mlps.0.RSConvLayer0.RS_Conv."
  grad, after = grad["conv"], after["conv"]

  def theirs(name, trailing):
    kernel = grad[name]["kernel"].T
    return kernel.reshape(*kernel.shape, *(1,) * trailing)

  return {
    "new_features": found,
    f"grad/{prefix}mapping_func1.weight": theirs("mapping0", 2),
    f"grad/{prefix}xyz_raising.weight": theirs("xyz_raising", 2),
    f"grad/{prefix}cr_mapping.weight": theirs("channel_raising", 1),
    f"after/{prefix}bn_mapping.running_var": after["mapping_norm0"]["var"],
    f"after/{prefix}bn_rsconv.running_mean": after["product_norm0"]["mean"],
  }


def schedule(parameters, inputs):
  del parameters
  epoch = jnp.asarray(inputs["epoch"])
  return {
    "lr": LEARNING_RATE * schedules.learning_rate_factor(epoch),
    "bn_momentum": schedules.norm_momentum(epoch, released=True),
  }


ADAPTERS = {
  name: to_numpy(adapter)
  for name, adapter in {
    "fps": fps,
    "ball_query": ball_query,
    "query_and_group": query_and_group,
    "three_interpolate": three_interpolate,
    "sa_first_single_scale": sa_first_single_scale,
    "sa_multi_scale": sa_multi_scale,
    "sa_global": sa_global,
    "fp_module": fp_module,
    "classifier": classifier,
    "segmenter": segmenter,
    "sa_first_train_grad": sa_first_train_grad,
    "schedules": schedule,
  }.items()
}
