"""Where projections go: pairs of layers between which channels are compressed (M8)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn

from jaxvision.errors import UserError
from jaxvision.nn.resnet import ResNet
from jaxvision.nn.vgg import VGG


@dataclasses.dataclass(frozen=True)
class Tap:
  """A place where the network's features are looked at.

  Attributes:
    path: of the module whose output it is, "conv2_1" or "layer1_0".
    relu: whether the module's output has yet to pass a ReLU.
  """

  path: str
  relu: bool = False


@dataclasses.dataclass(frozen=True)
class Link:
  """A layer whose output channels are projected, and the layer that takes them up.

  Attributes:
    producer: path of the convolution, layer i; it names the projection.
    consumer: path of layer i + 1, a convolution or a dense layer.
    tap: where the reconstruction error of P_i is taken.
    round: number of the round in which P_i is optimised, from 0.
  """

  producer: str
  consumer: str
  tap: Tap
  round: int = 0


def links_of(model: nn.Module) -> tuple[Link, ...]:
  """Returns every pair of a network that can be compressed.

  VGG: every convolution and the layer after it, the error taken at that layer's
  output. Residual networks: the convolutions inside a block, but never its last one
  nor the skip path, the error taken at the block's output after the addition; in a
  bottleneck the second pair has its turn after the first.

  Args:
    model: a `VGG` or `ResNet` without normalisation.
  """
  if model.norm:
    raise ValueError("fold the batch normalisations first: projections do not commute")
  if isinstance(model, VGG):
    return _vgg_links(model)
  if isinstance(model, ResNet):
    return _resnet_links(model)
  raise TypeError(f"no links are known for a {type(model).__name__}")


def compressions(
  model: nn.Module, ratios: Sequence[float], stage_ratios: Sequence[float] = ()
) -> dict[str, dict[str, float]]:
  """Returns {label: {producer: ratio}}: what is left of which layers.

  Layers that are not named keep their width. A VGG's last convolution does, as the
  outputs of residual blocks do.

  Args:
    model: a `VGG` or `ResNet` without normalisation.
    ratios: shares of the channels in (0, 1], each for all layers.
    stage_ratios: instead, one for each of a VGG's first stages.
  """
  producers = [link.producer for link in links_of(model)]
  if isinstance(model, VGG):
    if stage_ratios:
      shares = {f"conv{n}": r for n, r in enumerate(stage_ratios, start=1)}
      stages = {producer: producer.split("_")[0] for producer in producers}
      return {"by stage": {p: shares[s] for p, s in stages.items() if s in shares}}
    producers = producers[:-1]
  return {f"{ratio:g}": dict.fromkeys(producers, ratio) for ratio in ratios}


def _vgg_links(model: VGG) -> tuple[Link, ...]:
  layers = [
    f"conv{number}_{index}"
    for number, stage in enumerate(model.stages, start=1)
    for index in range(1, len(stage) + 1)
  ]
  first_dense = f"fc{8 - len(model.hidden)}"
  consumers = [*layers[1:], first_dense]
  return tuple(
    Link(producer, consumer, Tap(consumer, relu=consumer != "fc8"))
    for producer, consumer in zip(layers, consumers, strict=True)
  )


def _resnet_links(model: ResNet) -> tuple[Link, ...]:
  links = []
  inside = 1 if model.kind == "basic" else 2
  for stage, count in enumerate(model.blocks, start=1):
    for index in range(count):
      block = f"layer{stage}_{index}"
      links += [
        Link(f"{block}/conv{n}", f"{block}/conv{n + 1}", Tap(block), round=n - 1)
        for n in range(1, inside + 1)
      ]
  return tuple(links)


def taps_of(links: Sequence[Link]) -> tuple[Tap, ...]:
  """Returns the taps of links, each once, in their order."""
  return tuple(dict.fromkeys(link.tap for link in links))


def final_taps(links: Sequence[Link]) -> tuple[Tap, ...]:
  """Returns the taps whose features no projection shortens: those of M9's relaxation.

  In a chain that is the tap behind its last projection; in a residual network the
  outputs of all blocks.
  """
  producers = {link.producer for link in links}
  return tuple(tap for tap in taps_of(links) if tap.path not in producers)


def ranks(
  links: Sequence[Link], widths: Mapping[str, int], ratio: float | Mapping[str, float]
) -> dict[str, int]:
  """Returns r_i for every producer: ratio c, rounded, and at least 1.

  Args:
    links: to compress.
    widths: output channels of each producer.
    ratio: share of the channels that stays, in (0, 1], or one for each producer.

  Raises:
    UserError: a ratio is outside of (0, 1].
  """
  chosen = {}
  for link in links:
    share = ratio[link.producer] if isinstance(ratio, Mapping) else ratio
    if not 0 < share <= 1:
      raise UserError(f"{link.producer}: ratio {share} is not in (0, 1]")
    chosen[link.producer] = max(1, round(share * widths[link.producer]))
  return chosen


def widths_of(params: Mapping[str, Any], links: Sequence[Link]) -> dict[str, int]:
  """Returns the output channels of each link's producer.

  Args:
    params: nested parameters, arrays or shapes.
    links: the links.
  """
  widths = {}
  for link in links:
    layer = params
    for part in link.producer.split("/"):
      layer = layer[part]
    widths[link.producer] = layer["kernel"].shape[-1]
  return widths
