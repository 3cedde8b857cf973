"""U-Net: an encoder and a decoder that meet at every resolution."""

from collections.abc import Callable, Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.convolution import Conv, ConvTranspose
from jaxvision.ops.pooling import max_pool


class UNet(nn.Module):
  """Maps [B, H, W, C] to [B, H, W, out_features].

  H and W must be multiples of 2^(levels - 1). Each level has two 3 x 3 convolutions;
  2 x 2 max-pooling leads down, a 2 x 2 transposed convolution of stride 2 up, and
  its result is concatenated before the encoder's features of that level.

  Attributes:
    out_features: channels of the result.
    features: channels of each level, finest first.
    head_size: side of the last convolution, which is linear.
    activation: after each 3 x 3 convolution.
    upsample_bias: whether the transposed convolutions have a bias.
    kernel_init: initialiser of convolutions.
    upsample_init: initialiser of transposed convolutions.

  Source: Ronneberger, Fischer, Brox, MICCAI 2015, with padding; defaults as in Chen,
    Chen, Xu, Koltun, "Learning to See in the Dark", CVPR 2018.
  """

  out_features: int
  features: Sequence[int] = (32, 64, 128, 256, 512)
  head_size: int = 1
  activation: Callable[[chex.Array], chex.Array] = leaky_relu
  upsample_bias: bool = False
  kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
  upsample_init: nn.initializers.Initializer = nn.initializers.truncated_normal(0.02)

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    chex.assert_rank(x, 4)
    coarsest = 2 ** (len(self.features) - 1)
    if x.shape[1] % coarsest or x.shape[2] % coarsest:
      raise ValueError(f"height and width of {x.shape} must divide by {coarsest}")

    skips = []
    for level, features in enumerate(self.features):
      if level:
        x = max_pool(x)
      x = self._block(x, features, level + 1)
      skips.append(x)
    skips.pop()
    for step, features in enumerate(reversed(self.features[:-1]), start=1):
      x = ConvTranspose(
        features,
        (2, 2),
        strides=2,
        use_bias=self.upsample_bias,
        kernel_init=self.upsample_init,
        name=f"upsample_{step}",
      )(x)
      x = jnp.concatenate([x, skips.pop()], axis=-1)
      x = self._block(x, features, len(self.features) + step)
    return Conv(
      self.out_features,
      (self.head_size, self.head_size),
      kernel_init=self.kernel_init,
      name="head",
    )(x)

  def _block(self, x: chex.Array, features: int, number: int) -> chex.Array:
    for index in (1, 2):
      name = f"conv{number}_{index}"
      x = Conv(features, (3, 3), kernel_init=self.kernel_init, name=name)(x)
      x = self.activation(x)
    return x
