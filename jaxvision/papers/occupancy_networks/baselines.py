"""The baselines that the authors made again on their encoders: R2N2 and PSGN (M14)."""

import chex
import flax.linen as nn

from jaxvision.papers.occupancy_networks.layers import conv, doubling, linear

R2N2_THRESHOLD = 0.4


class R2N2Decoder(nn.Module):
  """Codes [B, C] to logits of voxels: [B, 32, 32, 32] for four widths.

  Attributes:
    widths: channels at 4^3, and after each doubling.
  """

  widths: tuple[int, ...] = (256, 128, 64, 32)

  @nn.compact
  def __call__(self, c: chex.Array, *, train: bool = False) -> chex.Array:
    del train
    chex.assert_rank(c, 2)
    first = self.widths[0]
    x = linear(c.shape[-1], first * 4**3, "fc_in")(c)
    x = x.reshape(-1, first, 4, 4, 4).transpose(0, 2, 3, 4, 1)
    for index, width in enumerate(self.widths[1:]):
      x = doubling(width, f"convtrp_{index}")(nn.relu(x))
    return conv(x.shape[-1], 1, 1, 3, "conv_out")(nn.relu(x))[..., 0]


class PSGNDecoder(nn.Module):
  """Codes [B, C] to point clouds [B, count, 3].

  Attributes:
    count: points.
    hidden: channels.
  """

  count: int = 1024
  hidden: int = 512

  @nn.compact
  def __call__(self, c: chex.Array, *, train: bool = False) -> chex.Array:
    del train
    chex.assert_rank(c, 2)
    x = c
    for index in range(3):
      x = nn.relu(linear(x.shape[-1], self.hidden, f"fc_{index}")(x))
    x = linear(self.hidden, 3 * self.count, "fc_out")(x)
    return x.reshape(len(c), self.count, 3)
