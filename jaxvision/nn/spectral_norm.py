"""Spectral normalisation: weights divided by their largest singular value.

The value is estimated by power iteration, one iteration a training pass, whose vectors
are kept in the collection "spectral" and frozen in inference, as PyTorch does it.
"""

from collections.abc import Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.convolution import Initializer
from jaxvision.ops import convolution
from jaxvision.ops.padding import Padding

COLLECTION = "spectral"
EPSILON = 1e-12  # below which the length of a vector is not divided out


def power_iteration(
  matrix: chex.Array, u: chex.Array, epsilon: float = EPSILON
) -> tuple[chex.Array, chex.Array]:
  """Returns u and v after one iteration: v ← Wᵀu, u ← Wv, each of length 1.

  Args:
    matrix: [M, N], Wᵀ: the last axis is that of the outputs.
    u: [N] unit vector.
    epsilon: least length that is divided out.

  Returns:
    u [N] and v [M], without gradient.

  Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks",
    ICLR 2018, Algorithm 1.
  """
  chex.assert_rank([matrix, u], [2, 1])
  chex.assert_axis_dimension(matrix, 1, len(u))
  matrix = jax.lax.stop_gradient(matrix)
  v = _unit(matrix @ jax.lax.stop_gradient(u), epsilon)
  return _unit(v @ matrix, epsilon), v


def normalize(
  layer: nn.Module, kernel: chex.Array, *, train: bool, epsilon: float = EPSILON
) -> chex.Array:
  """Returns a layer's kernel divided by the estimate of its largest singular value.

  To be called once in a compact method of the layer, which then holds the variables
  "u" and "v" in the collection "spectral".

  Args:
    layer: whose kernel it is.
    kernel: [..., outputs]; it is taken as the matrix [prod(...), outputs].
    train: whether to iterate first. At initialisation nothing is iterated.
    epsilon: see `power_iteration`.
  """
  matrix = kernel.reshape(-1, kernel.shape[-1])

  def draw(size):
    return _unit(jax.random.normal(layer.make_rng("params"), (size,)), epsilon)

  u = layer.variable(COLLECTION, "u", draw, matrix.shape[1])
  v = layer.variable(COLLECTION, "v", draw, matrix.shape[0])
  if train and not layer.is_initializing():
    u.value, v.value = power_iteration(matrix, u.value, epsilon)
  return kernel / (v.value @ matrix @ u.value)


class SpectralConv(nn.Module):
  """Convolution, or transposed convolution, with a spectrally normalised kernel.

  Attributes:
    features: number of output channels.
    kernel_size: one to three sizes of the window; their number is that of the axes.
    strides: one int, or one per axis.
    padding: "SAME", "VALID", amounts or pairs; see `jaxvision.ops.padding`.
    padding_mode: of a convolution, see there.
    transposed: whether it is a transposed convolution.
    output_padding: of a transposed convolution.
    use_bias: whether a bias [features] is added.
    spectral: False leaves the kernel as it is, and keeps no vectors.
    kernel_init: initialiser of `kernel` [*kernel_size, C, features].
  """

  features: int
  kernel_size: Sequence[int]
  strides: int | Sequence[int] = 1
  padding: Padding = "SAME"
  padding_mode: str = "zeros"
  transposed: bool = False
  output_padding: int | Sequence[int] = 0
  use_bias: bool = True
  spectral: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    """Returns the convolution of x [B, *spatial, C].

    Args:
      x: [B, *spatial, C].
      train: whether the power iteration goes on.
    """
    chex.assert_rank(x, len(self.kernel_size) + 2)
    shape = (*self.kernel_size, x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    if self.spectral:
      kernel = normalize(self, kernel, train=train)
    x, kernel = nn.dtypes.promote_dtype(x, kernel)
    options: dict[str, Any] = {"strides": self.strides, "padding": self.padding}
    if self.transposed:
      options["output_padding"] = self.output_padding
      y = convolution.conv_transpose(x, kernel, **options)
    else:
      y = convolution.conv(x, kernel, padding_mode=self.padding_mode, **options)
    if not self.use_bias:
      return y
    return y + self.param("bias", nn.initializers.zeros_init(), (self.features,))


def _unit(x: chex.Array, epsilon: float) -> chex.Array:
  return x / jnp.maximum(jnp.linalg.norm(x), epsilon)
