"""The U-Net that makes saliency maps, with a branch that counts."""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.convolution import Conv
from jaxvision.nn.torch_batch_norm import TorchBatchNorm
from jaxvision.ops.pooling import max_pool
from jaxvision.ops.resize import resize

FEATURES = (64, 128, 256, 512, 512, 512, 512, 512, 512)
UP_FEATURES = (512, 512, 512, 512, 256, 128, 64, 64)
# The one of pupils, called "ultrasmall".
SMALL_FEATURES = (64, 128, 256, 512)
SMALL_UP_FEATURES = (128, 64, 64)

_kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Located(NamedTuple):
  """What the network says of a batch of images.

  Attributes:
    map: [B, H, W] in (0, 1).
    count: [B] number of objects, ≥ 0.
    logits: [B, H, W], `map` before the sigmoid.
    deepest: [B, h, w, C] features of the coarsest level.
    signed_count: [B], `count` before the ReLU.
  """

  map: chex.Array
  count: chex.Array
  logits: chex.Array
  deepest: chex.Array
  signed_count: chex.Array


class Locator(nn.Module):
  """Maps images [B, H, W, 3] in [-1, 1] to where objects are and how many.

  The coarsest level has no normalisation: its maps may be of one pixel. The last level
  has no ReLU.

  Attributes:
    features: channels of the levels downwards, the finest first.
    up_features: channels of the levels upwards, one less.
    hidden: width of each branch of the count.
    rate: of the branches' dropout.
    known_count: the number of objects where it is known; then nothing counts.
  """

  features: Sequence[int] = FEATURES
  up_features: Sequence[int] = UP_FEATURES
  hidden: int = 64
  rate: float = 0.5
  known_count: float | None = None

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool) -> Located:
    """Returns maps and counts.

    Args:
      x: [B, H, W, 3] in [-1, 1]; sides of 2^(levels - 1) and more.
      train: whether statistics are the batch's and the branches drop out, which takes
        the random stream "dropout".
    """
    chex.assert_rank(x, 4)
    if len(self.up_features) != len(self.features) - 1:
      raise ValueError(
        f"{len(self.features)} levels need {len(self.features) - 1} upwards, not "
        f"{len(self.up_features)}"
      )
    if min(x.shape[1:3]) < 2 ** (len(self.features) - 1):
      raise ValueError(
        f"images of {x.shape[1]} x {x.shape[2]} cannot be halved "
        f"{len(self.features) - 1} times"
      )
    levels = []
    for level, features in enumerate(self.features):
      x = max_pool(x) if level else x
      is_last = level == len(self.features) - 1
      x = DoubleConv(features, norm=not is_last, name=f"down_{level}")(x, train=train)
      levels.append(x)
    deepest = levels.pop()
    for step, features in enumerate(self.up_features):
      skip = levels.pop()
      x = jnp.concatenate([skip, _upsample(x, skip.shape[1:3])], axis=-1)
      is_last = step == len(self.up_features) - 1
      block = DoubleConv(features, activation=not is_last, name=f"up_{step}")
      x = block(x, train=train)
    logits = Conv(
      1,
      (1, 1),
      kernel_init=_kernel_init,
      bias_init=_bias_init(x.shape[-1]),
      name="head",
    )(x)[..., 0]
    saliency = nn.sigmoid(logits)
    if self.known_count is None:
      count = self._count(saliency, deepest, train)
    else:
      count = jnp.full(len(x), self.known_count, x.dtype)
    return Located(saliency, nn.relu(count), logits, deepest, count)

  def _count(self, saliency, deepest, train):
    branches = []
    for name, features in (("map_branch", saliency), ("deep_branch", deepest)):
      features = features.reshape(len(features), -1)
      hidden = nn.relu(_dense(self.hidden, features, f"{name}"))
      dropout = nn.Dropout(self.rate, deterministic=not train, name=f"{name}_dropout")
      branches.append(dropout(hidden))
    return _dense(1, jnp.concatenate(branches, axis=-1), "regressor")[..., 0]


class DoubleConv(nn.Module):
  """Two 3 x 3 convolutions, each with normalisation and ReLU where there are any.

  Attributes:
    features: channels of both.
    norm: whether they are normalised.
    activation: whether ReLUs follow.
  """

  features: int
  norm: bool = True
  activation: bool = True

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool) -> chex.Array:
    for index in range(2):
      x = Conv(
        self.features,
        (3, 3),
        kernel_init=_kernel_init,
        bias_init=_bias_init(9 * x.shape[-1]),
        name=f"conv_{index}",
      )(x)
      if self.norm:
        x = TorchBatchNorm(name=f"norm_{index}")(x, train=train)
      if self.activation:
        x = nn.relu(x)
    return x


def to_signed(images: chex.Array) -> chex.Array:
  """Returns images of [0, 1] in [-1, 1], as the network takes them."""
  return 2 * images - 1


def _upsample(x, shape):
  """Doubles bilinearly, corners on corners, and pads with zeros to a shape."""
  x = resize(x, (2 * x.shape[1], 2 * x.shape[2]), coordinates="align_corners")
  missing = [want - have for want, have in zip(shape, x.shape[1:3], strict=True)]
  pads = [(amount // 2, amount - amount // 2) for amount in missing]
  return jnp.pad(x, ((0, 0), *pads, (0, 0)))


def _dense(features, x, name):
  return nn.Dense(
    features,
    kernel_init=_kernel_init,
    bias_init=_bias_init(x.shape[-1]),
    name=name,
  )(x)


def _bias_init(fan_in):
  """Returns PyTorch's initialiser of a bias, uniform like the kernel's."""
  bound = fan_in**-0.5

  def initialize(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return initialize
