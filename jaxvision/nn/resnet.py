"""Residual networks: for ImageNet (ResNet-18 to 152) and for CIFAR (ResNet-6n+2).

Modules are called as torchvision calls them, "layer1_0" being its "layer1.0":
conv1, bn1, layer1_0/conv1, layer1_0/downsample_0, ..., fc.
"""

from collections.abc import Sequence
from typing import Literal

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.batch_norm import batch_norm
from jaxvision.nn.convolution import Conv
from jaxvision.ops import pooling

EXPANSION = {"basic": 1, "bottleneck": 4}
BLOCKS = {
  18: ("basic", (2, 2, 2, 2)),
  34: ("basic", (3, 4, 6, 3)),
  50: ("bottleneck", (3, 4, 6, 3)),
  101: ("bottleneck", (3, 4, 23, 3)),
  152: ("bottleneck", (3, 8, 36, 3)),
}


class Block(nn.Module):
  """A residual block: 3 x 3, 3 x 3 ("basic") or 1 x 1, 3 x 3, 1 x 1 ("bottleneck").

  Attributes:
    features: channels inside; the output has `EXPANSION[kind]` times as many.
    kind: "basic" or "bottleneck".
    stride: of the block.
    dilation: of its 3 x 3 convolutions.
    shortcut: "projection", a strided 1 x 1 convolution where the shape changes, or
      "pad" (option A of the paper): strided subsampling and channels of zeros.
    stride_at: which convolution of a bottleneck is strided: "conv2" as torchvision
      does, or "conv1" as the paper does.
    norm: whether convolutions are normalised; else they have biases.
    final_activation: whether ReLU ends the block.
  """

  features: int
  kind: Literal["basic", "bottleneck"] = "basic"
  stride: int = 1
  dilation: int = 1
  shortcut: Literal["projection", "pad"] = "projection"
  stride_at: Literal["conv1", "conv2"] = "conv2"
  norm: bool = True
  final_activation: bool = True

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    def conv(y, number, features, size, stride=1, dilation=1):
      y = _conv(features, size, stride, dilation, self.norm, f"conv{number}")(y)
      return batch_norm(train=train, name=f"bn{number}")(y) if self.norm else y

    outputs = self.features * EXPANSION[self.kind]
    if self.kind == "basic":
      y = nn.relu(conv(x, 1, self.features, 3, self.stride, self.dilation))
      y = conv(y, 2, outputs, 3, dilation=self.dilation)
    else:
      early = self.stride if self.stride_at == "conv1" else 1
      y = nn.relu(conv(x, 1, self.features, 1, early))
      y = nn.relu(conv(y, 2, self.features, 3, self.stride // early, self.dilation))
      y = conv(y, 3, outputs, 1)

    if self.stride == 1 and x.shape[-1] == outputs:
      skip = x
    elif self.shortcut == "pad":
      skip = x[:, :: self.stride, :: self.stride]
      more = outputs - x.shape[-1]
      widths = ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2))
      skip = jnp.pad(skip, widths)
    else:
      skip = _conv(outputs, 1, self.stride, 1, self.norm, "downsample_0")(x)
      if self.norm:
        skip = batch_norm(train=train, name="downsample_1")(skip)
    y = y + skip
    return nn.relu(y) if self.final_activation else y


class ResNet(nn.Module):
  """Maps images [B, H, W, C] to logits [B, num_classes], or to features.

  Attributes:
    num_classes: number of logits; 0 for the features alone: a tuple of the last map of
      each stage.
    kind: of the blocks, "basic" or "bottleneck".
    blocks: number of blocks of each stage.
    widths: channels inside the blocks of each stage.
    stem: "imagenet" (7 x 7 of stride 2, max-pooling of stride 2) or "cifar" (3 x 3).
    strides: of each stage's first block; 1, 2, 2, ... when None.
    output_stride: largest stride of the features to the input, 2^n; the stages that
      would exceed it dilate instead. None never dilates.
    shortcut, stride_at, norm: see `Block`.

  Source: He, Zhang, Ren, Sun, CVPR 2016.
  """

  num_classes: int = 1000
  kind: Literal["basic", "bottleneck"] = "basic"
  blocks: Sequence[int] = (2, 2, 2, 2)
  widths: Sequence[int] = (64, 128, 256, 512)
  stem: Literal["imagenet", "cifar"] = "imagenet"
  strides: Sequence[int] | None = None
  output_stride: int | None = None
  shortcut: Literal["projection", "pad"] = "projection"
  stride_at: Literal["conv1", "conv2"] = "conv2"
  norm: bool = True

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False):
    """Returns logits, or the stages' features where there are no classes."""
    chex.assert_rank(x, 4)
    is_small = self.stem == "cifar"
    width = self.widths[0]
    size, stride = (3, 1) if is_small else (7, 2)
    x = _conv(width, size, stride, 1, self.norm, "conv1")(x)
    if self.norm:
      x = batch_norm(train=train, name="bn1")(x)
    x = nn.relu(x)
    if not is_small:
      x = pooling.max_pool(x, 3, strides=2, padding=1)

    features = []
    reached, dilation = 1 if is_small else 4, 1
    strides = self.strides or (1, *[2] * (len(self.blocks) - 1))
    for stage, (count, width) in enumerate(
      zip(self.blocks, self.widths, strict=True), start=1
    ):
      stride, first_dilation = strides[stage - 1], dilation
      if self.output_stride is not None and reached * stride > self.output_stride:
        dilation, stride = dilation * stride, 1
      reached *= stride
      for index in range(count):
        x = Block(
          width,
          self.kind,
          stride=stride if index == 0 else 1,
          dilation=first_dilation if index == 0 else dilation,
          shortcut=self.shortcut,
          stride_at=self.stride_at,
          norm=self.norm,
          name=f"layer{stage}_{index}",
        )(x, train=train)
      features.append(x)
    if not self.num_classes:
      return tuple(features)
    x = jnp.mean(x, axis=(1, 2))
    return nn.Dense(self.num_classes, name="fc")(x)


def resnet(depth: int, num_classes: int = 1000, **options) -> ResNet:
  """Returns ResNet-18, 34, 50, 101 or 152 with the ImageNet stem unless told.

  Args:
    depth: a key of `BLOCKS`.
    num_classes: see `ResNet`.
    options: further attributes of `ResNet`.
  """
  if depth not in BLOCKS:
    raise ValueError(f"depth {depth} is not one of {', '.join(map(str, BLOCKS))}")
  kind, blocks = BLOCKS[depth]
  return ResNet(num_classes, kind, blocks, **options)


def cifar_resnet(depth: int, num_classes: int = 10, **options) -> ResNet:
  """Returns ResNet-20, 32, 44, 56, 110, ...: three stages of 16, 32, 64 channels.

  Args:
    depth: 6 n + 2.
    num_classes: see `ResNet`.
    options: further attributes of `ResNet`; the shortcuts are option A unless told.
  """
  count, rest = divmod(depth - 2, 6)
  if rest or count < 1:
    raise ValueError(f"depth {depth} is not 6 n + 2")
  options = {"widths": (16, 32, 64), "stem": "cifar", "shortcut": "pad"} | options
  return ResNet(num_classes, "basic", (count,) * 3, **options)


def _conv(features, size, stride, dilation, norm, name):
  return Conv(
    features,
    (size, size),
    strides=stride,
    padding=dilation * (size // 2),
    dilation=dilation,
    use_bias=not norm,
    kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    name=name,
  )
