"""Parity adapters of occupancy_networks: the authors' names and layout (NCHW)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import mise, point_metrics, voxels
from jaxvision.papers.occupancy_networks import (
  generation,
  losses,
  published,
)
from tests.parity.arrays import to_numpy


def decoder(parameters, inputs, *, leaky=False):
  network = published.decoder_of(parameters)
  if leaky:
    network = network.clone(leaky=True)
  variables = published.variables(parameters, network)

  def logits(p):
    return network.apply(variables, p, inputs.get("z"), inputs.get("c"))

  p = jnp.asarray(inputs["p"])
  values, gradient = jax.jit(
    lambda p: (logits(p), jax.grad(lambda p: jnp.sum(logits(p)))(p))
  )(p)
  return {"logits": values, "grad_p": gradient}


def encoder(parameters, inputs, *, prepare=lambda x: x):
  network = published.encoder_of(parameters)
  variables = published.variables(parameters, network)
  return {"c": jax.jit(network.apply)(variables, prepare(inputs["x"]))}


def _channels_last(x):
  return np.moveaxis(x, 1, -1)


def decoder_r2n2(parameters, inputs):
  network = published.decoder_of(parameters)
  variables = published.variables(parameters, network)
  return {"logits": jax.jit(network.apply)(variables, inputs["x"])[:, None]}


def decoder_psgn(parameters, inputs):
  network = published.decoder_of(parameters)
  variables = published.variables(parameters, network)
  return {"points": jax.jit(network.apply)(variables, inputs["x"])}


def encoder_latent(parameters, inputs):
  network = published.latent_encoder_of(parameters)
  variables = published.variables(parameters, network)
  occupancy = (inputs["occ"] > 0.2).astype(np.float32)
  mean, log_deviation = jax.jit(network.apply)(variables, inputs["p"], occupancy)
  return {"mean": mean, "logstd": log_deviation}


def loss_pointcloud(parameters, inputs):
  network, variables = published.convert(parameters)
  occupancy = (inputs["occ"] > 0.2).astype(np.float32)

  @jax.jit
  @jax.value_and_grad
  def loss_fn(params):
    state = {**variables, "params": params}
    (logits, kl), _ = network.apply(
      state, inputs["points"], inputs["inputs"], train=True, mutable=["batch_stats"]
    )
    return jnp.mean(losses.reconstruction(logits, occupancy) + kl)

  loss, gradient = loss_fn(variables["params"])
  return {"loss": loss, **_gradients(gradient, parameters)}


def loss_vae(parameters, inputs):
  network, variables = published.convert(parameters)
  occupancy = (inputs["occ"] > 0.2).astype(np.float32)

  def elbo(params):
    return network.apply(
      {"params": params},
      inputs["points"],
      occupancy,
      noise=inputs["eps"],
      method="elbo",
    )

  @jax.jit
  def evaluate(params):
    def loss_fn(params):
      parts = elbo(params)
      return jnp.mean(parts.reconstruction + parts.kl), parts

    return jax.value_and_grad(loss_fn, has_aux=True)(params)

  (loss, parts), gradient = evaluate(variables["params"])
  return {
    "loss": loss,
    "rec_error": parts.reconstruction,
    "kl": parts.kl,
    **_gradients(gradient, parameters),
  }


def _gradients(tree, parameters):
  """Returns {"grad/NAME": gradient} in PyTorch's layout."""
  found = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    *layers, name = (key.key for key in path)
    theirs = ".".join((*layers, _NAMES.get(name, name)))
    # Their layers on [B, C, T] are convolutions of width 1.
    gradient = np.asarray(leaf).T.reshape(parameters[theirs].shape)
    found[f"grad/{theirs}"] = gradient
  return found


_NAMES = {"kernel": "weight"}


def extraction(parameters, inputs, *, field, resolution, steps, level):
  del parameters, inputs
  found = mise.extract(
    field, resolution=resolution, steps=steps, level=level, chunk=None
  )
  vertices, faces = generation.surface_of(found.values, level)
  corners = vertices[faces].astype(np.float64)
  normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
  return {
    "queries_per_round": np.array(found.counts),
    "dense": found.values.astype(np.float32),
    "n_vertices": np.array(len(vertices)),
    "n_faces": np.array(len(faces)),
    "area": np.float32(np.linalg.norm(normals, axis=1).sum() / 2),
    "volume": np.float32(np.linalg.det(corners).sum() / 6),
    "bounds": np.stack([vertices.min(axis=0), vertices.max(axis=0)]),
  }


def _sphere(p):
  return 0.31 - np.linalg.norm(p - np.array([0.05, -0.1, 0.02]), axis=-1)


def _waves(p):
  x, y, z = p.T
  return np.sin(9 * x) + np.cos(7 * y) * np.sin(11 * z) - 0.3


def contains(parameters, inputs):
  del parameters
  found = voxels.contains(
    jnp.asarray(inputs["points"]), jnp.asarray(inputs["vertices"]), inputs["faces"]
  )
  return {"contains": found.astype(np.float32)}


def pointcloud_metrics(parameters, inputs):
  del parameters
  prediction, truth = inputs["pred"], inputs["gt"]
  normals = point_metrics.normal_consistency(
    prediction, truth, inputs["pred_normals"], inputs["gt_normals"]
  )
  there, _ = point_metrics.directed_squares(prediction, truth)
  back, _ = point_metrics.directed_squares(truth, prediction)
  return {
    "completeness": point_metrics.completeness(prediction, truth),
    "accuracy": point_metrics.accuracy(prediction, truth),
    "normals": normals.mean,
    "normals_accuracy": normals.accuracy,
    "normals_completeness": normals.completeness,
    "completeness2": jnp.mean(back),
    "accuracy2": jnp.mean(there),
    "chamfer-L2": point_metrics.chamfer(prediction, truth) / 2,
    "chamfer-L1": point_metrics.chamfer(prediction, truth, squared=False) / 2,
  }


def iou(parameters, inputs):
  del parameters
  return {"iou": voxels.iou(inputs["a"] > 0, inputs["b"] > 0.1)}


def psgn_chamfer(parameters, inputs):
  del parameters
  x, y = jnp.asarray(inputs["x"]), jnp.asarray(inputs["y"])
  chamfer = jax.jit(jax.vmap(point_metrics.chamfer))
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(chamfer(x, y))))(x)
  return {"chamfer": chamfer(x, y), "grad_x": gradient}


_image = functools.partial(encoder, prepare=_channels_last)
_ADAPTERS = {
  "decoder_cbatchnorm": decoder,
  "decoder_cbatchnorm_z_legacy": functools.partial(decoder, leaky=True),
  "decoder_cbatchnorm2": decoder,
  "decoder_simple": decoder,
  "decoder_batchnorm": decoder,
  "decoder_noresnet": decoder,
  "encoder_resnet18": _image,
  "encoder_simple_conv": _image,
  "encoder_pointnet_resnet": encoder,
  "encoder_pointnet_simple": encoder,
  "encoder_voxel": functools.partial(
    encoder, prepare=lambda x: (x > 0).astype(np.float32)
  ),
  "decoder_r2n2": decoder_r2n2,
  "decoder_psgn": decoder_psgn,
  "encoder_latent": encoder_latent,
  "loss_pointcloud_train": loss_pointcloud,
  "loss_vae": loss_vae,
  "mise_sphere": functools.partial(
    extraction, field=_sphere, resolution=8, steps=2, level=0.0
  ),
  "mise_waves": functools.partial(
    extraction, field=_waves, resolution=4, steps=3, level=0.1
  ),
  "contains_sphere": contains,
  "pointcloud_metrics": pointcloud_metrics,
  "iou": iou,
  "psgn_chamfer": psgn_chamfer,
}
ADAPTERS = {name: to_numpy(adapter) for name, adapter in _ADAPTERS.items()}


def _one_percent(ours, theirs):
  return float(np.max(np.abs(ours - theirs) / np.abs(theirs))), 0.01


# Which triangles fill a cell depends on the table of marching cubes.
_TABLE = {"n_faces": _one_percent, "area": _one_percent, "volume": _one_percent}
MEASURES = {"mise_sphere": _TABLE, "mise_waves": _TABLE}
