"""What is compared: the graph network, its ablations, and the two baselines."""

import dataclasses
from typing import Literal

from jaxvision.papers.graph_cmr.body import Sizes as BodySizes
from jaxvision.papers.graph_cmr.layers import Initial
from jaxvision.papers.graph_cmr.network import (
  Encoder,
  FullyConnectedDecoder,
  GraphDecoder,
  ParameterDecoder,
  Regressor,
)
from jaxvision.papers.graph_cmr.readout import ParameterReadout


@dataclasses.dataclass(frozen=True)
class Variant:
  """What a training differs in.

  Attributes:
    decoder: "graph", "fc" (all vertices from hidden layers) or "parameters" (those of
      the body model).
    neighbours: whether graph convolutions see neighbours; without, the network is the
      same and `body.without_neighbours` takes the edges.
    norm: whether there are group normalisations.
    reads: whether parameters are read off the mesh.
  """

  decoder: Literal["graph", "fc", "parameters"] = "graph"
  neighbours: bool = True
  norm: bool = True
  reads: bool = False


VARIANTS = {
  "graph": Variant(reads=True),
  "fc": Variant("fc"),
  "parameters": Variant("parameters"),
  "no_neighbours": Variant(neighbours=False, reads=True),
  "no_norm": Variant(norm=False),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Widths of the networks; the default ones are the paper's.

  Attributes:
    encoder: depth of the ResNet, 0 for a block a stage of `encoder_widths`.
    encoder_widths: of that small one.
    code: channels of it that are placed.
    channels: C of the graph network.
    layers: its residual blocks.
    initial: range of its linear layers at the start, see `layers.VertexLinear`.
    scale: that cameras start with, see `network.Regressor`.
    hidden: of the baselines' hidden layers, which the paper does not give.
    readout: width of the network that reads parameters.
    rule: how its matrices become rotations, see `ops.rotations.orthogonalize`.
  """

  encoder: int = 50
  encoder_widths: tuple[int, ...] = (16, 32, 64)
  code: int = 128
  channels: int = 256
  layers: int = 5
  initial: Initial = "tiny"
  scale: float = 0.0
  hidden: tuple[int, ...] = (1024, 1024)
  readout: int = 1024
  rule: Literal["sign", "nearest"] = "sign"


def network(variant: Variant, sizes: Sizes, body: BodySizes) -> Regressor:
  """Returns the network of a variant.

  Args:
    variant: which.
    sizes: its widths.
    body: of the body that it regresses.
  """
  if variant.decoder == "graph":
    decoder = GraphDecoder(sizes.channels, sizes.layers, variant.norm, sizes.initial)
  elif variant.decoder == "fc":
    decoder = FullyConnectedDecoder(body.coarse, sizes.hidden)
  else:
    decoder = ParameterDecoder(body.joints, body.shapes, sizes.hidden)
  return Regressor(
    encoder(sizes),
    decoder,
    readout(sizes, body) if variant.reads else None,
    sizes.scale,
  )


def encoder(sizes: Sizes) -> Encoder:
  """Returns the encoder of images."""
  return Encoder(sizes.encoder, sizes.encoder_widths, sizes.code)


def readout(sizes: Sizes, body: BodySizes) -> ParameterReadout:
  """Returns the network that reads parameters off a mesh."""
  return ParameterReadout(
    hidden=sizes.readout, joints=body.joints, shapes=body.shapes, rule=sizes.rule
  )
