"""Layers of networks on point clouds: what PointNet and PointNet++ are made of."""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.torch_batch_norm import MOMENTUM, TorchBatchNorm
from jaxvision.ops.point_interpolation import interpolate_nearest

# PyTorch's kaiming_normal_ for ReLUs, and what its Linear has by default.
HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
LINEAR = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class PointLinear(nn.Module):
  """`nn.Dense` of [..., C], as one matrix.

  XLA on a CPU copies a transposed batch of matrices in the gradient of what is not.

  Attributes:
    features: width.
    use_bias: whether one is added.
    kernel_init: of the kernel.
  """

  features: int
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = LINEAR

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns [..., features]."""
    kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
    flat = x.reshape(-1, x.shape[-1]) @ kernel
    if self.use_bias:
      flat += self.param("bias", nn.initializers.zeros, (self.features,))
    return flat.reshape(*x.shape[:-1], self.features)


class PointBlock(nn.Module):
  """A linear map of every point's features, batch normalisation, ReLU.

  Attributes:
    features: width.
    use_bias: whether the linear map adds one.
    norm: whether to normalise.
    kernel_init: of the linear map.
  """

  features: int
  use_bias: bool = False
  norm: bool = True
  kernel_init: nn.initializers.Initializer = HE_NORMAL

  @nn.compact
  def __call__(
    self, x: chex.Array, *, train: bool, momentum: chex.Numeric = MOMENTUM
  ) -> chex.Array:
    """Returns [..., features].

    Args:
      x: [..., C].
      train: see `TorchBatchNorm`.
      momentum: see `TorchBatchNorm`.
    """
    x = PointLinear(
      self.features,
      use_bias=self.use_bias or not self.norm,
      kernel_init=self.kernel_init,
      name="linear",
    )(x)
    if self.norm:
      x = TorchBatchNorm(name="norm")(x, train=train, momentum=momentum)
    return nn.relu(x)


class PointMLP(nn.Module):
  """`PointBlock`s of several widths, the same for every point.

  Attributes:
    widths: of the layers.
  """

  widths: Sequence[int]

  @nn.compact
  def __call__(
    self, x: chex.Array, *, train: bool, momentum: chex.Numeric = MOMENTUM
  ) -> chex.Array:
    """Returns [..., widths[-1]] of x [..., C]."""
    for number, width in enumerate(self.widths):
      block = PointBlock(width, name=f"layer{number}")
      x = block(x, train=train, momentum=momentum)
    return x


class FeaturePropagation(nn.Module):
  """Carries features from a coarse set of points to a finer one.

  Attributes:
    widths: of the layers behind the interpolation.

  Source: Qi et al., PointNet++, NIPS 2017, 3.4.
  """

  widths: Sequence[int]

  @nn.compact
  def __call__(
    self,
    fine: chex.Array,
    coarse: chex.Array,
    skipped: chex.Array | None,
    features: chex.Array,
    *,
    train: bool,
    momentum: chex.Numeric = MOMENTUM,
  ) -> chex.Array:
    """Returns [B, N, widths[-1]].

    Args:
      fine: [B, N, 3] points that get features.
      coarse: [B, M, 3] points that have them.
      skipped: [B, N, D] features of the fine points; None for none.
      features: [B, M, C] features of the coarse points.
      train: see `TorchBatchNorm`.
      momentum: see `TorchBatchNorm`.
    """
    x = jax.vmap(interpolate_nearest)(fine, coarse, features)
    if skipped is not None:
      x = jnp.concatenate([x, skipped], axis=-1)
    return PointMLP(self.widths, name="mlp")(x, train=train, momentum=momentum)


class Head(nn.Module):
  """Hidden layers with dropout behind each, and a linear one at the end.

  Attributes:
    hidden: widths of the hidden layers.
    outputs: width of the last one.
    dropout: share of the hidden units that is left out in training.
    norm: whether to normalise.
    hidden_init: of the hidden layers.
    output_init: of the last one.
  """

  hidden: Sequence[int]
  outputs: int
  dropout: float = 0.5
  norm: bool = True
  hidden_init: nn.initializers.Initializer = LINEAR
  output_init: nn.initializers.Initializer = LINEAR

  @nn.compact
  def __call__(
    self, x: chex.Array, *, train: bool, momentum: chex.Numeric = MOMENTUM
  ) -> chex.Array:
    """Returns [..., outputs]; random numbers of "dropout" are needed in training."""
    for number, width in enumerate(self.hidden):
      block = PointBlock(
        width, norm=self.norm, kernel_init=self.hidden_init, name=f"layer{number}"
      )
      x = block(x, train=train, momentum=momentum)
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return PointLinear(self.outputs, kernel_init=self.output_init, name="output")(x)
