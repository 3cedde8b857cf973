"""Inception-v3: torchvision's network, and the one that FID and KID are defined by.

Modules are called as torchvision calls them: Conv2d_1a_3x3/conv, AuxLogits/conv0, fc,
Mixed_5b/branch5x5_1/bn. The network of 2015 that FID was published with differs: the
zeros around its averaging windows do not count, its last block takes maxima where the
others take means, and it has 1008 outputs and no auxiliary ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.batch_norm import batch_norm
from jaxvision.nn.convolution import Conv
from jaxvision.ops import pooling
from jaxvision.ops.resize import resize

EPSILON = 1e-3  # of every normalisation
SIDE = 299  # of the images that the networks were trained on
DEPTHS = (64, 192, 768, 2048)  # channels of the maps that are used as features
FID_OUTPUTS = 1008

Pool = Literal["average", "average_inside", "maximum"]
# Features and window of each convolution of a branch, by its name.
Branch = Sequence[tuple[str, int, tuple[int, int]]]


class Unit(nn.Module):
  """Convolution without bias, batch normalisation, ReLU.

  Attributes:
    features: number of output channels.
    kernel_size: of the window.
    strides: of both axes.
    padding: as `Conv` takes it.
    deviation: of the initial kernel.
  """

  features: int
  kernel_size: tuple[int, int]
  strides: int = 1
  padding: str = "SAME"
  deviation: float = 0.1

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    x = Conv(
      self.features,
      self.kernel_size,
      strides=self.strides,
      padding=self.padding,
      use_bias=False,
      kernel_init=nn.initializers.normal(self.deviation),
      name="conv",
    )(x)
    return nn.relu(batch_norm(train=train, epsilon=EPSILON, name="bn")(x))


class InceptionA(nn.Module):
  """Windows of 1, 5 and twice 3, 35 x 35 maps: 224 + pool_features channels."""

  pool_features: int
  pool: Pool = "average"

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    triple = (("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3)))
    branches = [
      _chain(x, train, [("branch1x1", 64, (1, 1))]),
      _chain(x, train, [("branch5x5_1", 48, (1, 1)), ("branch5x5_2", 64, (5, 5))]),
      _chain(x, train, [*triple, ("branch3x3dbl_3", 96, (3, 3))]),
      _pooled(x, train, self.pool_features, self.pool),
    ]
    return jnp.concatenate(branches, axis=-1)


class InceptionB(nn.Module):
  """Halves 35 x 35 maps: 480 channels and those of the input."""

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    double = [("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3))]
    double = _chain(x, train, double)
    branches = [
      _halved(x, train, 384, "branch3x3"),
      _halved(double, train, 96, "branch3x3dbl_3"),
      pooling.max_pool(x, 3, strides=2),
    ]
    return jnp.concatenate(branches, axis=-1)


class InceptionC(nn.Module):
  """Windows of 7 x 7 as rows and columns, 17 x 17 maps: 768 channels.

  Attributes:
    inner: channels between the windows.
    pool: of the last branch.
  """

  inner: int
  pool: Pool = "average"

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    row, column = (1, 7), (7, 1)
    once = [
      ("branch7x7_1", self.inner, (1, 1)),
      ("branch7x7_2", self.inner, row),
      ("branch7x7_3", 192, column),
    ]
    twice = [
      ("branch7x7dbl_1", self.inner, (1, 1)),
      ("branch7x7dbl_2", self.inner, column),
      ("branch7x7dbl_3", self.inner, row),
      ("branch7x7dbl_4", self.inner, column),
      ("branch7x7dbl_5", 192, row),
    ]
    branches = [
      _chain(x, train, [("branch1x1", 192, (1, 1))]),
      _chain(x, train, once),
      _chain(x, train, twice),
      _pooled(x, train, 192, self.pool),
    ]
    return jnp.concatenate(branches, axis=-1)


class InceptionD(nn.Module):
  """Halves 17 x 17 maps: 512 channels and those of the input."""

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    square = _chain(x, train, [("branch3x3_1", 192, (1, 1))])
    cross = [
      ("branch7x7x3_1", 192, (1, 1)),
      ("branch7x7x3_2", 192, (1, 7)),
      ("branch7x7x3_3", 192, (7, 1)),
    ]
    branches = [
      _halved(square, train, 320, "branch3x3_2"),
      _halved(_chain(x, train, cross), train, 192, "branch7x7x3_4"),
      pooling.max_pool(x, 3, strides=2),
    ]
    return jnp.concatenate(branches, axis=-1)


class InceptionE(nn.Module):
  """Rows and columns side by side, 8 x 8 maps: 2048 channels."""

  pool: Pool = "average"

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    def fork(y, name):
      return [
        _chain(y, train, [(f"{name}a", 384, (1, 3))]),
        _chain(y, train, [(f"{name}b", 384, (3, 1))]),
      ]

    single = _chain(x, train, [("branch3x3_1", 384, (1, 1))])
    double = [("branch3x3dbl_1", 448, (1, 1)), ("branch3x3dbl_2", 384, (3, 3))]
    branches = [
      _chain(x, train, [("branch1x1", 320, (1, 1))]),
      *fork(single, "branch3x3_2"),
      *fork(_chain(x, train, double), "branch3x3dbl_3"),
      _pooled(x, train, 192, self.pool),
    ]
    return jnp.concatenate(branches, axis=-1)


class InceptionAux(nn.Module):
  """Logits from the 17 x 17 maps, which help the lower layers learn."""

  num_classes: int

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    x = pooling.average_pool(x, 5, strides=3)
    x = Unit(128, (1, 1), name="conv0")(x, train=train)
    x = Unit(768, (5, 5), padding="VALID", deviation=0.01, name="conv1")(x, train=train)
    kernel_init = nn.initializers.normal(0.001)
    dense = nn.Dense(self.num_classes, kernel_init=kernel_init, name="fc")
    return dense(jnp.mean(x, axis=(1, 2)))


class InceptionV3(nn.Module):
  """Maps images [B, H, W, 3] in [-1, 1] to logits [B, num_classes].

  Attributes:
    num_classes: number of logits; `FID_OUTPUTS` for FID's network.
    variant: "torchvision", or "fid" for the network of 2015.
    auxiliary: whether there are auxiliary logits, in training only; None: as the
      variant's published weights have them.
    dropout: rate before the last layer, with `train`.

  Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
    CVPR 2016, Table 1.
  """

  num_classes: int = 1000
  variant: Literal["torchvision", "fid"] = "torchvision"
  auxiliary: bool | None = None
  dropout: float = 0.5

  @nn.compact
  def __call__(
    self, x: chex.Array, *, train: bool = False, depths: Sequence[int] = ()
  ) -> Any:
    """Returns the logits of x.

    Args:
      x: [B, H, W, 3] in [-1, 1]; sides of at least 75, `SIDE` in published use.
      train: whether to normalise by the batch; dropout takes the key "dropout".
      depths: of `DEPTHS`. Where there are any, the maps of so many channels are
        returned instead; what lies behind the deepest is not run, and its variables
        may be missing.

    Returns:
      Logits; with `train` and auxiliary logits (logits, auxiliary). For `depths` a list
      in their order of [B, h, w, depth] behind the first and second maximum, before
      the auxiliary logits, and [B, depth] means of the last map.
    """
    chex.assert_rank(x, 4)
    if self.variant not in ("torchvision", "fid"):
      raise ValueError(f"variant {self.variant!r} is neither 'torchvision' nor 'fid'")
    if unknown := set(depths) - set(DEPTHS):
      raise ValueError(f"depths: {sorted(unknown)} are none of {DEPTHS}")
    is_fid = self.variant == "fid"
    pool = "average_inside" if is_fid else "average"
    last_pool = "maximum" if is_fid else "average"
    auxiliary = not is_fid if self.auxiliary is None else self.auxiliary
    # The layers up to each depth, in order.
    parts = (
      (
        Unit(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3"),
        Unit(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3"),
        Unit(64, (3, 3), name="Conv2d_2b_3x3"),
        _maximum,
      ),
      (
        Unit(80, (1, 1), name="Conv2d_3b_1x1"),
        Unit(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3"),
        _maximum,
      ),
      (
        InceptionA(32, pool, name="Mixed_5b"),
        InceptionA(64, pool, name="Mixed_5c"),
        InceptionA(64, pool, name="Mixed_5d"),
        InceptionB(name="Mixed_6a"),
        InceptionC(128, pool, name="Mixed_6b"),
        InceptionC(160, pool, name="Mixed_6c"),
        InceptionC(160, pool, name="Mixed_6d"),
        InceptionC(192, pool, name="Mixed_6e"),
      ),
      (
        InceptionD(name="Mixed_7a"),
        InceptionE(pool, name="Mixed_7b"),
        InceptionE(last_pool, name="Mixed_7c"),
      ),
    )
    maps = {}
    for depth, layers in zip(DEPTHS, parts, strict=True):
      if depths and depth > max(depths):
        break
      for layer in layers:
        x = layer(x, train=train)
      maps[depth] = x
    if depths:
      return [_mean(maps[d]) if d == DEPTHS[-1] else maps[d] for d in depths]

    x = nn.Dropout(self.dropout, deterministic=not train)(_mean(x))
    kernel_init = nn.initializers.normal(0.1)
    logits = nn.Dense(self.num_classes, kernel_init=kernel_init, name="fc")(x)
    if auxiliary and (train or self.is_initializing()):
      head = InceptionAux(self.num_classes, name="AuxLogits")
      extra = head(maps[768], train=train)
      return (logits, extra) if train else logits
    return logits


def prepare(images: chex.Array, convention: str = "tensorflow") -> chex.Array:
  """Returns images as the published networks take them, [B, 299, 299, 3].

  Args:
    images: [B, H, W, 3] float in [0, 1].
    convention: "tensorflow", as FID was published: bilinear samples at i · H / 299,
      and (255 x - 128) / 128; or "pytorch": bilinear between the centres of pixels,
      and 2 x - 1. Neither smooths what it shrinks.
  """
  chex.assert_rank(images, 4)
  chex.assert_axis_dimension(images, 3, 3)
  chex.assert_type(images, float)
  if convention == "tensorflow":
    images = resize(images, (SIDE, SIDE), coordinates="asymmetric")
    return (255 * images - 128) / 128
  if convention == "pytorch":
    return 2 * resize(images, (SIDE, SIDE)) - 1
  raise ValueError(f"convention {convention!r} is neither 'tensorflow' nor 'pytorch'")


def inception_features(
  variables: Mapping[str, Any],
  images: chex.Array,
  depth: int = 2048,
  *,
  variant: str = "fid",
  convention: str = "tensorflow",
) -> chex.Array:
  """Returns the features of images, between whose sets FID and KID measure.

  Args:
    variables: of `InceptionV3`, as `published.torchvision.inception` reads them.
    images: [B, H, W, 3] float in [0, 1].
    depth: of `DEPTHS`; only 2048 gives the published measures.
    variant: see `InceptionV3`.
    convention: see `prepare`.

  Returns:
    [B, depth], means over the pixels of a map.

  Source: Heusel et al., NIPS 2017, Section "Performance Measure"; Bińkowski et al.,
    ICLR 2018, Section 4.
  """
  network = InceptionV3(FID_OUTPUTS, variant)
  (found,) = network.apply(variables, prepare(images, convention), depths=(depth,))
  return found if found.ndim == 2 else _mean(found)


def _chain(x: chex.Array, train: bool, branch: Branch) -> chex.Array:
  for name, features, size in branch:
    x = Unit(features, size, name=name)(x, train=train)
  return x


def _halved(x: chex.Array, train: bool, features: int, name: str) -> chex.Array:
  return Unit(features, (3, 3), 2, "VALID", name=name)(x, train=train)


def _pooled(x: chex.Array, train: bool, features: int, pool: Pool) -> chex.Array:
  if pool == "maximum":
    x = pooling.max_pool(x, 3, strides=1, padding=1)
  else:
    counts = pool == "average"
    x = pooling.average_pool(x, 3, strides=1, padding=1, count_padding=counts)
  return Unit(features, (1, 1), name="branch_pool")(x, train=train)


def _maximum(x: chex.Array, *, train: bool) -> chex.Array:
  del train
  return pooling.max_pool(x, 3, strides=2)


def _mean(x: chex.Array) -> chex.Array:
  return jnp.mean(x, axis=(1, 2))
