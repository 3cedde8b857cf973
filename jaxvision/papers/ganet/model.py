"""The whole network, in the sizes of the paper and of the authors' repository."""

import dataclasses
import functools

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.batch_norm import batch_norm
from jaxvision.ops.cost_volume import concatenation_volume
from jaxvision.ops.resize import resize
from jaxvision.papers.ganet.cost_aggregation import CostAggregation
from jaxvision.papers.ganet.features import Features, scaled
from jaxvision.papers.ganet.guidance import Guidance
from jaxvision.papers.ganet.heads import SCALE
from jaxvision.papers.ganet.layers import BasicConv, plain_conv
from jaxvision.papers.ganet.starts import identity

SIDE = 48  # image sides are multiples of it
DISPARITY_STEP = 12  # and max_disp of this


@dataclasses.dataclass(frozen=True)
class Variant:
  """How a network of the family aggregates; see `CostAggregation`."""

  hourglasses: int = 2
  convolutions: int = 1
  refine: bool = True
  inner: bool = True

  @property
  def outer_layers(self) -> int:
    """Number of SGA layers at a third of the resolution."""
    return 1 + self.hourglasses if self.hourglasses else self.convolutions

  @property
  def inner_layers(self) -> int:
    return 2 * self.hourglasses if self.inner else 0

  @property
  def heads(self) -> int:
    """Number of disparities that a forward pass for training returns."""
    return 1 + self.hourglasses


# "deep" and "11" are the authors' models. The others are not in their repository: they
# are made here of the same parts, with as many 3-D convolutions (heads apart) as their
# names say and 1 to 3 SGA layers. The paper has all of them but "4".
VARIANTS = {
  "deep": Variant(),
  "15": Variant(refine=False, inner=False),
  "11": Variant(hourglasses=1),
  "7": Variant(hourglasses=1, refine=False, inner=False),
  "4": Variant(0, 2, inner=False),
  "3": Variant(0, 3, refine=False, inner=False),
  "2": Variant(0, 2, refine=False, inner=False),
  "1": Variant(0, 1, refine=False, inner=False),
}


class GANet(nn.Module):
  """Maps two rectified views to the left one's disparity.

  Attributes:
    variant: a key of VARIANTS.
    max_disp: the largest disparity in pixels, a multiple of 12.
    width: channels of the volume; the authors' networks have 32.
    trunk: hourglasses of the features, at most 2, as the authors' networks have.
    sga: whether SGA layers aggregate; without, GA-Net*.
    lga: whether the last head has LGA.
    authors_gradient: as `semi_global_aggregation` has it.
    lean: how much the guided layers start as plain averages, see `starts`; the
      authors' do not.
    plain_start: whether the volume starts as differences of the views and all
      candidates as nearly alike; the authors' do not.

  Source: Zhang et al., CVPR 2019, Section 4; GANet_deep.py and GANet11.py.
  """

  variant: str = "deep"
  max_disp: int = 192
  width: int = 32
  trunk: int = 2
  sga: bool = True
  lga: bool = True
  authors_gradient: bool = False
  lean: float = 0.0
  plain_start: bool = False

  @nn.compact
  def __call__(
    self, left: chex.Array, right: chex.Array, *, train: bool = False
  ) -> tuple[chex.Array, ...]:
    """Returns disparities [N, H, W] in pixels: of all heads to train, else of the last.

    Args:
      left: [N, H, W, 3], every channel of mean 0 and deviation 1 over the image; H and
        W multiples of 48.
      right: of the same shape.
      train: whether batch statistics are used and kept.

    Raises:
      ValueError: sides or max_disp are no such multiples.
    """
    chex.assert_rank([left, right], 4)
    chex.assert_equal_shape([left, right])
    chex.assert_axis_dimension(left, 3, 3)
    if left.shape[1] % SIDE or left.shape[2] % SIDE:
      raise ValueError(f"height and width of {left.shape} must be multiples of {SIDE}")
    if self.max_disp < 1 or self.max_disp % DISPARITY_STEP:
      raise ValueError(f"max_disp {self.max_disp} is no multiple of {DISPARITY_STEP}")
    shape = VARIANTS[self.variant]

    stem = BasicConv(scaled(16, self.width), name="conv_start_0")(left, train=train)
    stem = BasicConv(self.width, name="conv_start_1")(stem, train=train)
    trunk = Features(self.width, self.trunk, name="feature")
    features = trunk(left, train=train)
    same = identity if self.plain_start else None
    match = functools.partial(BasicConv, self.width, kernel_init=same)
    volume = concatenation_volume(
      match(name="conv_x")(features, train=train),
      match(name="conv_y")(trunk(right, train=train), train=train),
      self.max_disp // SCALE + 1,
    )
    refined = plain_conv(self.width, name="conv_refine")(features)
    refined = resize(refined, left.shape[1:3])
    refined = nn.relu(batch_norm(train=train, name="bn_relu_0")(refined))
    guidance = Guidance(
      shape.outer_layers if self.sga else 0,
      shape.inner_layers if self.sga else 0,
      self.lga,
      self.width,
      self.lean,
      name="guidance",
    )(jnp.concatenate([stem, refined], axis=-1), train=train)
    return CostAggregation(
      self.max_disp,
      shape.hourglasses,
      shape.convolutions,
      shape.refine,
      shape.inner,
      self.sga,
      self.lga,
      self.width,
      self.authors_gradient,
      self.plain_start,
      name="cost_agg",
    )(volume, guidance, train=train)
