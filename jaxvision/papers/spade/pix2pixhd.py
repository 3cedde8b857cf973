"""The generator of pix2pixHD and pix2pixHD++, the paper's strongest baselines (M10).

An encoder and decoder that the label map goes through. pix2pixHD is the network without
spectral normalisation; trained with this paper's losses, discriminator, optimiser and
spectral normalisation it is called pix2pixHD++, which Table 3 also gives SPADE or
concatenated labels.

Source: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with
  Conditional GANs", CVPR 2018; models/networks/generator.py.
"""

import functools

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.convolution import Conv
from jaxvision.nn.spectral_norm import SpectralConv
from jaxvision.papers.spade import conditioning
from jaxvision.papers.spade.conditioning import XAVIER, ConditionalNorm

HEAD = 7  # side of the first and the last convolution


class Pix2PixHDGenerator(nn.Module):
  """Maps semantics to an image through halvings, residual blocks and doublings.

  Attributes:
    features: channels at full resolution; they double with each halving.
    halvings: how often the map is halved.
    blocks: residual blocks at the coarsest resolution.
    spectral: whether all convolutions but the last are spectrally normalised.
    kind: "none"; "spade" or "concat" for the variants of Table 3. Both act on every
      layer, with the norm below.
    norm: see `ParameterFreeNorm`.
    hidden: of SPADE.
  """

  features: int = 64
  halvings: int = 4
  blocks: int = 9
  spectral: bool = True
  kind: conditioning.Kind = "none"
  norm: conditioning.Norm = "instance"
  hidden: int = conditioning.HIDDEN

  @nn.compact
  def __call__(
    self,
    semantics: chex.Array,
    latent: None = None,
    *,
    train: bool = False,
  ) -> chex.Array:
    """Returns images [B, H, W, 3] in [-1, 1].

    Args:
      semantics: [B, H, W, S]; the sides are multiples of 2^halvings.
      latent: must be None; it makes the call that of `Generator`.
      train: whether statistics are the batch's, and power iterations go on.

    Raises:
      ValueError: a side is no such multiple.
    """
    chex.assert_rank(semantics, 4)
    if latent is not None:
      raise ValueError("latent: this generator takes no style")
    height, width = semantics.shape[1:3]
    if height % 2**self.halvings or width % 2**self.halvings:
      raise ValueError(
        f"sides {height} x {width} are no multiples of {2**self.halvings}"
      )

    def layer(x, features, size, name, activation=nn.relu, **options):
      """Convolves without bias, which the norm would remove, and normalises."""
      x = SpectralConv(
        features,
        (size, size),
        use_bias=False,
        spectral=self.spectral,
        kernel_init=XAVIER,
        name=f"{name}_conv",
        **options,
      )(x, train=train)
      condition = ConditionalNorm(
        self.kind, self.norm, hidden=self.hidden, name=f"{name}_norm"
      )
      return condition(x, semantics, train=train, activation=activation)

    mirrored = functools.partial(layer, padding_mode="reflect")
    x = mirrored(semantics, self.features, HEAD, "stem", padding=HEAD // 2)
    for number in range(self.halvings):
      features = self.features * 2 ** (number + 1)
      x = layer(x, features, 3, f"down_{number}", strides=2, padding=1)
    features = self.features * 2**self.halvings
    for number in range(self.blocks):
      y = mirrored(x, features, 3, f"block_{number}_0", padding=1)
      y = mirrored(
        y, features, 3, f"block_{number}_1", activation=lambda y: y, padding=1
      )
      # Labels that were appended to both are added to none.
      x = x.at[..., :features].add(y[..., :features])
    for number in reversed(range(self.halvings)):
      x = layer(
        x,
        self.features * 2**number,
        3,
        f"up_{number}",
        strides=2,
        padding=1,
        transposed=True,
        output_padding=1,
      )
    x = Conv(
      3,
      (HEAD, HEAD),
      padding=HEAD // 2,
      padding_mode="reflect",
      kernel_init=XAVIER,
      name="image",
    )(x)
    return jnp.tanh(x)
