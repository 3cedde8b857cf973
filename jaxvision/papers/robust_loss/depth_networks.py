"""The networks of self-supervised depth: disparity at several scales, and motion.

The defaults are those of SfMLearner.

Source: Zhou et al., Unsupervised Learning of Depth and Ego-Motion from Video, CVPR
  2017, Section 3.5, without the explainability mask.
"""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.convolution import Conv, ConvTranspose
from jaxvision.ops.resize import resize

_KERNELS = (7, 5)  # of the first layers; 3 behind them
_init = nn.initializers.glorot_uniform()


class DisparityNet(nn.Module):
  """Images [B, H, W, 3] in [0, 1] to disparities at several scales, finest first.

  Attributes:
    features: channels of each level of the encoder, of which each halves the image.
    convolutions: of each level on the way down, 1 or 2. With 1, the way up enlarges
      by interpolation instead of a transposed convolution.
    scales: number of disparities; at most the number of levels.
  """

  features: Sequence[int] = (32, 64, 128, 256, 512, 512, 512)
  convolutions: int = 2
  scales: int = 4

  @nn.compact
  def __call__(self, images: chex.Array) -> list[chex.Array]:
    """Returns disparities [B, H / 2^s, W / 2^s, 1] in (0.01, 10.01), s = 0, 1, ..."""
    chex.assert_rank(images, 4)
    if not 1 <= self.scales <= len(self.features):
      raise ValueError(f"{len(self.features)} levels have no {self.scales} scales")
    x = 2 * images - 1
    skips = []
    for level, width in enumerate(self.features):
      skips.append(x if level else None)
      size = (_KERNELS[level] if level < len(_KERNELS) else 3,) * 2
      x = nn.relu(Conv(width, size, strides=2, kernel_init=_init)(x))
      if self.convolutions > 1:
        x = nn.relu(Conv(width, size, kernel_init=_init)(x))
    disparities = []
    for level in reversed(range(len(self.features))):
      width = self.features[level - 1] if level else max(self.features[0] // 2, 1)
      skip = skips.pop()
      height, breadth = images.shape[1:3] if skip is None else skip.shape[1:3]
      if self.convolutions > 1:
        x = nn.relu(ConvTranspose(width, (3, 3), strides=2, kernel_init=_init)(x))
        parts = [x[:, :height, :breadth]]
      else:
        parts = [resize(x, (height, breadth))]
      parts += [] if skip is None else [skip]
      if disparities:
        parts.append(resize(disparities[-1], (height, breadth)))
      x = nn.relu(Conv(width, (3, 3), kernel_init=_init)(jnp.concatenate(parts, -1)))
      if level < self.scales:
        raw = Conv(1, (3, 3), kernel_init=_init)(x)
        disparities.append(10 * nn.sigmoid(raw) + 0.01)
    return disparities[::-1]


class PoseNet(nn.Module):
  """A target view and N sources to the twists of the camera's motion.

  Attributes:
    features: channels of each layer, of which each halves the image.
    factor: of the outputs, small so that training begins near no motion.
  """

  features: Sequence[int] = (16, 32, 64, 128, 256, 256, 256)
  factor: float = 0.01

  @nn.compact
  def __call__(self, target: chex.Array, sources: chex.Array) -> chex.Array:
    """Returns twists [B, N, 6] from the target's frame to each source's.

    Args:
      target: [B, H, W, 3] in [0, 1].
      sources: [B, N, H, W, 3].
    """
    chex.assert_rank([target, sources], [4, 5])
    count = sources.shape[1]
    views = [target, *jnp.moveaxis(sources, 1, 0)]
    x = 2 * jnp.concatenate(views, axis=-1) - 1
    for level, width in enumerate(self.features):
      size = (_KERNELS[level] if level < len(_KERNELS) else 3,) * 2
      x = nn.relu(Conv(width, size, strides=2, kernel_init=_init)(x))
    x = jnp.mean(Conv(6 * count, (1, 1), kernel_init=_init)(x), axis=(1, 2))
    return self.factor * x.reshape(-1, count, 6)
