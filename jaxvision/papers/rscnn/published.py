"""Turns the authors' checkpoints into this project's networks and their variables."""

import os
import re
from collections.abc import Mapping, Sequence

import chex
import flax.linen as nn
import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.papers.rscnn import networks
from jaxvision.papers.rscnn.convolution import Scales
from jaxvision.papers.rscnn.relations import RELATIONS

# Statistics of no use: counters, and norms that later layers have and never call.
_IGNORED = ("*.num_batches_tracked", "*.bn_xyz_raising.*")
# Ours, theirs: linear maps that all scales of a layer share, and norms of each scale.
_SHARED = {
  "mapping0": "mapping_func1",
  "mapping1": "mapping_func2",
  "channel_raising": "cr_mapping",
  "xyz_raising": "xyz_raising",
}
_NORMS = {
  "mapping": "bn_mapping",
  "product": "bn_rsconv",
  "channel_raising": "bn_channel_raising",
  "xyz_raising": "bn_xyz_raising",
}


def load(path: str | os.PathLike) -> tuple[nn.Module, dict]:
  """Returns the network of a checkpoint file and its variables.

  Raises:
    UserError: missing or damaged file, or one of another network.
  """
  return convert(published.load(path), str(path))


def convert(
  weights: Mapping[str, np.ndarray], source: str = "weights"
) -> tuple[nn.Module, dict]:
  """Returns the network that a state_dict describes, and its variables.

  A `Classifier` or, where there is feature propagation, a `PointLabeller`: sizes that
  the weights do not tell (centroids, radii, neighbours) are the paper's.

  Args:
    weights: arrays by the authors' names; "module." before all of them is left out.
    source: what errors call them.

  Raises:
    UserError: a weight is missing, of another shape, or of unknown meaning; or the
      tensors that scales share differ.
  """
  weights = {name.removeprefix("module."): array for name, array in weights.items()}
  reader = Reader(weights, source)
  segments = any(name.startswith("FP_modules.") for name in weights)
  paper = networks.SEGMENTATION if segments else networks.CLASSIFICATION
  layers = []
  variables = Variables()
  for number, like in enumerate(paper):
    name = f"SA_modules.{number}"
    features = set_abstraction(
      reader, variables, name, (f"abstraction{number}", "conv"), number == 0
    )
    if reader.scales(name) != len(like.radii):
      raise UserError(f"{source}: {name} has not {len(like.radii)} scales")
    layers.append(Scales(like.centroids, like.radii, like.counts, features))
  first = len(paper)
  # The authors' relation_prior 0 has one channel; 1 and 2 have ten, and cannot be told
  # apart: 1 is their default.
  inputs = variables.tree()["params"]["abstraction0"]["conv"]["mapping0"]["kernel"]
  relation = "distance" if len(inputs) == RELATIONS["distance"] else "released"
  if not segments:
    pooled = pooling(reader, variables, f"SA_modules.{first}", ("pooling",))
    hidden = [_fc(reader, variables, f"FC_layer.{2 * i}", i) for i in (0, 1)]
    classes = _output(reader, variables, "FC_layer.4.fc")
    network = networks.Classifier(
      classes, tuple(layers), pooled, tuple(hidden), relation=relation
    )
  else:
    pooled = pooling(reader, variables, f"SA_modules.{first}", ("pooling_last",))
    pooling(reader, variables, f"SA_modules.{first + 1}", ("pooling_before",))
    widths = tuple(
      propagation(reader, variables, f"FP_modules.{i}", (f"propagation{i}",))
      for i in range(len(paper))
    )
    hidden = _block(
      reader, variables, "FC_layer.0.conv", "FC_layer.0.bn.bn", ("head", "layer0")
    )
    outputs = _output(reader, variables, "FC_layer.2.conv")
    width = reader.take("FC_layer.0.conv.weight").shape[1]
    network = networks.PointLabeller(
      outputs,
      width - widths[0] - 2 * pooled,
      tuple(layers),
      pooled,
      widths,
      (hidden,),
      relation=relation,
    )
  reader.finish(ignore=_IGNORED)
  return network, variables.tree()


class Reader(published.Reader):
  """Takes the tensors that a layer's scales share once, after comparing them."""

  def scales(self, name: str) -> int:
    """Returns the number of scales of a set abstraction."""
    pattern = rf"{re.escape(name)}\.mlps\.(\d+)\." if name else r"mlps\.(\d+)\."
    found = (re.match(pattern, key) for key in self._weights)
    return 1 + max((int(match[1]) for match in found if match), default=-1)

  def has(self, name: str) -> bool:
    return name in self._weights

  def shared(self, name: str, scales: int, layer: str) -> np.ndarray:
    """Returns a tensor that every scale lists again.

    Raises:
      UserError: it is missing, or not the same under every scale.
    """
    first = self.take(_key(name, 0, layer))
    for scale in range(1, scales):
      again = self.take(_key(name, scale, layer), first.shape)
      if not np.array_equal(first, again):
        raise UserError(
          f"{self._source}: {_key(name, scale, layer)} differs from that of scale 0"
        )
    return first


class Variables:
  """Params and running statistics, filled leaf by leaf."""

  def __init__(self):
    self._flat: dict[tuple[str, ...], np.ndarray] = {}

  def linear(
    self, path: Sequence[str], weight: np.ndarray, bias: np.ndarray | None = None
  ) -> int:
    """Adds a linear map or 1 x 1 convolution; returns its width."""
    kernel = weight.reshape(weight.shape[:2])
    self._flat["params", *path, "kernel"] = published.linear_kernel(kernel)
    if bias is not None:
      self._flat["params", *path, "bias"] = bias
    return len(weight)

  def norm(
    self, reader: published.Reader, name: str, path: Sequence[str], width: int
  ) -> None:
    """Adds a normalisation."""
    leaves = {
      ("params", *path, "scale"): "weight",
      ("params", *path, "bias"): "bias",
      ("batch_stats", *path, "mean"): "running_mean",
      ("batch_stats", *path, "var"): "running_var",
    }
    for leaf, theirs in leaves.items():
      self._flat[leaf] = reader.take(f"{name}.{theirs}", (width,))

  def tree(self) -> dict:
    """Returns {"params": ..., "batch_stats": ...}."""
    tree: dict = {}
    for path, leaf in self._flat.items():
      *parents, name = path
      branch = tree
      for parent in parents:
        branch = branch.setdefault(parent, {})
      branch[name] = np.asarray(leaf, np.float32)
    return tree


def set_abstraction(
  reader: Reader, variables: Variables, name: str, path: Sequence[str], first: bool
) -> int:
  """Adds the convolution of a set abstraction; returns its channels C_out.

  Args:
    reader: of the state_dict.
    variables: what to add to.
    name: the authors' name of the module, "SA_modules.0"; "" for a module alone.
    path: ours.
    first: whether it is the first layer.
  """
  scales = reader.scales(name)
  if scales < 1:
    raise UserError(f"the weights lack {name}.mlps.0")
  widths = {}
  for ours, theirs in _SHARED.items():
    if ours == "xyz_raising" and not first:
      continue
    weight = reader.shared(name, scales, f"{theirs}.weight")
    bias = reader.shared(name, scales, f"{theirs}.bias")
    widths[ours] = variables.linear((*path, ours), weight, bias)
  widths |= {"mapping": widths["mapping0"], "product": widths["mapping1"]}
  for scale in range(scales):
    for ours, theirs in _NORMS.items():
      if ours != "xyz_raising" or first:
        norm = (*path, f"{ours}_norm{scale}")
        variables.norm(reader, _key(name, scale, theirs), norm, widths[ours])
  return widths["channel_raising"]


def pooling(
  reader: published.Reader, variables: Variables, name: str, path: Sequence[str]
) -> int:
  """Adds a global pooling; returns its width."""
  prefix = f"{name}.mlps.0" if name else "mlps.0"
  return _block(
    reader, variables, f"{prefix}.conv_avg", f"{prefix}.bn_avg", (*path, "block")
  )


def propagation(
  reader: Reader, variables: Variables, name: str, path: Sequence[str]
) -> int:
  """Adds the layers of a feature propagation; returns the last one's width."""
  prefix = f"{name}.mlp" if name else "mlp"
  width, number = 0, 0
  while number == 0 or reader.has(f"{prefix}.layer{number}.conv.weight"):
    layer = f"{prefix}.layer{number}"
    ours = (*path, "mlp", f"layer{number}")
    width = _block(reader, variables, f"{layer}.conv", f"{layer}.bn.bn", ours)
    number += 1
  return width


def _key(name: str, scale: int, layer: str) -> str:
  prefix = f"{name}." if name else ""
  return f"{prefix}mlps.{scale}.RSConvLayer0.RS_Conv.{layer}"


def _block(reader, variables, linear, norm, path) -> int:
  """Adds a `PointBlock`; returns its width."""
  weight = reader.take(f"{linear}.weight")
  chex.assert_rank(weight, {2, 3, 4})
  # Only what has a bias and a norm behind it are the global poolings.
  bias = reader.take(f"{linear}.bias") if linear.endswith("conv_avg") else None
  width = variables.linear((*path, "linear"), weight, bias)
  variables.norm(reader, norm, (*path, "norm"), width)
  return width


def _fc(reader, variables, name, number) -> int:
  return _block(
    reader, variables, f"{name}.fc", f"{name}.bn.bn", ("head", f"layer{number}")
  )


def _output(reader, variables, name) -> int:
  weight, bias = reader.take(f"{name}.weight"), reader.take(f"{name}.bias")
  return variables.linear(("head", "output"), weight, bias)
