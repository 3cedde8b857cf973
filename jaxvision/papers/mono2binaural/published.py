"""The authors' checkpoints visual_best.pth and audio_best.pth as our variables."""

import os
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.nn.resnet import ResNet
from jaxvision.papers.mono2binaural.networks import WIDTHS, AudioNet, AudioVisualNet
from jaxvision.published import torchvision

Weights = Mapping[str, np.ndarray]

_IGNORED = ("*.num_batches_tracked",)
_STEM = {"0": "conv1", "1": "bn1"}  # behind it, children 4 to 7 are the stages
_VISUAL = "feature_extraction."


def visual_net(weights: Weights) -> tuple[ResNet, dict[str, Any]]:
  """Returns the network that sees and its variables.

  Args:
    weights: of visual_best.pth.

  Raises:
    UserError: a weight is missing, left over, or of another shape.
  """
  renamed = {_torchvision_name(key): array for key, array in _bare(weights).items()}
  widths = tuple(
    _get(renamed, f"layer{stage}.0.bn1.weight").shape[0] for stage in range(1, 5)
  )
  blocks = tuple(
    len({key.split(".")[1] for key in renamed if key.startswith(f"layer{stage}.")})
    for stage in range(1, 5)
  )
  network = ResNet(0, "basic", blocks, widths)
  shapes = _shapes(network, jnp.zeros((1, 64, 64, 3)))
  return network, torchvision.resnet(renamed, shapes)


def imagenet(weights: Weights, network: ResNet) -> dict[str, Any]:
  """Returns the variables that torchvision's classifier gives a network that sees.

  Args:
    weights: of torchvision's resnet18, whose last layer is left out.
    network: without classes.
  """
  own = {key: array for key, array in weights.items() if not key.startswith("fc.")}
  return torchvision.resnet(own, _shapes(network, jnp.zeros((1, 64, 64, 3))))


def audio_net(weights: Weights) -> tuple[AudioNet, dict[str, Any]]:
  """Returns the network that hears and its variables; arguments as `visual_net`.

  Without the layer conv1x1 it is one that only hears.
  """
  weights = _bare(weights)
  reader = published.Reader(weights, "the audio checkpoint")
  params: dict[str, Any] = {}
  statistics: dict[str, Any] = {}

  def move(theirs, ours, transposed=False):
    weight = reader.take(f"{theirs}.0.weight")
    if weight.ndim != 4:
      raise UserError(f"the audio checkpoint: {theirs} is no convolution")
    weight = np.swapaxes(weight, 0, 1) if transposed else weight
    kernel = published.conv_kernel(weight)
    bias = reader.take(f"{theirs}.0.bias", kernel.shape[-1:])
    params[ours] = {"kernel": kernel, "bias": bias}
    if f"{theirs}.1.weight" in weights:
      names = {"scale": "weight", "bias": "bias"}
      params[f"{ours}_norm"] = {
        own: reader.take(f"{theirs}.1.{name}") for own, name in names.items()
      }
      statistics[f"{ours}_norm"] = {
        own: reader.take(f"{theirs}.1.running_{own}") for own in ("mean", "var")
      }

  levels = range(1, len(WIDTHS) + 1)
  for level in levels:
    move(f"audionet_convlayer{level}", f"down_{level}")
    move(f"audionet_upconvlayer{level}", f"up_{level}", transposed=True)
  if "conv1x1.0.weight" in weights:
    move("conv1x1", "visual")
  reader.finish(_IGNORED)
  network = AudioNet(
    features=params["down_1"]["kernel"].shape[-1],
    outputs=params[f"up_{levels[-1]}"]["kernel"].shape[-1],
    reduced=params["visual"]["kernel"].shape[-1] if "visual" in params else 8,
  )
  return network, {"params": params, "batch_stats": statistics}


def audio_visual_net(
  visual: Weights | None, audio: Weights
) -> tuple[AudioVisualNet, dict[str, Any]]:
  """Returns the whole network; without `visual`, one that only hears."""
  hears, heard = audio_net(audio)
  if visual is None:
    network = AudioVisualNet(hears)
    return network, {name: {"audio": tree} for name, tree in heard.items()}
  sees, seen = visual_net(visual)
  network = AudioVisualNet(hears, sees)
  return network, {
    name: {"audio": heard[name], "visual": seen[name]}
    for name in ("params", "batch_stats")
  }


def load(
  paths: tuple[str | os.PathLike, ...],
) -> tuple[AudioVisualNet, dict[str, Any]]:
  """Returns the network of one or two of the authors' files, in any order.

  Raises:
    UserError: a missing or damaged file, or one of another network.
  """
  visual = audio = None
  for path in paths:
    weights = published.load(path)
    if any(key.startswith(_VISUAL) for key in _bare(weights)):
      visual = weights
    elif any(key.startswith("audionet_") for key in _bare(weights)):
      audio = weights
    else:
      raise UserError(f"{path}: neither visual_best.pth nor audio_best.pth")
  if audio is None:
    raise UserError("audio_best.pth is missing among the weights")
  return audio_visual_net(visual, audio)


def _bare(weights: Weights) -> Weights:
  """Returns weights without the prefix of PyTorch's data parallelism."""
  return {key.removeprefix("module."): array for key, array in weights.items()}


def _torchvision_name(key: str) -> str:
  found = re.fullmatch(r"feature_extraction\.(\d+)\.(.*)", key)
  if not found:
    return key
  child, rest = found.groups()
  name = _STEM.get(child) or f"layer{int(child) - 3}"
  return f"{name}.{rest}"


def _get(weights: Weights, name: str) -> np.ndarray:
  if name not in weights:
    raise UserError(f"the visual checkpoint: lacks {name}")
  return weights[name]


def _shapes(network, *inputs):
  return jax.eval_shape(network.init, jax.random.key(0), *inputs)
