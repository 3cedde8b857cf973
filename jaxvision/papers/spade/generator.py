"""The generator: residual blocks with SPADE between doublings (M3, M4)."""

import functools
from typing import Literal

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.convolution import Conv
from jaxvision.nn.spectral_norm import SpectralConv
from jaxvision.ops.label_maps import resize_nearest
from jaxvision.ops.resampling import upsample_nearest
from jaxvision.papers.spade import conditioning
from jaxvision.papers.spade.conditioning import XAVIER, ConditionalNorm

Upsampling = Literal["few", "normal", "more", "most"]

# How often the start is doubled until it is the image.
DOUBLINGS = {"few": 3, "normal": 5, "more": 6, "most": 7}
# Channels of the blocks behind the middle, in multiples of the image's.
MULTIPLES = {
  "few": (2, 1),
  "normal": (8, 4, 2, 1),
  "more": (8, 4, 2, 1),
  "most": (8, 4, 2, 1, 0.5),
}
LATENT = 256  # numbers that make a style


class ResidualBlock(nn.Module):
  """Two convolutions, each behind a conditional normalisation, and a shortcut.

  The shortcut is learned where the channels change: a normalisation of its own and a
  1 x 1 convolution without bias, without activation.

  Attributes:
    features: output channels.
    kind, norm, kernel_size, hidden: see `ConditionalNorm`.
    spectral: whether the block's own convolutions are spectrally normalised.

  Source: Fig. 4; models/networks/architecture.py.
  """

  features: int
  kind: conditioning.Kind = "spade"
  norm: conditioning.Norm = "sync_batch"
  kernel_size: int = 3
  hidden: int = conditioning.HIDDEN
  spectral: bool = True

  @nn.compact
  def __call__(
    self, x: chex.Array, semantics: chex.Array, *, train: bool = False
  ) -> chex.Array:
    """Returns [B, h, w, features] of x [B, h, w, C] and semantics [B, H, W, S]."""
    condition = functools.partial(
      ConditionalNorm, self.kind, self.norm, self.kernel_size, self.hidden
    )
    conv = functools.partial(SpectralConv, spectral=self.spectral, kernel_init=XAVIER)
    middle = min(x.shape[-1], self.features)

    y = x
    for number, features in enumerate((middle, self.features)):
      y = condition(name=f"norm_{number}")(
        y, semantics, train=train, activation=leaky_relu
      )
      y = conv(features, (3, 3), name=f"conv_{number}")(y, train=train)
    if x.shape[-1] != self.features:
      x = condition(name="norm_s")(x, semantics, train=train)
      x = conv(self.features, (1, 1), use_bias=False, name="conv_s")(x, train=train)
    return x + y


class Generator(nn.Module):
  """Maps semantics, and a style where the start is latent, to an image.

  Attributes:
    features: channels before the image ("most": twice as many); the start has 16 times
      as many ("few": 4 times).
    upsampling: "normal", "more" or "most": 5, 6 or 7 doublings. "few", 3 doublings, is
      no network of the paper's but one for pictures of 32 x 32.
    crop_size: width of the image; a multiple of 2^doublings.
    aspect_ratio: width over height.
    start: "semantics", a convolution of the labels, resized to the start; or "latent",
      a linear map of a vector: of a style (VAE), or of noise.
    kind, norm, kernel_size, hidden, spectral: see `ResidualBlock`; "concat" is the
      baseline.

  Source: Fig. 4 and Table 3; models/networks/generator.py.
  """

  features: int = 64
  upsampling: Upsampling = "normal"
  crop_size: int = 256
  aspect_ratio: float = 1.0
  start: Literal["semantics", "latent"] = "semantics"
  kind: conditioning.Kind = "spade"
  norm: conditioning.Norm = "sync_batch"
  kernel_size: int = 3
  hidden: int = conditioning.HIDDEN
  spectral: bool = True

  @property
  def start_shape(self) -> tuple[int, int]:
    """Height and width of the map that is doubled.

    Raises:
      ValueError: the image is too small for so many doublings.
    """
    width = self.crop_size // 2 ** DOUBLINGS[self.upsampling]
    height = round(width / self.aspect_ratio)
    if min(width, height) < 1:
      raise ValueError(
        f"crop_size {self.crop_size} with aspect_ratio {self.aspect_ratio} leaves "
        f"nothing to double {DOUBLINGS[self.upsampling]} times"
      )
    return height, width

  @nn.compact
  def __call__(
    self,
    semantics: chex.Array,
    latent: chex.Array | None = None,
    *,
    train: bool = False,
  ) -> chex.Array:
    """Returns images [B, h, w, 3] in [-1, 1]; (h, w) is the doubled start.

    Args:
      semantics: [B, H, W, S] in full resolution.
      latent: [B, Z], where the start is latent.
      train: whether statistics are the batch's, and power iterations go on.
    """
    chex.assert_rank(semantics, 4)
    height, width = self.start_shape
    multiples = MULTIPLES[self.upsampling]
    widest = 2 * multiples[0]
    if self.start == "latent":
      chex.assert_shape(latent, (len(semantics), None))
      size = widest * self.features * height * width
      x = nn.Dense(size, kernel_init=XAVIER, name="fc")(latent)
      x = x.reshape(-1, height, width, widest * self.features)
    else:
      small = resize_nearest(semantics, (height, width))
      fc = Conv(
        widest * self.features, (3, 3), padding=1, kernel_init=XAVIER, name="fc"
      )
      x = fc(small)

    def block(x, multiple, name):
      return ResidualBlock(
        int(multiple * self.features),
        self.kind,
        self.norm,
        self.kernel_size,
        self.hidden,
        self.spectral,
        name=name,
      )(x, semantics, train=train)

    x = upsample_nearest(block(x, widest, "head_0"))
    x = block(x, widest, "middle_0")
    if self.upsampling in ("more", "most"):
      x = upsample_nearest(x)
    x = block(x, widest, "middle_1")
    for number, multiple in enumerate(multiples):
      x = block(upsample_nearest(x), multiple, f"up_{number}")
    image = Conv(3, (3, 3), padding=1, kernel_init=XAVIER, name="image")
    return jnp.tanh(image(leaky_relu(x)))
