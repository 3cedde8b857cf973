"""Layers that encoders and decoders share, initialised as PyTorch does.

Modules are called as the authors call them, so that `published` finds their weights.
"""

import math

import chex
import flax.linen as nn
import jax

from jaxvision.nn.batch_norm import batch_norm
from jaxvision.nn.convolution import Conv, ConvTranspose

_uniform_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def linear(
  inputs: int, features: int, name: str, *, zero: bool = False, use_bias: bool = True
) -> nn.Dense:
  """Returns a linear layer: U(±1/√inputs), or a kernel of zeros.

  Args:
    inputs: channels that it reads.
    features: channels that it gives.
    name: of the module.
    zero: whether the kernel starts at 0; the bias does not.
    use_bias: whether it has one.
  """
  return nn.Dense(
    features,
    use_bias=use_bias,
    kernel_init=nn.initializers.zeros if zero else _uniform_kernel,
    bias_init=_uniform(inputs),
    name=name,
  )


def conv(
  inputs: int,
  features: int,
  size: int,
  axes: int,
  name: str,
  *,
  stride: int = 1,
  padding: int = 0,
) -> Conv:
  """Returns a convolution with PyTorch's default initialisation.

  Args:
    inputs, features: channels.
    size: of the window along each of `axes` axes.
    axes: 2 or 3.
    name: of the module.
    stride, padding: along each axis.
  """
  return Conv(
    features,
    (size,) * axes,
    strides=stride,
    padding=padding,
    kernel_init=_uniform_kernel,
    bias_init=_uniform(inputs * size**axes),
    name=name,
  )


def doubling(features: int, name: str) -> ConvTranspose:
  """Returns the transposed 3 x 3 x 3 convolution that doubles a grid's sides."""
  # PyTorch takes the fan-in of transposed convolutions from their outputs.
  init = _uniform(features * 27)
  return ConvTranspose(
    features,
    (3, 3, 3),
    strides=2,
    padding=1,
    output_padding=1,
    kernel_init=init,
    bias_init=init,
    name=name,
  )


class ConditionalBatchNorm(nn.Module):
  """Batch normalisation over batch and points, scaled and shifted by the condition.

  Attributes:
    features: channels F.
    legacy: whether the maps of the condition are called as in the first models.

  Source: Supplementary, Section 1.1 (M11).
  """

  features: int
  legacy: bool = False

  @nn.compact
  def __call__(self, x: chex.Array, c: chex.Array, *, train: bool) -> chex.Array:
    """Returns γ(c) · BN(x) + β(c).

    Args:
      x: [B, T, F].
      c: [B, C].
      train: whether the batch's statistics are used.
    """
    prefix = "fc" if self.legacy else "conv"
    init = {"kernel_init": nn.initializers.zeros}
    gamma = nn.Dense(
      self.features, bias_init=nn.initializers.ones, name=f"{prefix}_gamma", **init
    )(c)
    beta = nn.Dense(self.features, name=f"{prefix}_beta", **init)(c)
    normalized = batch_norm(train=train, use_scale=False, use_bias=False, name="bn")(x)
    return gamma[:, None] * normalized + beta[:, None]


class ResnetBlock(nn.Module):
  """x + fc_1(ReLU(fc_0(ReLU(x)))), starting as the identity on x.

  Attributes:
    features: channels of the output.
    hidden: channels inside; the smaller of inputs and outputs when None.
  """

  features: int
  hidden: int | None = None

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns [..., features] of x [..., F], through a linear shortcut if F differs."""
    inputs = x.shape[-1]
    hidden = self.hidden or min(inputs, self.features)
    y = linear(inputs, hidden, "fc_0")(nn.relu(x))
    y = linear(hidden, self.features, "fc_1", zero=True)(nn.relu(y))
    if inputs != self.features:
      x = linear(inputs, self.features, "shortcut", use_bias=False)(x)
    return x + y


class ConditionalResnetBlock(nn.Module):
  """x + fc_1(ReLU(CBN_1(fc_0(ReLU(CBN_0(x, c))), c))).

  Attributes:
    conditional: whether the normalisations are conditional; else they are affine.
    legacy: see `ConditionalBatchNorm`.
  """

  conditional: bool = True
  legacy: bool = False

  @nn.compact
  def __call__(self, x: chex.Array, c: chex.Array | None, *, train: bool) -> chex.Array:
    features = x.shape[-1]

    def norm(x, name):
      if self.conditional:
        return ConditionalBatchNorm(features, self.legacy, name=name)(x, c, train=train)
      return batch_norm(train=train, name=name)(x)

    y = linear(features, features, "fc_0")(nn.relu(norm(x, "bn_0")))
    y = linear(features, features, "fc_1", zero=True)(nn.relu(norm(y, "bn_1")))
    return x + y


def _uniform(fan_in: int):
  bound = 1 / math.sqrt(fan_in)

  def init(key, shape, dtype=float):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init
