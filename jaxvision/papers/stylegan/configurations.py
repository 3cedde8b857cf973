"""The generators that the paper compares: Table 1, A to F, and Table 4 (M17)."""

import dataclasses
from typing import Any

from jaxvision.papers.stylegan.discriminator import Discriminator
from jaxvision.papers.stylegan.generator import Generator
from jaxvision.papers.stylegan.mapping import Mapping
from jaxvision.papers.stylegan.synthesis import Synthesis, widths


@dataclasses.dataclass(frozen=True)
class Configuration:
  """What differs between the generators.

  Attributes:
    mapping_layers: 0 for none.
    styles: whether w scales and shifts maps; else pixels are normalised, not maps.
    constant_input: whether synthesis starts from a constant.
    noise: whether noise is added.
    mixing: probability of mixed styles in training.
    blur: whether resampling is low-pass filtered, in both networks.
    fused: which upsampling layers are fused.
    loss: "logistic" with R1, or "wgan" with the penalty of its gradients. (All of
      CelebA-HQ was trained with "wgan".)
  """

  mapping_layers: int = 8
  styles: bool = True
  constant_input: bool = True
  noise: bool = True
  mixing: float = 0.9
  blur: bool = True
  fused: bool | str = "auto"
  loss: str = "logistic"


_TRADITIONAL = Configuration(
  mapping_layers=0, styles=False, constant_input=False, noise=False, mixing=0.0
)
_STYLES = dataclasses.replace(_TRADITIONAL, mapping_layers=8, styles=True)

CONFIGURATIONS = {
  # Progressive GAN.
  "A": dataclasses.replace(_TRADITIONAL, blur=False, fused=True, loss="wgan"),
  "B": _TRADITIONAL,  # tuned
  "C": _STYLES,  # mapping and styles
  "D": dataclasses.replace(_STYLES, constant_input=True),
  "E": Configuration(mixing=0.0),  # noise
  "F": Configuration(),  # mixing
  "traditional-8": dataclasses.replace(_TRADITIONAL, mapping_layers=8),
  "style-0": Configuration(mapping_layers=0),
  "style-1": Configuration(mapping_layers=1),
  "style-2": Configuration(mapping_layers=2),
}


def generator(
  configuration: str | Configuration = "F",
  resolution: int = 1024,
  *,
  base: int = 8192,
  largest: int = 512,
  latent: int = 512,
  label_size: int = 0,
  dtype: Any = None,
) -> Generator:
  """Returns a generator of the paper.

  Args:
    configuration: a key of CONFIGURATIONS, or one of your own.
    resolution: side of the full image, a power of two.
    base: see `widths`, as the next.
    largest: channels at most.
    latent: length of z, of w and of what lies between.
    label_size: length of one-hot labels; 0 for none.
    dtype: of the computation.

  Raises:
    ValueError: on an unknown configuration or an impossible resolution.
  """
  chosen = find(configuration)
  # Without layers, w is the input, to which embedded labels have been appended.
  appended = latent if label_size and not chosen.mapping_layers else 0
  return Generator(
    Mapping(
      features=latent + appended,
      hidden=latent,
      layers=chosen.mapping_layers,
      label_size=label_size,
      dtype=dtype,
    ),
    Synthesis(
      widths(resolution, base=base, largest=largest),
      constant_input=chosen.constant_input,
      use_styles=chosen.styles,
      use_noise=chosen.noise,
      pixel_norm=not chosen.styles,
      instance_norm=chosen.styles,
      blur=chosen.blur,
      fused=chosen.fused,
      dtype=dtype,
    ),
  )


def discriminator(
  configuration: str | Configuration = "F",
  resolution: int = 1024,
  *,
  base: int = 8192,
  largest: int = 512,
  label_size: int = 0,
  dtype: Any = None,
) -> Discriminator:
  """Returns the discriminator of a configuration; arguments as `generator`."""
  return Discriminator(
    widths(resolution, base=base, largest=largest),
    hidden=min(base, largest),
    label_size=label_size,
    blur=find(configuration).blur,
    dtype=dtype,
  )


def find(configuration: str | Configuration) -> Configuration:
  """Returns the configuration of a name.

  Raises:
    ValueError: there is none.
  """
  if isinstance(configuration, Configuration):
    return configuration
  if configuration not in CONFIGURATIONS:
    raise ValueError(
      f"configuration {configuration!r} is none of {', '.join(CONFIGURATIONS)}"
    )
  return CONFIGURATIONS[configuration]
