"""Turns the authors' checkpoints into this project's networks and their variables.

Their files latest_net_G.pth, latest_net_D.pth and latest_net_E.pth are PyTorch
state_dicts. What the weights do not tell, the caller says.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.nn.spectral_norm import COLLECTION
from jaxvision.nn.vgg import VGG19
from jaxvision.papers.spade.conditioning import SpatiallyAdaptiveNorm
from jaxvision.papers.spade.discriminator import Discriminator
from jaxvision.papers.spade.encoder import StyleEncoder
from jaxvision.papers.spade.generator import Generator, ResidualBlock
from jaxvision.papers.spade.pix2pixhd import Pix2PixHDGenerator

Weights = Mapping[str, np.ndarray]
Converted = tuple[nn.Module, dict[str, Any]]

_IGNORED = ("*.num_batches_tracked",)


class _Converter:
  """Takes layers out of a state_dict and puts them into a tree of variables."""

  def __init__(self, weights: Weights, source: str):
    self.weights = {k.removeprefix("module."): v for k, v in weights.items()}
    self.reader = published.Reader(self.weights, source)
    self.source = source
    self._tree: dict[str, Any] = {}

  def has(self, name: str) -> bool:
    return name in self.weights

  def take(self, name: str) -> np.ndarray:
    return self.reader.take(name)

  def put(self, collection: str, path: str, array: np.ndarray) -> None:
    *parents, leaf = (collection, *path.split("/"))
    branch = self._tree
    for parent in parents:
      branch = branch.setdefault(parent, {})
    branch[leaf] = np.asarray(array, np.float32)

  def convolution(self, name: str, path: str, *, transposed: bool = False) -> None:
    """Moves a convolution, spectrally normalised or not, with its bias if any."""
    spectral = self.has(f"{name}.weight_orig")
    weight = self.take(f"{name}.weight_orig" if spectral else f"{name}.weight")
    if weight.ndim != 4:
      raise UserError(f"{self.source}: {name} is no convolution: {weight.shape}")
    if transposed:
      weight = np.swapaxes(weight, 0, 1)
    self.put("params", f"{path}/kernel", published.conv_kernel(weight))
    if spectral:
      outputs, *rest = weight.shape
      u = self.reader.take(f"{name}.weight_u", (outputs,))
      v = self.reader.take(f"{name}.weight_v", (int(np.prod(rest)),))
      self.put(COLLECTION, f"{path}/u", u)
      self.put(COLLECTION, f"{path}/v", v.reshape(rest).transpose(1, 2, 0).reshape(-1))
    if self.has(f"{name}.bias"):
      self.put("params", f"{path}/bias", self.take(f"{name}.bias"))

  def spade(self, name: str, path: str) -> None:
    """Moves a SPADE layer; `name` is "" or ends with a dot."""
    norm = f"{name}param_free_norm."
    if self.has(f"{norm}running_mean"):
      for ours, theirs in (("mean", "running_mean"), ("var", "running_var")):
        array = self.take(norm + theirs)
        self.put("batch_stats", f"{path}norm/statistics/{ours}", array)
    for ours, theirs in (
      ("shared", "mlp_shared.0"),
      ("gamma", "mlp_gamma"),
      ("beta", "mlp_beta"),
    ):
      self.convolution(name + theirs, path + ours)

  def block(self, name: str, path: str) -> None:
    """Moves a residual block; `name` is "" or ends with a dot."""
    for part in "01s":
      if part == "s" and not self.has(f"{name}norm_s.mlp_shared.0.weight"):
        continue
      self.convolution(f"{name}conv_{part}", f"{path}conv_{part}")
      self.spade(f"{name}norm_{part}.", f"{path}norm_{part}/spade/")

  def finish(self) -> dict[str, Any]:
    """Returns the variables, after checking that no weight is left."""
    self.reader.finish(_IGNORED)
    return self._tree

  def options(self, name: str) -> dict[str, Any]:
    """Returns what a SPADE layer called `name` tells of norm and kernel size."""
    has_statistics = self.has(f"{name}param_free_norm.running_mean")
    shared = self.reader.take(f"{name}mlp_shared.0.weight")
    return {
      "norm": "sync_batch" if has_statistics else "instance",
      "kernel_size": shared.shape[-1],
      "hidden": shared.shape[0],
    }


def spade(weights: Weights, source: str = "weights") -> Converted:
  """Returns one SPADE layer and its variables."""
  converter = _Converter(weights, source)
  converter.spade("", "")
  return SpatiallyAdaptiveNorm(**converter.options("")), converter.finish()


def residual_block(weights: Weights, source: str = "weights") -> Converted:
  """Returns one residual block and its variables."""
  converter = _Converter(weights, source)
  spectral = converter.has("conv_1.weight_orig")
  converter.block("", "")
  kernel = converter.take("conv_1.weight_orig" if spectral else "conv_1.weight")
  block = ResidualBlock(len(kernel), spectral=spectral, **converter.options("norm_0."))
  return block, converter.finish()


def generator(
  weights: Weights,
  *,
  upsampling: str | None = None,
  crop_size: int = 256,
  aspect_ratio: float = 1.0,
  source: str = "weights",
) -> Converted:
  """Returns the generator of a checkpoint and its variables.

  Args:
    weights: as `published.load` reads them.
    upsampling: "normal" or "more"; where it is not given, as the size of a latent
      start tells, and "normal" for a start from labels, which does not tell. ("most"
      has a block more.)
    crop_size: width of the images.
    aspect_ratio: their width over their height.
    source: what errors call the weights.

  Raises:
    UserError: a weight is missing, left over or of another shape, or the start does
      not fit the crop.
  """
  converter = _Converter(weights, source)
  spectral = converter.has("head_0.conv_0.weight_orig")
  image_inputs = converter.take("conv_img.weight").shape[1]
  start = converter.take("fc.weight")
  if converter.has("up_4.conv_0.bias"):
    upsampling = "most"
  elif upsampling is None:
    more = start.ndim == 2 and _has_more_start(
      len(start), image_inputs, crop_size, aspect_ratio
    )
    upsampling = "more" if more else "normal"
  network = Generator(
    features=image_inputs * (2 if upsampling == "most" else 1),
    upsampling=upsampling,
    crop_size=crop_size,
    aspect_ratio=aspect_ratio,
    start="latent" if start.ndim == 2 else "semantics",
    spectral=spectral,
    **converter.options("head_0.norm_0."),
  )
  if network.start == "latent":
    map_shape = (16 * network.features, *network.start_shape)
    weight, bias = start, converter.take("fc.bias")
    if len(weight) != np.prod(map_shape):
      raise UserError(
        f"{source}: fc has {len(weight)} outputs, but a start of {map_shape[1:]} with "
        f"{map_shape[0]} channels has {np.prod(map_shape)}: is it for another crop?"
      )
    bias = bias.reshape(map_shape).transpose(1, 2, 0).reshape(-1)
    weight = weight.reshape(*map_shape, -1).transpose(3, 1, 2, 0)
    converter.put("params", "fc/kernel", weight.reshape(len(weight), -1))
    converter.put("params", "fc/bias", bias)
  else:
    converter.convolution("fc", "fc")
  ups = 5 if upsampling == "most" else 4
  names = {"head_0": "head_0", "G_middle_0": "middle_0", "G_middle_1": "middle_1"}
  for theirs, ours in (names | {f"up_{i}": f"up_{i}" for i in range(ups)}).items():
    converter.block(f"{theirs}.", f"{ours}/")
  converter.convolution("conv_img", "image")
  return network, converter.finish()


def _has_more_start(outputs: int, features: int, crop_size: int, aspect: float) -> bool:
  """Returns whether a latent start of so many outputs is that of "more"."""
  try:
    shape = Generator(features, "more", crop_size, aspect).start_shape
  except ValueError:  # the crop is too small for it
    return False
  return outputs == 16 * features * np.prod(shape)


def discriminator(weights: Weights, source: str = "weights") -> Converted:
  """Returns the discriminator of a checkpoint and its variables."""
  converter = _Converter(weights, source)
  scales = _count(converter, r"discriminator_(\d+)\.")
  layers = _count(converter, r"discriminator_0\.model(\d+)\.") - 1
  if scales < 1 or layers < 2:
    raise UserError(f"{source}: has {scales} scales of {layers} layers")
  first = converter.take("discriminator_0.model0.0.weight")
  for scale in range(scales):
    for layer in range(layers + 1):
      theirs = f"discriminator_{scale}.model{layer}.0"
      inner = 0 < layer < layers
      name = "logits" if layer == layers else f"layer_{layer}"
      path = f"scale_{scale}/{name}"
      converter.convolution(f"{theirs}.0" if inner else theirs, path)
  spectral = converter.has("discriminator_0.model1.0.0.weight_orig")
  network = Discriminator(scales, len(first), layers, spectral)
  return network, converter.finish()


def encoder(weights: Weights, source: str = "weights") -> Converted:
  """Returns the encoder of styles of a checkpoint and its variables."""
  converter = _Converter(weights, source)
  layers = _count(converter, r"layer(\d+)\.0\.weight", first=1)
  spectral = converter.has("layer1.0.weight_orig")
  first = converter.take("layer1.0.weight_orig" if spectral else "layer1.0.weight")
  for layer in range(layers):
    converter.convolution(f"layer{layer + 1}.0", f"layer_{layer}")
  for theirs, ours in (("fc_mu", "mean"), ("fc_var", "log_variance")):
    weight = converter.take(f"{theirs}.weight")
    if weight.ndim != 2 or weight.shape[1] % 16:
      raise UserError(f"{source}: {theirs} sees no maps of 4 x 4: {weight.shape}")
    latent, inputs = weight.shape
    weight = weight.reshape(latent, inputs // 16, 4, 4).transpose(2, 3, 1, 0)
    converter.put("params", f"{ours}/kernel", weight.reshape(inputs, latent))
    converter.put("params", f"{ours}/bias", converter.take(f"{theirs}.bias"))
  network = StyleEncoder(len(first), 4 * 2**layers, latent, spectral)
  return network, converter.finish()


def pix2pixhd(weights: Weights, source: str = "weights") -> Converted:
  """Returns the baseline's generator of a checkpoint and its variables.

  The authors number layers among paddings and activations: what comes before the
  residual blocks halves, what comes after doubles, the last one makes the image.
  """
  converter = _Converter(weights, source)
  numbers = {int(m[1]) for k in weights if (m := re.search(r"model\.(\d+)\.", k))}
  blocks = {
    int(m[1]) for k in weights if (m := re.search(r"model\.(\d+)\.conv_block", k))
  }
  if not blocks:
    raise UserError(f"{source}: has no residual blocks")
  stem, *downs = sorted(n for n in numbers if n < min(blocks))
  *ups, last = sorted(n for n in numbers if n > max(blocks))
  converter.convolution(f"model.{stem}.0", "stem_conv")
  for index, number in enumerate(downs):
    converter.convolution(f"model.{number}.0", f"down_{index}_conv")
  for index, number in enumerate(sorted(blocks)):
    for part, layer in enumerate((1, 4)):
      theirs = f"model.{number}.conv_block.{layer}.0"
      converter.convolution(theirs, f"block_{index}_{part}_conv")
  for index, number in zip(reversed(range(len(ups))), ups, strict=True):
    converter.convolution(f"model.{number}.0", f"up_{index}_conv", transposed=True)
  converter.convolution(f"model.{last}", "image")
  features = converter.take(f"model.{last}.weight").shape[1]
  spectral = converter.has(f"model.{stem}.0.weight_orig")
  network = Pix2PixHDGenerator(features, len(downs), len(blocks), spectral)
  return network, converter.finish()


def vgg19(weights: Weights, source: str = "weights") -> dict[str, Any]:
  """Returns VGG-19's variables up to conv5_1.

  Args:
    weights: of torchvision's VGG-19 ("features.0.weight", ...) or of the authors'
      slices of it ("slice1.0.weight", ...); what lies behind conv5_1 is not used.
    source: what errors call the weights.
  """
  reader = published.Reader(weights, source)
  layers = {
    int(m[2]): f"{m[1]}.{m[2]}"
    for k in weights
    if (m := re.fullmatch(r"(features|slice\d)\.(\d+)\.weight", k))
  }
  names = [
    f"conv{stage}_{index}"
    for stage, widths in enumerate(VGG19, start=1)
    for index in range(1, len(widths) + 1)
  ]
  names = names[: names.index("conv5_1") + 1]
  if len(layers) < len(names):
    raise UserError(f"{source}: has {len(layers)} convolutions, not {len(names)}")
  params = {}
  for ours, number in zip(names, sorted(layers), strict=False):
    kernel = published.conv_kernel(reader.take(f"{layers[number]}.weight"))
    params[ours] = {"kernel": kernel, "bias": reader.take(f"{layers[number]}.bias")}
  return {"params": params}


def load(path: str | os.PathLike, **options: Any) -> Converted:
  """Returns the network of latest_net_{G,D,E}.pth and its variables.

  Args:
    path: a state_dict's file; which network it is, its keys tell.
    options: of `generator`.

  Raises:
    UserError: a missing or damaged file, or one of no network of this paper.
  """
  weights = published.load(path)
  for key, convert in {
    "discriminator_0.": discriminator,
    "fc_mu.": encoder,
    "model.": pix2pixhd,
  }.items():
    if any(name.removeprefix("module.").startswith(key) for name in weights):
      return convert(weights, source=str(path))
  return generator(weights, source=str(path), **options)


def _count(converter: _Converter, pattern: str, first: int = 0) -> int:
  found = (re.match(pattern, name) for name in converter.weights)
  return 1 - first + max((int(m[1]) for m in found if m), default=first - 1)
