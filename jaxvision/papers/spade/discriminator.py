"""The discriminator: patches judged at several scales (M6)."""

from typing import NamedTuple

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.convolution import Conv
from jaxvision.nn.spectral_norm import SpectralConv
from jaxvision.ops.normalization import instance_norm
from jaxvision.ops.pooling import average_pool
from jaxvision.papers.spade.conditioning import EPSILON, XAVIER

WIDEST = 512
_WINDOW, _MARGIN = (4, 4), 2  # maps of H become H / 2 + 1


class Judgement(NamedTuple):
  """Activations of each layer of a PatchGAN; the last are its logits [B, h, w, 1]."""

  features: tuple[chex.Array, ...]

  @property
  def logits(self) -> chex.Array:
    return self.features[-1]


class PatchDiscriminator(nn.Module):
  """One scale: convolutions of 4 x 4, logits for overlapping patches.

  Attributes:
    features: channels of the first layer; they double up to 512.
    layers: layers before the logits, at least 2; all but the last halve.
    spectral: whether the inner layers are spectrally normalised.
  """

  features: int = 64
  layers: int = 4
  spectral: bool = True

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> Judgement:
    """Returns the activations of semantics and image x [B, H, W, S + 3]."""
    chex.assert_rank(x, 4)
    found = []
    for number in range(self.layers):
      width = min(self.features * 2**number, WIDEST)
      stride = 1 if number == self.layers - 1 else 2
      options = {"strides": stride, "padding": _MARGIN, "kernel_init": XAVIER}
      name = f"layer_{number}"
      if number == 0:
        x = Conv(width, _WINDOW, name=name, **options)(x)
      else:
        conv = SpectralConv(
          width, _WINDOW, use_bias=False, spectral=self.spectral, name=name, **options
        )
        x = instance_norm(conv(x, train=train), epsilon=EPSILON)
      x = leaky_relu(x)
      found.append(x)
    last = Conv(1, _WINDOW, padding=_MARGIN, kernel_init=XAVIER, name="logits")
    return Judgement((*found, last(x)))


class Discriminator(nn.Module):
  """Judges images, given their semantics, at scales that halve.

  Attributes:
    scales: number of PatchGANs; each but the first sees means of 3 x 3 pixels.
    features, layers, spectral: see `PatchDiscriminator`.

  Source: Fig. 5; models/networks/discriminator.py.
  """

  scales: int = 2
  features: int = 64
  layers: int = 4
  spectral: bool = True

  @nn.compact
  def __call__(
    self, semantics: chex.Array, images: chex.Array, *, train: bool = False
  ) -> list[Judgement]:
    """Returns the judgement of each scale, finest first.

    Args:
      semantics: [B, H, W, S].
      images: [B, H, W, 3] in [-1, 1].
      train: whether power iterations go on.
    """
    chex.assert_rank([semantics, images], 4)
    chex.assert_equal_shape_prefix([semantics, images], 3)
    x = jnp.concatenate([semantics, images], axis=-1)
    judgements = []
    for scale in range(self.scales):
      if scale:
        x = average_pool(x, 3, strides=2, padding=1)
      patches = PatchDiscriminator(
        self.features, self.layers, self.spectral, name=f"scale_{scale}"
      )
      judgements.append(patches(x, train=train))
    return judgements


def judge_pairs(
  discriminator: nn.Module,
  variables,
  semantics: chex.Array,
  fake: chex.Array,
  real: chex.Array,
  **options,
):
  """Judges fake and real images in one pass, so that both see the same weights.

  Args:
    discriminator: a `Discriminator`.
    variables: of it.
    semantics: [B, H, W, S] of both.
    fake: [B, H, W, 3] in [-1, 1].
    real: [B, H, W, 3] in [-1, 1].
    options: of `apply`.

  Returns:
    The judgements of the fake images, those of the real ones, and what `apply`
    returned besides (None, or with `mutable` the new variables).
  """
  chex.assert_equal_shape([fake, real])
  result = discriminator.apply(
    variables,
    jnp.concatenate([semantics, semantics]),
    jnp.concatenate([fake, real]),
    **options,
  )
  both, state = result if options.get("mutable") else (result, None)
  count = len(fake)
  halves = [
    [Judgement(tuple(x[part] for x in one.features)) for one in both]
    for part in (slice(count), slice(count, None))
  ]
  return (*halves, state)
