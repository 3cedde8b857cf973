"""Features of both views: a double hourglass at a third of the resolution (M1)."""

import chex
import flax.linen as nn

from jaxvision.papers.ganet.layers import BasicConv, Conv2x

# Channels at 1/3, 1/6, 1/12, 1/24 and 1/48 of the resolution, for a width of 32.
CHANNELS = (32, 48, 64, 96, 128)


def scaled(channels: int, width: int) -> int:
  """Returns a number of channels, given for a width of 32, at another width."""
  return max(1, channels * width // 32)


class Features(nn.Module):
  """Two hourglasses, every level of one joined to the same level of the one before.

  Attributes:
    width: channels of the result; the authors' network has 32.
    hourglasses: 0, 1 or 2; without, the features are those of some pixels around.
  """

  width: int = 32
  hourglasses: int = 2

  @nn.compact
  def __call__(self, images: chex.Array, *, train: bool) -> chex.Array:
    """Returns [N, H / 3, W / 3, width] of [N, H, W, 3], sides multiples of 48."""
    levels = [scaled(channels, self.width) for channels in CHANNELS]
    x = BasicConv(levels[0], name="conv_start_0")(images, train=train)
    x = BasicConv(levels[0], (5, 5), 3, 2, name="conv_start_1")(x, train=train)
    x = BasicConv(levels[0], name="conv_start_2")(x, train=train)

    if not self.hourglasses:
      return x
    # What a level last gave is what the next pass joins to it.
    last = [x]
    for level in range(1, 5):
      x = BasicConv(levels[level], stride=2, name=f"conv{level}a")(x, train=train)
      last.append(x)
    for stage in "ab"[: self.hourglasses]:
      if stage == "b":
        for level in range(1, 5):
          x = Conv2x(levels[level], name=f"conv{level}b")(x, last[level], train=train)
          last[level] = x
      for level in range(4, 0, -1):
        join = Conv2x(levels[level - 1], up=True, name=f"deconv{level}{stage}")
        x = join(x, last[level - 1], train=train)
        last[level - 1] = x
    return x
