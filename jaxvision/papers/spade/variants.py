"""The paper's data sets, and the networks of its Tables 3 and 4."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxvision.data import label_scenes
from jaxvision.papers.spade.conditioning import HIDDEN
from jaxvision.papers.spade.discriminator import Discriminator
from jaxvision.papers.spade.encoder import StyleEncoder
from jaxvision.papers.spade.generator import LATENT, Generator, Upsampling
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
  upsampling: Upsampling = "normal"

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
  "flickr": DataSet(182, unknown_class=True, instances=False),
  "facades": DataSet(13, unknown_class=False, instances=False),
  "scenes": DataSet(len(label_scenes.CLASSES), False, True, 32, 1.0, "few"),
}


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Widths of the networks; the defaults are the paper's.

  Attributes:
    features: of the generator before the image; variants that are narrower or wider
      keep their ratio to it.
    hidden: of SPADE, between the labels and the scale.
    discriminator: of the discriminator's first layer.
    discriminator_layers: before its logits.
    encoder: of the style encoder's first layer.
    encoder_side: pixels of the images that it sees.
    latent: numbers that make a style.
    halvings, blocks: of the baselines' generator.
  """

  features: int = 64
  hidden: int = HIDDEN
  discriminator: int = 64
  discriminator_layers: int = 4
  encoder: int = 64
  encoder_side: int = 256
  latent: int = LATENT
  halvings: int = 4
  blocks: int = 9


@dataclasses.dataclass(frozen=True)
class Variant:
  """A row of Tables 3 and 4, or of the section on styles.

  Attributes:
    options: attributes of `Generator` (or, without a decoder, of `Pix2PixHDGenerator`)
      that differ from the paper's own; "width" is the ratio of its features to 64.
    decoder: whether it is the paper's decoder; else the baselines' generator.
    styled: whether an encoder of styles gives the start (VAE).
    equal_rates: whether it is trained as pix2pixHD was.
  """

  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  decoder: bool = True
  styled: bool = False
  equal_rates: bool = False


VARIANTS = {
  "spade": Variant(),
  "spade_compact": Variant({"width": 48 / 64}),
  "spade_wide": Variant({"width": 80 / 64}),
  "concat": Variant({"kind": "concat"}),
  "random_input": Variant({"start": "latent"}),
  "kernel_5": Variant({"kernel_size": 5}),
  "kernel_1": Variant({"kernel_size": 1}),
  "batch": Variant({"norm": "batch"}),
  "instance": Variant({"norm": "instance"}),
  "styled": Variant({"start": "latent"}, styled=True),
  "pix2pixhd++": Variant(decoder=False),
  "pix2pixhd++_spade": Variant({"kind": "spade", "norm": "sync_batch"}, decoder=False),
  "pix2pixhd++_concat": Variant(
    {"kind": "concat", "norm": "sync_batch"}, decoder=False
  ),
  "pix2pixhd++_compact": Variant({"width": 48 / 64}, decoder=False),
  "pix2pixhd": Variant({"spectral": False}, decoder=False, equal_rates=True),
}


def networks(name: str, data: DataSet, sizes: Sizes = Sizes()) -> Networks:
  """Returns all networks of a variant.

  Args:
    name: a key of VARIANTS.
    data: what they are for.
    sizes: of them.

  Raises:
    ValueError: there is none of that name.
  """
  if name not in VARIANTS:
    raise ValueError(f"name is {name!r}, none of {[*VARIANTS]}")
  variant = VARIANTS[name]
  options = dict(variant.options)
  features = round(sizes.features * options.pop("width", 1))
  spectral = options.get("spectral", True)
  if variant.decoder:
    generator = Generator(
      features,
      upsampling=data.upsampling,
      crop_size=data.crop_size,
      aspect_ratio=data.aspect_ratio,
      hidden=sizes.hidden,
      **options,
    )
  else:
    generator = Pix2PixHDGenerator(
      features, sizes.halvings, sizes.blocks, hidden=sizes.hidden, **options
    )
  discriminator = Discriminator(
    features=sizes.discriminator, layers=sizes.discriminator_layers, spectral=spectral
  )
  encoder = None
  if variant.styled:
    encoder = StyleEncoder(sizes.encoder, sizes.encoder_side, sizes.latent)
  return Networks(
    generator,
    discriminator,
    encoder,
    data.num_classes,
    data.unknown_class,
  )
