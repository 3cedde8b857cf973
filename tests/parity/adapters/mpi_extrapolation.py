"""Parity adapters of mpi_extrapolation: TensorFlow's names, [B, H, W, D, C]."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import mpi
from jaxvision.papers.mpi_extrapolation import losses, model, networks, published
from tests.parity.arrays import to_numpy

# What the call of the case says and its tensors do not.
NEAR, FAR = 1.0, 20.0


def plane_sweep(parameters, inputs):
  del parameters
  depths = mpi.plane_depths(NEAR, FAR, 8)
  volume = jax.jit(model.network_input)(
    model.unsigned(inputs["ref_image"]),
    model.unsigned(inputs["src_image"])[:, None],
    inputs["ref_pose"],
    inputs["src_pose"][:, None],
    depths,
    inputs["intrinsics"],
  )
  return {"planes": depths, "net_input": volume}


def volume_net(parameters, inputs, scope):
  variables = published.volume_net(parameters, scope)
  layers = variables["params"]
  features = [
    layers[f"up_{step}_conv_0"]["kernel"].shape[-1] for step in reversed(range(4))
  ]
  convolutions = sum(name.startswith("conv_") for name in layers)
  coarsest = layers[f"conv_{convolutions - 1}"]["kernel"].shape[-1]
  dilations = networks.DILATIONS[: convolutions - 14]
  outputs = layers["head"]["bias"].shape[0]
  network = networks.VolumeUNet(outputs, (*features, coarsest), dilations)
  return jax.jit(network.apply)(variables, inputs["x"])


def ed_3d_net(parameters, inputs):
  return {"y": jnp.tanh(volume_net(parameters, inputs, "ed_3d_net"))}


def refine_net(parameters, inputs):
  outputs = volume_net(parameters, inputs, "refine_net")
  return {"y": outputs.at[..., 2:].set(jnp.tanh(outputs[..., 2:]))}


def flow_gather(parameters, inputs):
  del parameters

  @jax.jit
  def run(source, flows, probe):
    gathered, pull = jax.vjp(model.flow_gather, source, flows)
    return gathered, *pull(probe)

  gathered, source, flows = run(inputs["source"], inputs["flows"], inputs["probe"])
  return {"gathered": gathered, "grad_source": source, "grad_flows": flows}


def render_view(parameters, inputs):
  del parameters
  layers = np.array(inputs["mpi"])
  layers[..., 3] = (layers[..., 3] + 1) / 2
  depths = mpi.plane_depths(NEAR, FAR, layers.shape[3])
  camera = inputs["rel_pose"], depths, inputs["intrinsics"]

  @jax.jit
  def run(layers, camera, probe):
    warped = mpi.warp_layers(layers, *camera)
    image, pull = jax.vjp(lambda layers: mpi.render(layers, *camera), layers)
    return {
      "image": image,
      "warped_planes": warped,
      "transmittance": mpi.transmittance(layers[..., 3])[..., None],
      "grad_mpi": pull(probe)[0],
      "occ_map": mpi.disocclusion(layers[..., 3], warped[..., 3], *camera),
    }

  return run(layers, camera, inputs["probe"])


def vgg_loss(parameters, inputs):
  vgg: dict = {}
  for name, array in parameters.items():
    _, layer, leaf = name.split("/")
    vgg.setdefault(layer, {})[leaf] = array
  warped = np.array(inputs["layers"])
  # One plane ends a quarter of the width from the left; the notes say so.
  warped[:, :, : warped.shape[2] // 4, 0] = 0.0

  @jax.jit
  def run(vgg, image, other, target, warped):
    mask = losses.frustum_mask(mpi.sees_every_plane(warped))

    def total(image):
      parts = losses.view_loss({"params": vgg}, image, target, mask)
      return jnp.sum(parts), parts

    (loss, parts), gradient = jax.value_and_grad(total, has_aux=True)(image)
    return {
      "mask": mask,
      "loss": loss,
      "loss_refine": total(other)[0],
      "parts": parts,
      "grad_image": gradient,
    }

  images = (inputs[name] for name in ("image", "image2", "target"))
  return run(vgg, *images, warped)


ADAPTERS = {
  adapter.__name__: to_numpy(adapter)
  for adapter in (plane_sweep, ed_3d_net, refine_net, flow_gather, render_view)
} | {"vgg_loss": to_numpy(vgg_loss)}
