"""Turns the authors' checkpoints into this project's networks and their variables.

Their variables are named by scope, "8x8/Conv0_up/weight"; maps are channels first.
Sizes come from the shapes of the weights, and which configuration of Table 1 it is from
the layers that are there. What weights cannot tell, `fused` and `blur`, is the authors'
default: "auto" and True.
"""

import dataclasses
import os
import re
from collections.abc import Mapping as Dictionary
from typing import Any

import flax.linen as nn
import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.papers.stylegan.discriminator import Discriminator
from jaxvision.papers.stylegan.generator import Generator
from jaxvision.papers.stylegan.mapping import Mapping
from jaxvision.papers.stylegan.synthesis import Synthesis

Weights = Dictionary[str, np.ndarray]

_CONSTANT, _DENSE = "4x4/Const", "4x4/Dense"


@dataclasses.dataclass(frozen=True)
class Network:
  """A network and what it has learned.

  Attributes:
    module: the network.
    variables: its variables.
    lod: level of detail at which it was saved; 0 when fully grown.
  """

  module: nn.Module
  variables: dict[str, Any]
  lod: float = 0.0


def load(path: str | os.PathLike) -> dict[str, Network]:
  """Returns the networks of an authors' pickle (G, D, Gs).

  Returns:
    "generator", "discriminator" and "average" (Gs: the generator whose parameters are
    averages over training, which makes the published images).

  Raises:
    UserError: missing or damaged file, or other contents.
  """
  weights = published.load(path)
  parts: dict[str, dict[str, np.ndarray]] = {}
  for name, array in weights.items():
    match = re.fullmatch(
      r"([012])\.(?:components\.(synthesis|mapping)\.)?variables\.(.+)", name
    )
    if match is not None:
      scope = f"G_{match[2]}/" if match[2] else ""
      parts.setdefault(match[1], {})[scope + match[3]] = array
  if sorted(parts) != ["0", "1", "2"]:
    raise UserError(f"{path}: not a pickle of the networks (G, D, Gs)")
  return {
    "generator": convert_generator(parts["0"], f"{path}, G"),
    "discriminator": convert_discriminator(parts["1"], f"{path}, D"),
    "average": convert_generator(parts["2"], f"{path}, Gs"),
  }


def convert_generator(weights: Weights, source: str = "weights") -> Network:
  """Returns a `Generator`.

  Args:
    weights: arrays by the authors' names: dlatent_avg, G_mapping/..., G_synthesis/...
    source: what errors call them.

  Raises:
    UserError: a weight is missing, of another shape, or of unknown meaning.
  """
  rest = dict(weights)
  parts = {}
  for scope in ("G_mapping/", "G_synthesis/"):
    names = [name for name in rest if name.startswith(scope)]
    parts[scope] = {name.removeprefix(scope): rest.pop(name) for name in names}
  reader = published.Reader(rest, source)
  average = _float(reader.take("dlatent_avg"))
  reader.finish(ignore=["lod"])
  mapping = convert_mapping(parts["G_mapping/"], source, features=len(average))
  synthesis = convert_synthesis(parts["G_synthesis/"], source)
  variables = {
    "params": {
      "mapping": mapping.variables["params"],
      "synthesis": synthesis.variables["params"],
    },
    "average": {"w": average},
  }
  if "noise" in synthesis.variables:
    variables["noise"] = {"synthesis": synthesis.variables["noise"]}
  return Network(Generator(mapping.module, synthesis.module), variables, synthesis.lod)


def latent_size(network: Network) -> int:
  """Returns the length of z of a generator."""
  module, params = network.module.mapping, network.variables["params"]["mapping"]
  if module.label_size:
    return params["labels"].shape[1]
  return len(params["dense0"]["kernel"]) if module.layers else module.features


def convert_mapping(
  weights: Weights, source: str = "weights", *, features: int | None = None
) -> Network:
  """Returns a `Mapping`; arguments as `convert_generator`.

  Args:
    weights: Dense0/weight, Dense0/bias, ...; LabelConcat/weight where it has labels.
    source: what errors call them.
    features: W, which a network without layers cannot tell.
  """
  reader = published.Reader(weights, source)
  count = _count(weights, r"Dense(\d+)/weight")
  params, sizes = {}, []
  for number in range(count):
    kernel = reader.take(f"Dense{number}/weight")
    bias = reader.take(f"Dense{number}/bias", kernel.shape[1:])
    params[f"dense{number}"] = {"kernel": _float(kernel), "bias": _float(bias)}
    sizes.append(kernel.shape[1])
  label_size = 0
  if "LabelConcat/weight" in weights:
    params["labels"] = _float(reader.take("LabelConcat/weight"))
    label_size = len(params["labels"])
  reader.finish()
  if not count and features is None:
    raise UserError(f"{source}: no layer Dense0 of a mapping network")
  module = Mapping(
    features=sizes[-1] if count else features,
    hidden=sizes[0] if count else Mapping.hidden,
    layers=count,
    label_size=label_size,
  )
  return Network(module, {"params": params})


def convert_synthesis(weights: Weights, source: str = "weights", **options) -> Network:
  """Returns a `Synthesis`, also of a Progressive GAN; arguments as `convert_generator`.

  Args:
    weights: 4x4/Const/const, 8x8/Conv0_up/weight, ToRGB_lod0/weight, noise0, ...
    source: what errors call them.
    **options: of `Synthesis`, `fused` and `blur`: what the weights cannot tell.
  """
  reader = published.Reader(weights, source)
  stages = max(_count(weights, r"ToRGB_lod(\d+)/weight"), 1)
  has_constant = f"{_CONSTANT}/const" in weights
  names = [_CONSTANT if has_constant else _DENSE, "4x4/Conv"]
  for stage in range(1, stages):
    side = 4 * 2**stage
    names += [f"{side}x{side}/Conv0_up", f"{side}x{side}/Conv1"]
  has_noise = f"{names[1]}/Noise/weight" in weights
  has_styles = f"{names[1]}/StyleMod/weight" in weights

  params, noise, widths = {}, {}, []
  for layer, name in enumerate(names):
    bias = _float(reader.take(f"{name}/bias"))
    channels = len(bias)
    if layer % 2:
      widths.append(channels)
    epilogue = {"bias": bias}
    if layer == 0 and has_constant:
      constant = reader.take(f"{name}/const", (1, channels, 4, 4))
      params["constant"] = _float(constant.transpose(0, 2, 3, 1))
    elif layer == 0:
      kernel = reader.take(f"{name}/weight")
      if kernel.ndim != 2 or kernel.shape[1] != 16 * channels:
        raise UserError(f"{source}: {name}/weight has shape {kernel.shape}")
      kernel = kernel.reshape(-1, channels, 4, 4).transpose(0, 2, 3, 1)
      params["input"] = {"kernel": _float(kernel.reshape(len(kernel), -1))}
    else:
      below = widths[(layer - 1) // 2] if layer > 1 else channels
      kernel = reader.take(f"{name}/weight", (3, 3, below, channels))
      params[f"conv{layer}"] = {"kernel": _float(kernel)}
    if has_noise:
      epilogue["noise_scale"] = _float(reader.take(f"{name}/Noise/weight", (channels,)))
      side = 4 * 2 ** (layer // 2)
      image = reader.take(f"noise{layer}", (1, 1, side, side))
      noise[f"noise{layer}"] = _float(image.transpose(0, 2, 3, 1))
    if has_styles:
      epilogue["style"] = _dense(reader, f"{name}/StyleMod", 2 * channels)
    params[f"epilogue{layer}"] = epilogue
  for stage in range(stages):
    layer = f"ToRGB_lod{stages - 1 - stage}"
    params[f"to_rgb{stage}"] = _conv(reader, layer, (1, 1, widths[stage]))
  colors = params["to_rgb0"]["kernel"].shape[-1]
  lod = float(weights["lod"]) if "lod" in weights else 0.0
  reader.finish(ignore=["lod"])
  module = Synthesis(
    tuple(widths),
    colors,
    constant_input=has_constant,
    use_styles=has_styles,
    use_noise=has_noise,
    pixel_norm=not has_styles,
    instance_norm=has_styles,
    **options,
  )
  return Network(module, {"params": params} | ({"noise": noise} if noise else {}), lod)


def convert_discriminator(
  weights: Weights, source: str = "weights", **options
) -> Network:
  """Returns a `Discriminator`, also of a Progressive GAN.

  Args:
    weights: FromRGB_lod0/weight, 8x8/Conv0/weight, 4x4/Dense1/bias, ...
    source: what errors call them.
    **options: of `Discriminator`, `blur` and `group_size`: what the weights cannot
      tell.

  Raises:
    UserError: a weight is missing, of another shape, or of unknown meaning.
  """
  reader = published.Reader(weights, source)
  stages = max(_count(weights, r"FromRGB_lod(\d+)/weight"), 1)
  params, widths = {}, []
  for stage in range(stages):
    name = f"FromRGB_lod{stages - 1 - stage}"
    params[f"from_rgb{stage}"] = _conv(reader, name, None)
    widths.append(params[f"from_rgb{stage}"]["kernel"].shape[-1])
  for stage in range(1, stages):
    name = f"{4 * 2**stage}x{4 * 2**stage}"
    window = (3, 3, widths[stage])
    params[f"conv{stage}_0"] = _conv(reader, f"{name}/Conv0", window)
    params[f"conv{stage}_1"] = _conv(reader, f"{name}/Conv1_down", window)
  params["conv0_0"] = _conv(reader, "4x4/Conv", None)
  spreads = params["conv0_0"]["kernel"].shape[2] - widths[0]
  dense0, dense1 = _dense(reader, "4x4/Dense0"), _dense(reader, "4x4/Dense1")
  # Theirs flattens [C, 4, 4].
  last = params["conv0_0"]["kernel"].shape[-1]
  kernel = dense0["kernel"]
  if len(kernel) != 16 * last or spreads < 0:
    raise UserError(f"{source}: the layers of 4x4 do not fit each other")
  kernel = kernel.reshape(last, 4, 4, -1).transpose(1, 2, 0, 3)
  params["dense0"] = {**dense0, "kernel": kernel.reshape(16 * last, -1)}
  params["dense1"] = dense1
  outputs = len(dense1["bias"])
  lod = float(weights["lod"]) if "lod" in weights else 0.0
  reader.finish(ignore=["lod"])
  options = {"group_size": 4 if spreads else 1} | options
  module = Discriminator(
    tuple(widths),
    hidden=len(dense0["bias"]),
    label_size=outputs if outputs > 1 else 0,
    num_spreads=spreads,
    **options,
  )
  return Network(module, {"params": params}, lod)


def _conv(reader: published.Reader, name: str, inputs: tuple[int, ...] | None) -> dict:
  """Returns a convolution with a bias; `inputs` is its window and input channels."""
  kernel = reader.take(f"{name}/weight")
  if kernel.ndim != 4 or (inputs is not None and kernel.shape[:3] != inputs):
    raise UserError(f"{name}/weight has shape {kernel.shape}, not {inputs}")
  bias = reader.take(f"{name}/bias", kernel.shape[-1:])
  return {"kernel": _float(kernel), "bias": _float(bias)}


def _dense(reader: published.Reader, name: str, outputs: int | None = None) -> dict:
  kernel = reader.take(f"{name}/weight")
  if kernel.ndim != 2 or outputs not in (None, kernel.shape[1]):
    raise UserError(f"{name}/weight has shape {kernel.shape}, not (inputs, {outputs})")
  bias = reader.take(f"{name}/bias", kernel.shape[1:])
  return {"kernel": _float(kernel), "bias": _float(bias)}


def _count(weights: Weights, pattern: str) -> int:
  """Returns one more than the largest number in the pattern's group, or 0."""
  found = (re.fullmatch(pattern, name) for name in weights)
  return max((int(match[1]) for match in found if match), default=-1) + 1


def _float(array: np.ndarray) -> np.ndarray:
  return np.asarray(array, np.float32)
