"""Turns the authors' checkpoints into this project's networks and their variables.

model_checkpoint_h36m_up3d.pt and the like are PyTorch's: {"graph_cnn": state_dict,
"smpl_param_regressor": state_dict, ...}.
"""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.nn.resnet import BLOCKS
from jaxvision.papers.graph_cmr.layers import GraphResidualBlock
from jaxvision.papers.graph_cmr.network import (
  SHAPE_HEAD,
  Encoder,
  GraphDecoder,
  Regressor,
)
from jaxvision.papers.graph_cmr.readout import ParameterReadout
from jaxvision.published import torchvision

Weights = Mapping[str, np.ndarray]
GRAPH, READOUT = "graph_cnn", "smpl_param_regressor"

_BOOKKEEPING = "*.num_batches_tracked"
_IMAGE_SIDE = 224


class Loaded(NamedTuple):
  """A network and its variables."""

  network: nn.Module
  variables: dict[str, Any]


class _Converter:
  """Takes layers out of a state_dict."""

  def __init__(self, weights: Weights, source: str):
    self.weights = {k.removeprefix("module."): v for k, v in weights.items()}
    self.reader = published.Reader(self.weights, source)

  def vertex_linear(self, name: str) -> dict[str, np.ndarray]:
    weight = self.reader.take(f"{name}.W")
    bias = self.reader.take(f"{name}.b", weight.shape[:1])
    return {"kernel": published.linear_kernel(weight), "bias": bias}

  def linear(self, name: str) -> dict[str, np.ndarray]:
    weight = self.reader.take(f"{name}.weight")
    bias = self.reader.take(f"{name}.bias", weight.shape[:1])
    return {"kernel": published.linear_kernel(weight), "bias": bias}

  def norm(self, name: str) -> dict[str, np.ndarray]:
    scale = self.reader.take(f"{name}.weight")
    return {"scale": scale, "bias": self.reader.take(f"{name}.bias", scale.shape)}

  def statistics(self, name: str) -> dict[str, np.ndarray]:
    mean = self.reader.take(f"{name}.running_mean")
    return {"mean": mean, "var": self.reader.take(f"{name}.running_var", mean.shape)}

  def block(self, name: str) -> dict[str, Any]:
    """Returns a residual block; a skip that changes no width is never applied."""
    kernel = self.reader.take(f"{name}conv.weight")
    params = {
      "norm_0": self.norm(f"{name}pre_norm"),
      "linear_1": self.vertex_linear(f"{name}lin1"),
      "norm_1": self.norm(f"{name}norm1"),
      "convolution": {
        "kernel": kernel,
        "bias": self.reader.take(f"{name}conv.bias", kernel.shape[1:]),
      },
      "norm_2": self.norm(f"{name}norm2"),
      "linear_2": self.vertex_linear(f"{name}lin2"),
    }
    skip = self.vertex_linear(f"{name}skip_conv")
    if skip["kernel"].shape[0] != skip["kernel"].shape[1]:
      params["skip"] = skip
    return params

  def finish(self, *ignored: str) -> None:
    self.reader.finish((_BOOKKEEPING, *ignored))


def residual_block(weights: Weights, source: str = "weights") -> Loaded:
  """Returns one residual block and its variables."""
  converter = _Converter(weights, source)
  params = converter.block("")
  converter.finish()
  features = len(params["linear_2"]["bias"])
  return Loaded(GraphResidualBlock(features), {"params": _float(params)})


def graph_cnn(weights: Weights, source: str = "weights") -> Loaded:
  """Returns the network from images to meshes; what it lacks is the readout.

  Args:
    weights: its state_dict.
    source: what errors call it.

  Raises:
    UserError: a weight is missing, left over or of another shape.
  """
  converter = _Converter(weights, source)
  layers = 1 + max(
    (int(m[1]) for k in converter.weights if (m := re.match(r"gc\.(\d+)\.", k))),
    default=-1,
  )
  if layers < 2:
    raise UserError(f"{source}: has no graph convolutions gc.1.*")
  params = {"input": converter.vertex_linear("gc.0")}
  for layer in range(layers - 1):
    params[f"trunk_{layer}"] = converter.block(f"gc.{layer + 1}.")
  for index in range(len(SHAPE_HEAD)):
    params[f"shape_{index}"] = converter.block(f"shape.{index}.")
  params["shape_norm"] = converter.norm("shape.2")
  params["vertices"] = converter.vertex_linear("shape.4")
  params["camera_norm"] = converter.norm("camera_fc.0")
  params["camera_linear"] = converter.vertex_linear("camera_fc.2")
  params["camera"] = converter.linear("camera_fc.4")
  converter.finish("resnet.*")

  of_resnet = {
    name.removeprefix("resnet."): array
    for name, array in converter.weights.items()
    if name.startswith("resnet.") and not name.startswith("resnet.fc.")
  }
  encoder = Encoder(_depth(of_resnet, source))
  shapes = jax.eval_shape(
    encoder.init, jax.random.key(0), jnp.zeros((1, _IMAGE_SIDE, _IMAGE_SIDE, 3))
  )
  of_encoder = torchvision.resnet(
    of_resnet, {name: tree["resnet"] for name, tree in shapes.items()}
  )
  decoder = GraphDecoder(len(params["camera_norm"]["scale"]), layers - 2)
  variables = {
    "params": {
      "encoder": {"resnet": of_encoder["params"]},
      "decoder": _float(params),
    },
    "batch_stats": {"encoder": {"resnet": of_encoder["batch_stats"]}},
  }
  return Loaded(Regressor(encoder, decoder), variables)


def parameter_readout(weights: Weights, source: str = "weights") -> Loaded:
  """Returns the network from vertices to parameters; arguments as `graph_cnn`."""
  converter = _Converter(weights, source)
  numbers = [
    int(m[1]) for k in converter.weights if (m := re.match(r"layers\.(\d+)\.", k))
  ]
  if not numbers:
    raise UserError(f"{source}: has no layers.*")
  last = max(numbers)
  params: dict[str, Any] = {"output": converter.linear(f"layers.{last}")}
  statistics = {}
  names = {"input": "layers.0.fc_block.{}"}
  for block in range(last - 1):
    for part in (0, 1):
      theirs = f"layers.{block + 1}.fc_block." + ("{}" if part == 0 else "{}+3")
      names[f"block_{block}_{part}"] = theirs
  for ours, theirs in names.items():
    first = 3 if theirs.endswith("+3") else 0
    theirs = theirs.removesuffix("+3")
    params[f"{ours}_linear"] = converter.linear(theirs.format(first))
    params[f"{ours}_norm"] = converter.norm(theirs.format(first + 1))
    statistics[f"{ours}_norm"] = converter.statistics(theirs.format(first + 1))
  converter.finish()
  outputs = len(params["output"]["bias"])
  network = ParameterReadout(
    hidden=len(params["input_linear"]["bias"]), blocks=last - 1, shapes=outputs - 216
  )
  return Loaded(network, {"params": _float(params), "batch_stats": _float(statistics)})


def whole(weights: Weights, source: str = "weights") -> Loaded:
  """Returns the network of a checkpoint, with the readout where it holds one.

  Args:
    weights: as `published.load` reads the file: names begin with "graph_cnn." and
      "smpl_param_regressor.", or are those of one state_dict.
    source: what errors call it.

  Raises:
    UserError: it is no such checkpoint.
  """
  parts = {name: _under(weights, name) for name in (GRAPH, READOUT)}
  network, variables = graph_cnn(parts[GRAPH] or weights, source)
  if not parts[READOUT]:
    return Loaded(network, variables)
  reads, its = parameter_readout(parts[READOUT], source)
  variables = {name: {**tree, "readout": its[name]} for name, tree in variables.items()}
  return Loaded(Regressor(network.encoder, network.decoder, reads), variables)


def load(path: str | os.PathLike) -> Loaded:
  """Returns the network of an authors' checkpoint file; see `whole`."""
  return whole(published.load(path), str(path))


def imagenet_encoder(path: str | os.PathLike, shapes: Mapping[str, Any]) -> dict:
  """Returns an encoder's variables from torchvision's weights, without classifier.

  Args:
    path: torchvision's checkpoint of the same depth.
    shapes: {"params": ..., "batch_stats": ...} of the encoder.
  """
  weights = {
    name: array
    for name, array in published.load(path).items()
    if not name.removeprefix("module.").startswith("fc.")
  }
  found = torchvision.resnet(
    weights, {name: tree["resnet"] for name, tree in shapes.items()}
  )
  return {name: {"resnet": tree} for name, tree in found.items()}


def _depth(weights: Weights, source: str) -> int:
  """Returns which ResNet has as many blocks as these weights."""
  blocks = {m[0] for k in weights if (m := re.match(r"layer\d\.\d+\.", k))}
  bottleneck = any(".conv3." in name for name in weights)
  for depth, (kind, counts) in BLOCKS.items():
    if sum(counts) == len(blocks) and (kind == "bottleneck") == bottleneck:
      return depth
  raise UserError(f"{source}: resnet.* is no ResNet of {len(blocks)} blocks")


def _under(weights: Weights, name: str) -> dict[str, np.ndarray]:
  prefix = f"{name}."
  return {
    key.removeprefix(prefix): array
    for key, array in weights.items()
    if key.startswith(prefix)
  }


def _float(tree: Any) -> Any:
  return jax.tree.map(lambda array: np.asarray(array, np.float32), tree)
