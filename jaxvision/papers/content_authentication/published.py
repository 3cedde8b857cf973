"""Turns the authors' checkpoints into this project's networks.

Each function takes {name in the authors' checkpoint: array}, as `published.load`
reads it, and returns the network that the shapes describe with its variables. Both
ages are read: the names of CVPR's TensorFlow 1 graphs ("unet/conv1_1/weights") and
the automatic ones of Keras ("conv2d_3/kernel"), whose numbers only order the layers.
Constants that training never changed may be missing, as in the authors' own files.
"""

from collections.abc import Mapping

import numpy as np

from jaxvision.errors import UserError
from jaxvision.ops import bayer
from jaxvision.papers.content_authentication import forensics, pipelines

Parameters = Mapping[str, np.ndarray]
Layers = dict[str, dict[str, np.ndarray]]

_LEAVES = {
  "weights": "kernel",
  "biases": "bias",
  "gamma": "scale",
  "beta": "bias",
  "moving_mean": "mean",
  "moving_variance": "variance",
}


def unet(parameters: Parameters) -> tuple[pipelines.UNet, dict]:
  """Returns the U-Net of a checkpoint and its variables."""
  keras = _is_keras(parameters)
  layers = _layers(parameters)
  if keras:
    levels = sum(name.startswith("conv2d_transpose") for name in layers) + 1
    convolutions = [f"conv{n}_{i}" for n in range(1, 2 * levels) for i in (1, 2)]
    names = {
      "conv2d": [*convolutions, "head"],
      "conv2d_transpose": [f"upsample_{step}" for step in range(1, levels)],
    }
    layers = _name_keras_layers(layers, names)
  else:
    levels = sum(name.startswith("upsample") for name in layers) + 1
    layers["head"] = layers.pop(f"conv{2 * levels}")
  for name, layer in layers.items():
    if name.startswith("upsample"):
      # TensorFlow stores [h, w, out, in].
      layer["kernel"] = layer["kernel"].swapaxes(-1, -2)
  features = tuple(
    _get(layers, f"conv{level}_1")["kernel"].shape[-1] for level in range(1, levels + 1)
  )
  return pipelines.UNet(features, keras), {"params": {"unet": layers}}


def inet(parameters: Parameters, pattern: str = "GBRG"):
  """Returns the INet of a checkpoint and its variables.

  Args:
    parameters: the checkpoint.
    pattern: colour filters, where the checkpoint does not hold the constant kernel.
  """
  layers = _layers(parameters)
  ours = ("upsampling", "demosaic", "color", "gamma_encode", "gamma_decode")
  if _is_keras(parameters):
    layers = _name_keras_layers(layers, {"conv2d": list(ours)})
  else:
    theirs = ("conv_h12", "conv_demo", "conv_sRGB", "conv_encode", "conv_decode")
    layers = _rename(layers, dict(zip(theirs, ours, strict=True)))
  constants, pattern = _pop_upsampling(layers, "upsampling", pattern)
  size = _get(layers, "demosaic")["kernel"].shape[0]
  model = pipelines.INet(pattern, kernel_size=size)
  return model, {"params": layers, "constants": constants}


def dnet(parameters: Parameters, pattern: str = "GBRG"):
  """Returns the DNet of a checkpoint and its variables; arguments as for `inet`."""
  layers = _layers(parameters)
  if _is_keras(parameters):
    depth = len(layers) - 3
    tail = ["conv_h12", "conv_postupscale", "conv_final"]
    names = {"conv2d": [*(f"conv{layer}" for layer in range(depth)), *tail]}
    layers = _name_keras_layers(layers, names)
  constants, pattern = _pop_upsampling(layers, "conv_h12", pattern)
  normalized = [name for name in layers if name.startswith("bn")]
  for name in normalized:
    width = len(layers[name]["scale"])
    constants[name] = {
      "mean": layers[name].pop("mean", np.zeros(width, np.float32)),
      "variance": layers[name].pop("variance", np.ones(width, np.float32)),
    }
  depth = len(layers) - len(normalized) - 2
  features = _get(layers, "conv0")["kernel"].shape[-1]
  model = pipelines.DNet(pattern, depth, features, normalize=bool(normalized))
  return model, {"params": layers, "constants": constants}


def fan(parameters: Parameters) -> tuple[forensics.FAN, dict]:
  """Returns the forensic network of a checkpoint and its variables."""
  layers = _layers(parameters)
  if _is_keras(parameters):
    trunk = sum(name.startswith("conv2d") for name in layers) - 1
    dense = sum(name.startswith("dense") for name in layers) - 1
    names = {
      "": ["residual"],
      "conv2d": [*(f"conv{n}" for n in range(1, trunk + 1)), "conv_final"],
      "dense": [*(f"ff{n}" for n in range(1, dense + 1)), "predictions"],
    }
    layers = _name_keras_layers(layers, names)
  else:
    trunk = sum(name.startswith("conv") for name in layers) - 2
    dense = sum(name.startswith("ff") for name in layers)
    renamed = {"conv_res": "residual", f"conv{trunk + 1}": "conv_final"}
    layers = _rename(layers, renamed)
  model = forensics.FAN(
    num_classes=_width(layers, "predictions"),
    filters=tuple(_width(layers, f"conv{n}") for n in range(1, trunk + 1)),
    dense=tuple(_width(layers, f"ff{n}") for n in range(1, dense + 1)),
  )
  return model, {"params": layers}


def _is_keras(parameters: Parameters) -> bool:
  return any(name.startswith(("conv2d", "dense")) for name in parameters)


def _layers(parameters: Parameters) -> Layers:
  """Returns {layer: {leaf: array}}, leaves by this project's names, scopes dropped."""
  layers: Layers = {}
  for name, value in parameters.items():
    scope, _, leaf = name.removesuffix(":0").rpartition("/")
    layer = layers.setdefault(scope.rpartition("/")[2], {})
    leaf = _LEAVES.get(leaf, leaf)
    if leaf not in ("kernel", "bias", "scale", "mean", "variance") or leaf in layer:
      raise UserError(f"the checkpoint has a variable {name!r} of unknown meaning")
    layer[leaf] = np.asarray(value)
  return layers


def _name_keras_layers(layers: Layers, names: dict[str, list[str]]) -> Layers:
  """Returns the layers by our names, given {kind: names in order of creation}."""

  def number(layer: str) -> int:
    digits = layer.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0

  renamed = {}
  for kind, ours in names.items():
    theirs = sorted((n for n in layers if n.rstrip("0123456789_") == kind), key=number)
    if len(theirs) != len(ours):
      raise UserError(
        f"the checkpoint has {len(theirs)} layers named {kind!r}, not {len(ours)}"
      )
    renamed |= {our: layers[their] for our, their in zip(ours, theirs, strict=True)}
  if len(renamed) != len(layers):
    raise UserError(f"the checkpoint's layers {sorted(layers)} are not all known")
  return renamed


def _rename(layers: Layers, names: dict[str, str]) -> Layers:
  return {names.get(name, name): layer for name, layer in layers.items()}


def _pop_upsampling(layers: Layers, name: str, pattern: str) -> tuple[dict, str]:
  """Takes the constant kernel out of `layers`; returns it and the pattern it is."""
  if name not in layers:
    return {"upsampling": bayer.scatter_kernel(pattern)}, pattern
  kernel = layers.pop(name)["kernel"].reshape(4, 12)
  for candidate in bayer.PATTERNS:
    if np.array_equal(kernel, bayer.scatter_kernel(candidate)):
      pattern = candidate
  return {"upsampling": kernel}, pattern


def _get(layers: Layers, name: str) -> dict[str, np.ndarray]:
  if name not in layers:
    raise UserError(f"the checkpoint has no layer {name!r}, only {sorted(layers)}")
  return layers[name]


def _width(layers: Layers, name: str) -> int:
  return _get(layers, name)["kernel"].shape[-1]
