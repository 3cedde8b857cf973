"""Turns the authors' checkpoints into this project's variables.

The extrapolating model is a TensorFlow checkpoint (model.ckpt); that of Stereo
Magnification too; VGG-19 is imagenet-vgg-verydeep-19.mat of MatConvNet.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.nn.vgg import VGG19

Weights = Mapping[str, np.ndarray]

_IGNORED = ("*/Adam", "*/Adam_1", "beta*_power", "global_step", "*global_step")
_LAYER_NORMS = ("LayerNorm/gamma", "LayerNorm/beta")


def extrapolator(weights: Weights, source: str = "weights") -> dict[str, Any]:
  """Returns the variables of `model.Extrapolator`.

  Args:
    weights: ed_3d_net/conv3d/kernel, ..., refine_net/up_block3/conv3d_1/bias.
    source: what errors call them.

  Raises:
    UserError: a weight is missing or none of the model's.
  """
  reader = published.Reader(weights, source)
  params = {
    ours: _volume_net(reader, weights, theirs)
    for ours, theirs in (("initial", "ed_3d_net"), ("refine", "refine_net"))
  }
  reader.finish(_IGNORED)
  return {"params": params}


def volume_net(weights: Weights, scope: str, source: str = "weights") -> dict[str, Any]:
  """Returns the variables of one `networks.VolumeUNet`, named scope/... ."""
  reader = published.Reader(weights, source)
  params = _volume_net(reader, weights, scope)
  reader.finish(_IGNORED)
  return {"params": params}


def stereo_magnification(weights: Weights, source: str = "weights") -> dict[str, Any]:
  """Returns the variables of `baselines.StereoMagnification`."""
  reader = published.Reader(weights, source)
  params: dict[str, Any] = {}
  names = sorted(
    {name.split("/")[1] for name in weights if name.startswith("net/conv")}
  )
  for name in names:
    kernel = reader.take(f"net/{name}/weights")
    # TensorFlow's transposed kernels have their outputs before their inputs.
    is_transposed = kernel.shape[0] == 4
    params[name] = {"kernel": np.swapaxes(kernel, 2, 3) if is_transposed else kernel}
    scale, bias = (reader.take(f"net/{name}/{leaf}") for leaf in _LAYER_NORMS)
    params[f"{name}_norm"] = {"scale": scale, "bias": bias}
  head = "net/color_pred"
  params["color_pred"] = {
    "kernel": reader.take(f"{head}/weights"),
    "bias": reader.take(f"{head}/biases"),
  }
  reader.finish(_IGNORED)
  return {"params": params}


def vgg19(weights: Weights, source: str = "the VGG-19 weights") -> dict[str, Any]:
  """Returns the convolutions of a VGG-19.

  Args:
    weights: as `published.load` reads MatConvNet's imagenet-vgg-verydeep-19.mat:
      layers.0.weights.0 [3, 3, C, O], layers.0.weights.1, ..., convolutions first.
    source: what errors call them.

  Raises:
    UserError: there are fewer than 16 convolutions, or one is of another shape.
  """
  found = {}
  for name, array in weights.items():
    match = re.fullmatch(r"layers\.(\d+)\.(?:.*\.)?(?:weights\.0|filters)", name)
    if match and array.ndim == 4:
      bias = re.sub(r"weights\.0$", "weights.1", name)
      bias = re.sub(r"filters$", "biases", bias)
      found[int(match[1])] = (name, bias)
  reader = published.Reader(weights, source)
  wanted = [
    (f"conv{i}_{j}", width)
    for i, stage in enumerate(VGG19, 1)
    for j, width in enumerate(stage, 1)
  ]
  if len(found) < len(wanted):
    raise UserError(f"{source}: {len(found)} convolutions where VGG-19 has 16")
  params, inputs = {}, 3
  for (layer, width), index in zip(wanted, sorted(found), strict=False):
    kernel, bias = found[index]
    params[layer] = {
      "kernel": reader.take(kernel, (3, 3, inputs, width)).astype(np.float32),
      "bias": reader.take(bias).astype(np.float32).reshape(width),
    }
    inputs = width
  return {"params": params}


def load_extrapolator(path: os.PathLike | str) -> dict[str, Any]:
  """Returns the variables in the authors' checkpoint at a path."""
  return extrapolator(published.load(path), str(path))


def load_vgg19(path: os.PathLike | str) -> dict[str, Any]:
  """Returns the convolutions in MatConvNet's file at a path."""
  return vgg19(published.load(path), str(path))


def _volume_net(reader, weights, scope):
  """Takes one network's convolutions; those without a block are counted through."""
  plain = [
    name.split("/")[1]
    for name in weights
    if re.fullmatch(rf"{scope}/conv3d(_\d+)?/kernel", name)
  ]
  if not plain:
    raise UserError(f"the weights hold no {scope}/conv3d/kernel")
  plain.sort(key=lambda name: int(name.removeprefix("conv3d").lstrip("_") or 0))
  ours = {f"conv_{i}": name for i, name in enumerate(plain[:-1])} | {"head": plain[-1]}
  for step in range(4):
    for index, leaf in enumerate(("conv3d", "conv3d_1")):
      ours[f"up_{step}_conv_{index}"] = f"up_block{step}/{leaf}"
  return {
    mine: {
      leaf: np.asarray(reader.take(f"{scope}/{theirs}/{leaf}"), np.float32)
      for leaf in ("kernel", "bias")
    }
    for mine, theirs in ours.items()
  }
