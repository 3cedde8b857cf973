"""The guidance network: weights of every guided layer, read from the left image."""

import chex
import flax.linen as nn

from jaxvision.ops.aggregation import TERMS
from jaxvision.papers.ganet.features import scaled
from jaxvision.papers.ganet.layers import BasicConv, plain_conv
from jaxvision.papers.ganet.starts import path_start, window_start

WINDOW = 5  # side of the LGA filter
_DIRECTIONS = 4
# Channels that LGA filters are read from in narrow networks. Where all of them are off,
# as few often are on a surface without texture, a filter is zero, and the disparity.
_LEAST = 8


class Guidance(nn.Module):
  """Maps full-resolution guidance to the weights of all SGA and LGA layers.

  Attributes:
    outer: number of SGA layers at a third of the resolution: sg1, sg2, ...
    inner: number of those at a sixth: sg11, sg12, ...
    lga: whether there are filters lg1 and lg2.
    width: channels of the volume at a third; the authors' network has 32.
    lean: how training starts, see `starts`.
  """

  outer: int = 3
  inner: int = 4
  lga: bool = True
  width: int = 32
  lean: float = 0.0

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool) -> dict[str, chex.Array]:
    """Returns the weights, not normalised, by name.

    Args:
      x: [N, H, W, 2 width], sides multiples of 6.
      train: whether batch statistics are used and kept.

    Returns:
      sgK: [N, H / 3, W / 3, 20 C], and sg1K [N, H / 6, W / 6, 20 C], with C channels of
      the volume there: direction by direction, then channel, then term.
      lg1, lg2: [N, H, W, 75].
    """
    small, middle, large = (scaled(c, self.width) for c in (16, 32, 48))
    small = max(small, _LEAST)
    weights = {}
    taps = 3 * WINDOW**2
    first, path = (path_start(self.lean, first) for first in (True, False))
    window = window_start(self.lean, taps)
    x = full = BasicConv(small, name="conv0")(x, train=train)
    x = BasicConv(middle, (5, 5), 3, 2, name="conv1_0")(x, train=train)
    x = BasicConv(middle, name="conv1_1")(x, train=train)
    for number in range(1, self.outer + 1):
      if number > 1:
        x = BasicConv(middle, name=f"conv{number}")(x, train=train)
      name = f"weight_sg{number}"
      outputs = _DIRECTIONS * TERMS * middle
      init = first if number == 1 else path
      weights[f"sg{number}"] = plain_conv(outputs, name=name, init=init)(x)
    for number in range(11, self.inner + 11):
      if number == 11:
        x = BasicConv(large, stride=2, name="conv11_0")(x, train=train)
        x = BasicConv(large, name="conv11_1")(x, train=train)
      else:
        x = BasicConv(large, name=f"conv{number}")(x, train=train)
      name = f"weight_sg{number}"
      outputs = _DIRECTIONS * TERMS * large
      weights[f"sg{number}"] = plain_conv(outputs, name=name, init=path)(x)
    for number in (1, 2) if self.lga else ():
      y = BasicConv(small, name=f"weight_lg{number}_0")(full, train=train)
      name = f"weight_lg{number}_1"
      weights[f"lg{number}"] = plain_conv(taps, name=name, init=window)(y)
    return weights
