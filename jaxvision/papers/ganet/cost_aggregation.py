"""Aggregation of the cost volume by guided layers and 3-D convolutions (M6)."""

import functools

import chex
import flax.linen as nn

from jaxvision.nn.batch_norm import batch_norm
from jaxvision.ops.aggregation import (
  DIRECTIONS,
  TERMS,
  normalize_weights,
  semi_global_aggregation,
)
from jaxvision.papers.ganet.features import scaled
from jaxvision.papers.ganet.heads import Head
from jaxvision.papers.ganet.layers import KERNEL_INIT, BasicConv, Conv2x
from jaxvision.papers.ganet.starts import difference, small


class SGABlock(nn.Module):
  """Semi-global aggregation, a 3-D convolution, and a connection past both.

  Attributes:
    sga: whether the volume is aggregated; otherwise the rest is all there is, as in
      the paper's GA-Net* without guided layers.
    refine: whether there is the convolution.
    authors_gradient: as `semi_global_aggregation` has it.
  """

  sga: bool = True
  refine: bool = True
  authors_gradient: bool = False

  @nn.compact
  def __call__(self, volume: chex.Array, weights, *, train: bool) -> chex.Array:
    """Returns the aggregated volume.

    Args:
      volume: [N, D, H, W, C].
      weights: [N, H, W, 20 C], not normalised, in the order direction, channel, term.
      train: whether batch statistics are used and kept.
    """
    x = volume
    if self.sga:
      x = semi_global_aggregation(
        x, directional_weights(weights), authors_gradient=self.authors_gradient
      )
    x = batch_norm(train=train, name="bn_relu_0")(x)
    if not self.refine:
      return nn.relu(x + volume)
    convolution = BasicConv(volume.shape[-1], (3, 3, 3), relu=False, name="conv_refine")
    return nn.relu(convolution(nn.relu(x), train=train) + volume)


def directional_weights(weights: chex.Array) -> chex.Array:
  """Returns normalised weights [N, H, W, 4, 5, C] of the guidance's [N, H, W, 20 C]."""
  chex.assert_rank(weights, 4)
  shape = (*weights.shape[:3], len(DIRECTIONS), -1, TERMS)
  return normalize_weights(weights.reshape(shape).swapaxes(-1, -2), axis=-2)


class CostAggregation(nn.Module):
  """Aggregates a concatenation volume and regresses disparities.

  Attributes:
    max_disp: the largest disparity, a multiple of 12.
    hourglasses: 0, 1 or 2, each two levels deep, with an SGA block after it.
    convolutions: without hourglasses, the number of 3-D convolutions, an SGA block
      after each.
    refine: whether SGA blocks hold a convolution.
    inner: whether SGA blocks stand inside the hourglasses too.
    sga: whether SGA blocks aggregate.
    lga: whether the last head has LGA.
    width: channels; the authors' network has 32.
    authors_gradient: as `semi_global_aggregation` has it.
    plain_start: whether the first convolution starts as a difference of the views, and
      heads with small costs.
  """

  max_disp: int
  hourglasses: int = 2
  convolutions: int = 1
  refine: bool = True
  inner: bool = True
  sga: bool = True
  lga: bool = True
  width: int = 32
  authors_gradient: bool = False
  plain_start: bool = False

  @nn.compact
  def __call__(
    self, volume: chex.Array, guidance: dict[str, chex.Array], *, train: bool
  ) -> tuple[chex.Array, ...]:
    """Returns the disparities [N, H, W] of each head that is asked for, last at last.

    Args:
      volume: [N, D, H / 3, W / 3, 2 width].
      guidance: weights, as `Guidance` returns them.
      train: whether all heads are asked for, and batch statistics used and kept.
    """
    outer, middle, inner = (scaled(c, self.width) for c in (32, 48, 64))
    filters = (guidance["lg1"], guidance["lg2"]) if self.lga else None
    block = functools.partial(
      SGABlock, self.sga, self.refine, authors_gradient=self.authors_gradient
    )

    def aggregate(x, number):
      return block(name=f"sga{number}")(x, guidance.get(f"sg{number}"), train=train)

    def join(features, name, **options):
      return functools.partial(
        Conv2x(features, axes=3, name=name, **options), train=train
      )

    def head(x, number, filters=None):
      init = small if self.plain_start else KERNEL_INIT
      return Head(self.max_disp, init, name=f"disp{number}")(x, filters)

    init = difference if self.plain_start else None
    first = BasicConv(outer, (3, 3, 3), relu=False, kernel_init=init, name="conv_start")
    x = first(volume, train=train)
    x = aggregate(x, 1)
    if not self.hourglasses:
      for number in range(2, self.convolutions + 1):
        x = BasicConv(outer, (3, 3, 3), name=f"conv{number}")(x, train=train)
        x = aggregate(x, number)
      return (head(x, 0, filters),)

    disparities = [head(x, 0)] if train or self.is_initializing() else []
    full = x
    half = quarter = None  # what the first hourglass leaves to the second
    for number in range(self.hourglasses):
      stage = "ab"[number]
      if number == 0:
        x = BasicConv(middle, (3, 3, 3), 2, name="conv1a")(x, train=train)
      else:
        x = join(middle, "conv1b")(x, half)
      if self.inner:
        x = aggregate(x, 11 + 2 * number)
      half = x
      if number == 0:
        x = BasicConv(inner, (3, 3, 3), 2, name="conv2a")(x, train=train)
      else:
        x = join(inner, "conv2b")(x, quarter)
      quarter = x
      x = join(middle, f"deconv2{stage}", up=True)(x, half)
      if self.inner:
        x = aggregate(x, 12 + 2 * number)
      half = x
      x = join(outer, f"deconv1{stage}", up=True, relu=False)(x, full)
      x = full = aggregate(x, 2 + number)
      last = number == self.hourglasses - 1
      if last or train or self.is_initializing():
        disparities.append(head(x, 1 + number, filters if last else None))
    return tuple(disparities)
