"""The convolution blocks of all parts, in two and three dimensions."""

from collections.abc import Callable, Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.batch_norm import batch_norm
from jaxvision.nn.convolution import Conv, ConvTranspose

KERNEL_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# PyTorch's default, Kaiming's uniform with a = sqrt(5), which the authors keep.
TRANSPOSED_INIT = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")


class BasicConv(nn.Module):
  """Convolution without bias, batch normalisation, ReLU.

  Attributes:
    features: output channels.
    kernel: sides of the window, two or three.
    stride: of all axes.
    padding: of all axes, both ends.
    transposed: whether it is a transposed convolution.
    relu: whether there is a ReLU.
    kernel_init: of the convolution; None is the authors'.
  """

  features: int
  kernel: Sequence[int] = (3, 3)
  stride: int = 1
  padding: int = 1
  transposed: bool = False
  relu: bool = True
  kernel_init: Callable[..., chex.Array] | None = None

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool) -> chex.Array:
    """Returns [N, *outputs, features] of [N, *spatial, C]."""
    layer = ConvTranspose if self.transposed else Conv
    authors = TRANSPOSED_INIT if self.transposed else KERNEL_INIT
    x = layer(
      self.features,
      tuple(self.kernel),
      strides=self.stride,
      padding=self.padding,
      use_bias=False,
      kernel_init=self.kernel_init or authors,
      name="conv",
    )(x)
    x = batch_norm(train=train, name="bn")(x)
    return nn.relu(x) if self.relu else x


class Conv2x(nn.Module):
  """Halves or doubles the resolution, joins a skip connection, convolves again.

  Attributes:
    features: output channels, also of the skip connection.
    axes: 2 or 3 spatial axes.
    up: whether the resolution doubles; a depth D becomes 2 D - 1 then.
    relu: whether the last convolution has a ReLU.
  """

  features: int
  axes: int = 2
  up: bool = False
  relu: bool = True

  @nn.compact
  def __call__(self, x: chex.Array, skip: chex.Array, *, train: bool) -> chex.Array:
    kernel = (3,) * (self.axes - 2) + ((4, 4) if self.up else (3, 3))
    x = BasicConv(self.features, kernel, 2, 1, transposed=self.up, name="conv1")(
      x, train=train
    )
    chex.assert_equal_shape([x, skip])
    x = jnp.concatenate([x, skip], axis=-1)
    return BasicConv(self.features, (3,) * self.axes, relu=self.relu, name="conv2")(
      x, train=train
    )


def plain_conv(features: int, axes: int = 2, *, name: str, init=KERNEL_INIT) -> Conv:
  """Returns a convolution with a window of 3, without bias or normalisation."""
  return Conv(
    features,
    (3,) * axes,
    padding=1,
    use_bias=False,
    kernel_init=init,
    name=name,
  )
