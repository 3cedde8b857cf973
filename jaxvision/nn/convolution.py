"""Convolution layers on `jaxvision.ops.convolution`."""

from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax.numpy as jnp
from flax import linen as nn

from jaxvision.ops import convolution
from jaxvision.ops.padding import Padding

Initializer = Callable[..., chex.Array]


class Conv(nn.Module):
  """Convolution of [B, *spatial, C] to [B, *outputs, features], with bias.

  Attributes:
    features: number of output channels.
    kernel_size: one to three sizes of the window; their number is that of the axes.
    strides: one int, or one per axis.
    padding: "SAME", "VALID", amounts or pairs; see `jaxvision.ops.padding`.
    padding_mode: "zeros", "reflect", "symmetric", "replicate" or "circular".
    dilation: one int, or one per axis.
    groups: number of groups of channels.
    use_bias: whether a bias [features] is added.
    kernel_init: initializer of `kernel` [*kernel_size, C / groups, features].
    bias_init: initializer of `bias`.
    dtype: of the computation; None promotes input and parameters.
    param_dtype: of the parameters.
  """

  features: int
  kernel_size: Sequence[int]
  strides: int | Sequence[int] = 1
  padding: Padding = "SAME"
  padding_mode: str = "zeros"
  dilation: int | Sequence[int] = 1
  groups: int = 1
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal()
  bias_init: Initializer = nn.initializers.zeros_init()
  dtype: Any = None
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the convolution of x [B, *spatial, C]."""
    x, kernel, bias = _parameters(self, x)
    y = convolution.conv(
      x,
      kernel,
      strides=self.strides,
      padding=self.padding,
      padding_mode=self.padding_mode,
      dilation=self.dilation,
      groups=self.groups,
    )
    return y if bias is None else y + bias


class ConvTranspose(nn.Module):
  """Transposed convolution of [B, *spatial, C] to [B, *outputs, features], with bias.

  Attributes:
    features: number of output channels.
    kernel_size: one to three sizes of the window; their number is that of the axes.
    strides: one int, or one per axis.
    padding: "SAME", "VALID", amounts or pairs cropped from the full output.
    output_padding: elements added at the high end, one int or one per axis.
    dilation: one int, or one per axis.
    groups: number of groups of channels.
    use_bias: whether a bias [features] is added.
    kernel_init: initializer of `kernel` [*kernel_size, C / groups, features].
    bias_init: initializer of `bias`.
    dtype: of the computation; None promotes input and parameters.
    param_dtype: of the parameters.
  """

  features: int
  kernel_size: Sequence[int]
  strides: int | Sequence[int] = 1
  padding: Padding = "SAME"
  output_padding: int | Sequence[int] = 0
  dilation: int | Sequence[int] = 1
  groups: int = 1
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal()
  bias_init: Initializer = nn.initializers.zeros_init()
  dtype: Any = None
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the transposed convolution of x [B, *spatial, C]."""
    x, kernel, bias = _parameters(self, x)
    y = convolution.conv_transpose(
      x,
      kernel,
      strides=self.strides,
      padding=self.padding,
      output_padding=self.output_padding,
      dilation=self.dilation,
      groups=self.groups,
    )
    return y if bias is None else y + bias


def _parameters(layer: Conv | ConvTranspose, x: chex.Array) -> list[Any]:
  """Returns the input, kernel and bias (or None) of a layer, in one dtype."""
  chex.assert_rank(x, len(layer.kernel_size) + 2)
  if x.shape[-1] % layer.groups:
    raise ValueError(f"{x.shape[-1]} channels cannot form {layer.groups} equal groups.")
  shape = (*layer.kernel_size, x.shape[-1] // layer.groups, layer.features)
  kernel = layer.param("kernel", layer.kernel_init, shape, layer.param_dtype)
  bias = None
  if layer.use_bias:
    bias = layer.param("bias", layer.bias_init, (layer.features,), layer.param_dtype)
  return nn.dtypes.promote_dtype(x, kernel, bias, dtype=layer.dtype)
