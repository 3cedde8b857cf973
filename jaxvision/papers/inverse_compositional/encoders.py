"""The two-view feature encoder (A) and what it replaces (M3)."""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.batch_norm import batch_norm
from jaxvision.nn.convolution import Conv
from jaxvision.ops.pyramids import average_pyramid
from jaxvision.papers.inverse_compositional import preprocessing

LEVELS = 4

# PyTorch's default of convolutions and linear layers: uniform, ±1 / √fan_in.
kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

# Features and dilation of the three layers of each scale, finest first.
Layers = tuple[tuple[int, int], ...]
PYRAMID: tuple[Layers, ...] = (
  ((16, 1), (32, 2), (32, 2)),
  ((32, 1), (64, 2), (64, 2)),
  ((64, 1), (96, 2), (96, 2)),
  ((96, 1), (128, 2), (128, 2)),
)


def elu(x: chex.Array) -> chex.Array:
  """Returns x where positive, exp(x) - 1 elsewhere.

  `nn.elu` takes expm1, which XLA computes several times slower on a CPU; what it would
  save is below the rounding of the features.
  """
  return jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0)) - 1)


class ConvBlocks(nn.Module):
  """Convolutions of 3 x 3, each normalised over the batch and activated by ELU.

  Attributes:
    layers: (features, dilation) of each.
  """

  layers: Layers

  @nn.compact
  def __call__(
    self, x: chex.Array, *, train: bool = False, groups: int = 1
  ) -> chex.Array:
    """Returns [B, H, W, features of the last layer] of x [B, H, W, C].

    Args:
      x: the batch.
      train: whether to normalise by the batch, or by the running statistics.
      groups: equal parts of the batch that are normalised each by itself.
    """
    for number, (features, dilation) in enumerate(self.layers):
      x = Conv(
        features,
        (3, 3),
        padding=dilation,
        dilation=dilation,
        use_bias=False,
        kernel_init=kernel_init,
        name=f"conv{number}",
      )(x)
      norm = batch_norm(train=train, name=f"bn{number}")
      x = elu(jnp.concatenate([norm(part) for part in jnp.split(x, groups)]))
    return x


class FeaturePyramid(nn.Module):
  """Features at scales 1, 1/2, 1/4, ..., of which each is the mean of its channels.

  Attributes:
    scales: the layers of each scale.

  Source: Section 4.1, Figure 2.
  """

  scales: Sequence[Layers] = PYRAMID

  @nn.compact
  def __call__(
    self, x: chex.Array, *, train: bool = False, groups: int = 1
  ) -> list[chex.Array]:
    """Returns all channels' features [B, H >> l, W >> l, C_l] of x [B, H, W, C].

    The other arguments are those of `ConvBlocks`.
    """
    features = []
    for number, layers in enumerate(self.scales):
      if number:
        x = average_pyramid(x, 2)[1]
      blocks = ConvBlocks(tuple(map(tuple, layers)), name=f"net{number}")
      x = blocks(x, train=train, groups=groups)
      features.append(x)
    return features


def channel_means(features: Sequence[chex.Array]) -> list[chex.Array]:
  """Returns the means [B, H, W, 1] over the channels of each scale."""
  return [jnp.mean(scale, axis=-1, keepdims=True) for scale in features]


def luminance_pyramid(images: chex.Array, levels: int = LEVELS) -> list[chex.Array]:
  """Returns the features without any learning: [B, H >> l, W >> l, 1] luminance.

  Args:
    images: [B, H, W, 3], normalised.
    levels: number of scales.
  """
  return average_pyramid(preprocessing.luminance(images), levels)
