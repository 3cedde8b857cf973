"""U-Nets of three-dimensional convolutions over height, width and planes."""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.convolution import Conv

FEATURES = (8, 16, 32, 64, 128)
DILATIONS = (2, 4, 8, 1)


class VolumeUNet(nn.Module):
  """Maps volumes [B, H, W, D, C] to [B, H, W, D, out_features], without activation.

  Each level has two 3 x 3 x 3 convolutions behind one of stride 2 that leads to it;
  nearest neighbours lead back. H and W are free, D is a multiple of 2^(levels - 1).

  Attributes:
    out_features: channels of the result.
    features: channels of each level, finest first; the finest has at least C, and the
      way up at least `out_features`.
    dilations: of further convolutions on the coarsest level.

  Source: Srinivasan et al., supplement; the authors' ed_3d_net and refine_net.
  """

  out_features: int
  features: Sequence[int] = FEATURES
  dilations: Sequence[int] = DILATIONS

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the result of x [B, H, W, D, C].

    Raises:
      ValueError: D is no multiple of 2^(levels - 1).
    """
    chex.assert_rank(x, 5)
    coarsest = 2 ** (len(self.features) - 1)
    if x.shape[3] % coarsest:
      raise ValueError(f"{x.shape[3]} planes: must be a multiple of {coarsest}")
    number = 0

    def conv(x, features, **options):
      nonlocal number
      x = nn.relu(_conv(features, f"conv_{number}", **options)(x))
      number += 1
      return x

    skips = []
    widths = (max(self.features[0], x.shape[-1]), *self.features[1:])
    for level, width in enumerate(widths):
      if level:
        x = conv(x, width, strides=2)
      x = conv(conv(x, width), width)
      skips.append(x)
    skips.pop()
    for dilation in self.dilations:
      x = conv(x, widths[-1], dilation=dilation)
    for step, width in enumerate(reversed(self.features[:-1])):
      skip = skips.pop()
      x = _double(x)[:, : skip.shape[1], : skip.shape[2]]
      x = jnp.concatenate([x, skip], axis=-1)
      for index in range(2):
        layer = _conv(max(width, self.out_features), f"up_{step}_conv_{index}")
        x = nn.relu(layer(x))
    return _conv(self.out_features, "head")(x)


def _conv(features, name, **options):
  init = nn.initializers.glorot_uniform()
  return Conv(features, (3, 3, 3), kernel_init=init, name=name, **options)


def _double(x):
  """Returns x [B, H, W, D, C] with every voxel eight times."""
  batch, height, width, planes, channels = x.shape
  x = x[:, :, None, :, None, :, None]
  x = jnp.broadcast_to(x, (batch, height, 2, width, 2, planes, 2, channels))
  return x.reshape(batch, 2 * height, 2 * width, 2 * planes, channels)
