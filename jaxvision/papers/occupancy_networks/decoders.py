"""Occupancy decoders: points, condition and latent code in, logits out.

All are called as `decoder(p, z, c, train=...)` with points p [B, T, 3], latent codes
z [B, Z] or None, conditions c [B, C] or None, and return logits [B, T].
"""

import functools

import chex
import flax.linen as nn

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.batch_norm import batch_norm
from jaxvision.papers.occupancy_networks.layers import (
  ConditionalBatchNorm,
  ConditionalResnetBlock,
  ResnetBlock,
  linear,
)

_BLOCKS = 5


class CBatchNormDecoder(nn.Module):
  """Five residual blocks under conditional batch normalisation: the paper's.

  Attributes:
    hidden: channels.
    leaky: whether the last activation has the slope 0.2.
    legacy: see `ConditionalBatchNorm`.

  Source: Section 3 and Supplementary 1.1; `DecoderCBatchNorm`.
  """

  hidden: int = 256
  leaky: bool = False
  legacy: bool = False

  @nn.compact
  def __call__(self, p, z=None, c=None, *, train: bool = False) -> chex.Array:
    _check(p, z, c)
    x = linear(3, self.hidden, "fc_p")(p)
    if z is not None:
      x += linear(z.shape[-1], self.hidden, "fc_z")(z)[:, None]
    for index in range(_BLOCKS):
      block = ConditionalResnetBlock(legacy=self.legacy, name=f"block{index}")
      x = block(x, c, train=train)
    x = ConditionalBatchNorm(self.hidden, self.legacy, name="bn")(x, c, train=train)
    return _logits(_last_activation(self.leaky)(x))


class CBatchNorm2Decoder(nn.Module):
  """As `CBatchNormDecoder`, with any number of blocks and z added to the condition.

  Attributes:
    hidden: channels.
    blocks: residual blocks.
  """

  hidden: int = 256
  blocks: int = 5

  @nn.compact
  def __call__(self, p, z=None, c=None, *, train: bool = False) -> chex.Array:
    _check(p, z, c)
    if z is not None:
      c = c + linear(z.shape[-1], c.shape[-1], "fc_z")(z)
    x = linear(3, self.hidden, "conv_p")(p)
    for index in range(self.blocks):
      x = ConditionalResnetBlock(name=f"blocks_{index}")(x, c, train=train)
    x = ConditionalBatchNorm(self.hidden, name="bn")(x, c, train=train)
    return _logits(nn.relu(x), "conv_out")


class SimpleDecoder(nn.Module):
  """Five residual blocks without normalisation: of the unconditional model.

  Attributes:
    hidden: channels.
    leaky: whether the last activation, and no other, has the slope 0.2.
  """

  hidden: int = 128
  leaky: bool = False

  @nn.compact
  def __call__(self, p, z=None, c=None, *, train: bool = False) -> chex.Array:
    del train
    _check(p, z, c)
    x = _add_codes(linear(3, self.hidden, "fc_p")(p), z, c)
    for index in range(_BLOCKS):
      x = ResnetBlock(self.hidden, name=f"block{index}")(x)
    return _logits(_last_activation(self.leaky)(x))


class BatchNormDecoder(nn.Module):
  """The ablation without conditional normalisation: c is added once (M13).

  Attributes:
    hidden: channels.
  """

  hidden: int = 256

  @nn.compact
  def __call__(self, p, z=None, c=None, *, train: bool = False) -> chex.Array:
    _check(p, z, c)
    x = _add_codes(linear(3, self.hidden, "fc_p")(p), z, c)
    for index in range(_BLOCKS):
      block = ConditionalResnetBlock(conditional=False, name=f"block{index}")
      x = block(x, None, train=train)
    return _logits(nn.relu(batch_norm(train=train, name="bn")(x)))


class NoResnetDecoder(nn.Module):
  """The ablation without residual connections (M13).

  Attributes:
    hidden: channels.
  """

  hidden: int = 256

  @nn.compact
  def __call__(self, p, z=None, c=None, *, train: bool = False) -> chex.Array:
    _check(p, z, c)
    x = linear(3, self.hidden, "fc_p")(p)
    if z is not None:
      x += linear(z.shape[-1], self.hidden, "fc_z")(z)[:, None]
    for index in range(_BLOCKS + 1):
      norm = ConditionalBatchNorm(self.hidden, name=f"bn_{index}")
      x = nn.relu(norm(x, c, train=train))
      if index < _BLOCKS:
        x = linear(self.hidden, self.hidden, f"fc_{index}")(x)
    return _logits(x)


DECODERS = {
  "cbatchnorm": CBatchNormDecoder,
  "cbatchnorm2": CBatchNorm2Decoder,
  "simple": SimpleDecoder,
  "batchnorm": BatchNormDecoder,
  "no_resnet": NoResnetDecoder,
}


def _check(p, z, c):
  chex.assert_shape(p, (None, None, 3))
  chex.assert_rank([code for code in (z, c) if code is not None], 2)


def _add_codes(x, z, c):
  for name, code in (("fc_z", z), ("fc_c", c)):
    if code is not None:
      x += linear(code.shape[-1], x.shape[-1], name)(code)[:, None]
  return x


def _last_activation(leaky):
  return functools.partial(leaky_relu, slope=0.2) if leaky else nn.relu


def _logits(x, name="fc_out"):
  return linear(x.shape[-1], 1, name)(x)[..., 0]
