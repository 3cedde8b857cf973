"""A Style-Based Generator Architecture for Generative Adversarial Networks.

Karras, Laine and Aila, "A Style-Based Generator Architecture for Generative Adversarial
Networks", CVPR 2019.

A mapping network turns the latent z into an intermediate latent w. The synthesis
network starts from a learned constant and is steered only by w, which scales and shifts
the normalised maps after every convolution, and by noise that is added to them.

Modules: `mapping`, `synthesis`, `generator` (both, with the average of w),
`discriminator`, `styles` (mixing, truncation, average), `growing` (progressive growing,
its schedule, the preparation of real images), `losses`, `optimizer`, `training` (one
step of both), `configurations` (the ablation A-F), `path_length`, `separability`,
`quality` (the Fréchet distance), `features` (the network that judges here),
`evaluation` (all measures of a generator), `claims`, `figures`, `prediction`,
`dataset` (the authors' TFRecords), `published`.
"""

from jaxvision.papers.stylegan.configurations import CONFIGURATIONS, generator
from jaxvision.papers.stylegan.discriminator import Discriminator
from jaxvision.papers.stylegan.generator import Generator
from jaxvision.papers.stylegan.mapping import Mapping
from jaxvision.papers.stylegan.synthesis import Synthesis

__all__ = [
  "CONFIGURATIONS",
  "Discriminator",
  "Generator",
  "Mapping",
  "Synthesis",
  "generator",
]
