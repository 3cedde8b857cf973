"""Dense and convolution layers with an equalised learning rate.

The stored weights are of unit variance and are scaled when used, so that Adam, whose
steps do not depend on the gradient's scale, moves every layer at the same relative
rate. A learning-rate multiplier does the same for one layer: its parameters are stored
1 / multiplier as large.

Source: Karras et al., ICLR 2018, 4.1; CVPR 2019, Appendix C.
"""

import math
from collections.abc import Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.ops import convolution, resampling

SQRT2 = math.sqrt(2)


class EqualizedDense(nn.Module):
  """Maps [..., C] to [..., features].

  Attributes:
    features: width of the result.
    gain: standard deviation of the result for inputs of unit variance.
    lr_multiplier: of weight and bias.
    equalized: whether the weight is scaled when used, and not when initialised.
    use_bias: whether a bias is added.
    dtype: of the computation; None promotes input and parameters.
  """

  features: int
  gain: float = SQRT2
  lr_multiplier: float = 1.0
  equalized: bool = True
  use_bias: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns x [..., C] mapped."""
    kernel = _kernel(self, (x.shape[-1], self.features))
    x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
    return _add_bias(self, x @ kernel)


class EqualizedConv(nn.Module):
  """Convolves [B, H, W, C], surrounded by zeros.

  Attributes:
    features: number of output channels.
    kernel_size: odd sides of the window.
    sampling: "same"; "up" to double the map before; "down" to halve it after.
    flip: whether the window is flipped, as the authors' fused upsampling does.
    gain: standard deviation of the result for inputs of unit variance.
    lr_multiplier: of weight and bias.
    equalized: whether the weight is scaled when used, and not when initialised.
    use_bias: whether a bias is added.
    dtype: of the computation; None promotes input and parameters.
  """

  features: int
  kernel_size: Sequence[int] = (3, 3)
  sampling: str = "same"
  flip: bool = False
  gain: float = SQRT2
  lr_multiplier: float = 1.0
  equalized: bool = True
  use_bias: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the convolution of x [B, H, W, C]."""
    chex.assert_rank(x, 4)
    kernel = _kernel(self, (*self.kernel_size, x.shape[-1], self.features))
    if self.flip:
      kernel = kernel[::-1, ::-1]
    x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
    convolve = {
      "same": convolution.conv,
      "up": resampling.upsample_conv,
      "down": resampling.downsample_conv,
    }[self.sampling]
    return _add_bias(self, convolve(x, kernel))


def _kernel(layer: EqualizedDense | EqualizedConv, shape: tuple[int, ...]):
  """Returns the weight of a layer as it is used."""
  deviation = layer.gain / math.sqrt(math.prod(shape[:-1]))
  stored, scale = deviation, layer.lr_multiplier
  if layer.equalized:
    stored, scale = 1.0, deviation * layer.lr_multiplier

  def init(key, shape):
    return jax.random.normal(key, shape) * (stored / layer.lr_multiplier)

  return layer.param("kernel", init, shape) * scale


def _add_bias(layer: EqualizedDense | EqualizedConv, y: chex.Array) -> chex.Array:
  if not layer.use_bias:
    return y
  bias = layer.param("bias", nn.initializers.zeros_init(), (layer.features,))
  return y + jnp.asarray(bias * layer.lr_multiplier, y.dtype)
