"""Checkpoints with torchvision's names into `nn.vgg`, `nn.resnet`, `nn.inception`.

Shapes come from the network, so that a checkpoint of another one is refused.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxvision.errors import UserError
from jaxvision.published.reader import Reader, conv_kernel, linear_kernel

_IGNORED = ("*.num_batches_tracked",)
_NORM_LEAVES = {"scale": "weight", "bias": "bias", "mean": "running_mean"}
_NORM_LEAVES["var"] = "running_var"


def resnet(weights: Mapping[str, np.ndarray], shapes: Any) -> dict[str, Any]:
  """Returns the variables of a residual network.

  Names are `layer1.0.conv1.weight`, `layer1.0.downsample.0.weight`, `bn1.bias`,
  `fc.weight`, ...; a prefix `module.`, which PyTorch's data parallelism adds, is
  dropped.

  Args:
    weights: as `published.load` reads them.
    shapes: `jax.eval_shape` of the network's variables.

  Raises:
    UserError: a weight is missing, too much, or of another shape.
  """
  reader = Reader(_without_prefix(weights), "the ResNet checkpoint")
  variables = _convert(shapes, lambda path: ".".join(map(_resnet_name, path)), reader)
  reader.finish(_IGNORED)
  return variables


def inception(weights: Mapping[str, np.ndarray], shapes: Any) -> dict[str, Any]:
  """Returns the variables of an Inception-v3; arguments as `resnet`.

  Names are `Conv2d_1a_3x3.conv.weight`, `Mixed_5b.branch1x1.bn.running_mean`,
  `AuxLogits.fc.bias`, `fc.weight`, ...: torchvision's, and those of the port of FID's
  network to PyTorch (pt_inception-2015-12-05), which has no `AuxLogits`.
  """
  reader = Reader(_without_prefix(weights), "the Inception checkpoint")
  variables = _convert(shapes, ".".join, reader)
  reader.finish(_IGNORED)
  return variables


def vgg(weights: Mapping[str, np.ndarray], shapes: Any) -> dict[str, Any]:
  """Returns the variables of a VGG; arguments as `resnet`.

  torchvision numbers what stands in `features` and `classifier`. Convolutions,
  normalisations and dense layers are taken in that order; the kernel of the first
  dense layer is reordered, because PyTorch flattens maps [C, H, W].
  """
  weights = _without_prefix(weights)
  convolutions, norms, dense = _vgg_layers(weights)
  params = shapes["params"]
  names = {}
  for prefix, theirs in (("conv", convolutions), ("bn", norms), ("fc", dense)):
    ours = sorted((n for n in params if n.startswith(prefix)), key=_stage_and_index)
    if len(ours) != len(theirs):
      raise UserError(
        f"the VGG checkpoint has {len(theirs)} layers for {len(ours)} of the network "
        f"called {prefix}*"
      )
    names |= dict(zip(ours, theirs, strict=True))
  reader = Reader(weights, "the VGG checkpoint")
  variables = _convert(shapes, lambda path: names[path[0]], reader)
  reader.finish(_IGNORED)

  last = variables["params"][max(names, key=_convolutions_order)]["bias"].shape[0]
  first_dense = variables["params"][min(n for n in names if n.startswith("fc"))]
  kernel = first_dense["kernel"]
  side, rest = divmod(kernel.shape[0], last)
  side = round(side**0.5)
  if rest or side * side * last != kernel.shape[0]:
    raise UserError("the VGG checkpoint's first dense layer does not fit its maps")
  kernel = kernel.reshape(last, side, side, -1).transpose(1, 2, 0, 3)
  first_dense["kernel"] = kernel.reshape(side * side * last, -1)
  return variables


def _convert(shapes, name_of, reader) -> dict[str, Any]:
  """Returns a tree like `shapes`, each leaf taken by the name of its layer."""

  def convert(tree, path):
    if hasattr(next(iter(tree.values())), "shape"):
      layer = name_of(path)
      return {leaf: _take(reader, layer, leaf, tree) for leaf in tree}
    return {key: convert(branch, (*path, key)) for key, branch in tree.items()}

  return {name: convert(collection, ()) for name, collection in shapes.items()}


def _take(reader, layer, leaf, leaves):
  shape = leaves[leaf].shape
  if leaf != "kernel":
    # A layer without a kernel is a normalisation, whose weight is its scale.
    return reader.take(f"{layer}.{_NORM_LEAVES[leaf]}", shape)
  if len(shape) == 2:
    return linear_kernel(reader.take(f"{layer}.weight", shape[::-1]))
  theirs = (shape[-1], shape[-2], *shape[:-2])
  return conv_kernel(reader.take(f"{layer}.weight", theirs))


def _without_prefix(weights):
  return {name.removeprefix("module."): array for name, array in weights.items()}


def _resnet_name(part: str) -> str:
  return re.sub(r"^(layer\d+|downsample)_(\d+)$", r"\1.\2", part)


def _vgg_layers(weights) -> tuple[list[str], list[str], list[str]]:
  """Returns the names of convolutions, normalisations and dense layers, in order."""
  layers = {name.rpartition(".")[0] for name in weights}

  def order(layer):
    block, _, number = layer.partition(".")
    return (block != "features", int(number) if number.isdigit() else 0)

  found = ([], [], [])
  for layer in sorted(layers, key=order):
    rank = np.ndim(weights.get(f"{layer}.weight", 0.0))
    kind = {4: 0, 1: 1, 2: 2}.get(rank)
    if kind is not None:
      found[kind].append(layer)
  return found


def _stage_and_index(name: str) -> tuple[int, ...]:
  return tuple(map(int, re.findall(r"\d+", name)))


def _convolutions_order(name: str) -> tuple[int, ...]:
  return _stage_and_index(name) if name.startswith("conv") else ()
