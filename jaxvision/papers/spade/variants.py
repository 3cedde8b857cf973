"""The paper's data sets and the generators of its Tables 3 and 4."""

import dataclasses
from typing import Any, Literal

import flax.linen as nn

from jaxvision.papers.spade.discriminator import Discriminator
from jaxvision.papers.spade.encoder import StyleEncoder
from jaxvision.papers.spade.generator import Generator
from jaxvision.papers.spade.pix2pixhd import Pix2PixHDGenerator
from jaxvision.papers.spade.training import Networks


@dataclasses.dataclass(frozen=True)
class DataSet:
  """What the networks need to know of a data set.

  Attributes:
    num_classes: number of classes.
    unknown_class: whether there is a class more for the unknown, value 255.
    instances: whether borders of instances are given.
    crop_size: width of the images.
    aspect_ratio: their width over their height.
    upsampling: of the generator.
  """

  num_classes: int
  unknown_class: bool
  instances: bool
  crop_size: int = 256
  aspect_ratio: float = 1.0
  upsampling: Literal["normal", "more", "most"] = "normal"

  @property
  def channels(self) -> int:
    """Width of the semantics."""
    return self.num_classes + self.unknown_class + self.instances

  @property
  def shape(self) -> tuple[int, int]:
    """Height and width of the images."""
    return round(self.crop_size / self.aspect_ratio), self.crop_size


DATA_SETS = {
  "coco": DataSet(182, unknown_class=True, instances=True),
  "ade20k": DataSet(150, unknown_class=True, instances=False),
  "cityscapes": DataSet(35, False, True, 512, 2.0, "more"),
  "facades": DataSet(13, unknown_class=False, instances=False),
}

# Attributes of `Generator` that differ from the paper's own.
DECODERS: dict[str, dict[str, Any]] = {
  "spade": {},
  "spade_compact": {"features": 48},
  "spade_wide": {"features": 80},
  "concat": {"kind": "concat"},
  "random_input": {"start": "latent"},
  "kernel_5": {"kernel_size": 5},
  "kernel_1": {"kernel_size": 1},
  "batch": {"norm": "batch"},
  "instance": {"norm": "instance"},
}
# Attributes of `Pix2PixHDGenerator` that differ from pix2pixHD++'s.
ENCODER_DECODERS: dict[str, dict[str, Any]] = {
  "pix2pixhd++": {},
  "pix2pixhd++_spade": {"kind": "spade", "norm": "sync_batch"},
  "pix2pixhd++_concat": {"kind": "concat", "norm": "sync_batch"},
  "pix2pixhd++_compact": {"features": 48},
  "pix2pixhd": {"spectral": False},
}


def generator(name: str, data: DataSet) -> nn.Module:
  """Returns a generator of Tables 3 and 4.

  Args:
    name: a key of DECODERS or ENCODER_DECODERS.
    data: what it is for.

  Raises:
    ValueError: there is none of that name.
  """
  if name in ENCODER_DECODERS:
    return Pix2PixHDGenerator(**ENCODER_DECODERS[name])
  if name not in DECODERS:
    raise ValueError(f"name is {name!r}, none of {[*DECODERS, *ENCODER_DECODERS]}")
  return Generator(
    upsampling=data.upsampling,
    crop_size=data.crop_size,
    aspect_ratio=data.aspect_ratio,
    **DECODERS[name],
  )


def networks(name: str, data: DataSet, *, encode_styles: bool = False) -> Networks:
  """Returns all networks at the paper's sizes.

  Args:
    name: see `generator`.
    data: what they are for.
    encode_styles: whether an encoder gives the generator its start (VAE).
  """
  made = generator(name, data)
  if encode_styles:
    made = made.clone(start="latent")
  return Networks(
    made,
    Discriminator(),
    StyleEncoder() if encode_styles else None,
    data.num_classes,
    data.unknown_class,
  )
