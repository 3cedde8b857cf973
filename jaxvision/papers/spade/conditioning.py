"""How labels enter a layer: SPADE (M2), concatenation, or not at all (M10)."""

import functools
from typing import Literal

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.convolution import Conv
from jaxvision.nn.torch_batch_norm import TorchBatchNorm
from jaxvision.ops.label_maps import resize_nearest
from jaxvision.ops.normalization import instance_norm

Norm = Literal["sync_batch", "batch", "instance"]
Kind = Literal["spade", "concat", "none"]

NORMS: tuple[Norm, ...] = ("sync_batch", "batch", "instance")
KINDS: tuple[Kind, ...] = ("spade", "concat", "none")
HIDDEN = 128  # channels between the labels and the scale, whatever the layer's width
EPSILON = 1e-5  # added to variances

# Xavier-normal with gain 0.02, for every convolution and linear map.
XAVIER = nn.initializers.variance_scaling(0.02**2, "fan_avg", "normal")


class ParameterFreeNorm(nn.Module):
  """Normalises without scale and shift.

  Attributes:
    norm: "sync_batch" (statistics of the batch over all devices), "batch" (over each
      device's part) or "instance".
  """

  norm: Norm = "sync_batch"

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    """Returns x [B, H, W, C] normalised; a batch's statistics in training only."""
    if self.norm == "instance":
      return instance_norm(x, epsilon=EPSILON)
    if self.norm not in NORMS:
      raise ValueError(f"norm is {self.norm!r}, none of {NORMS}")
    synchronized = self.norm == "sync_batch"
    return TorchBatchNorm(
      EPSILON, affine=False, synchronized=synchronized, name="statistics"
    )(x, train=train)


class SpatiallyAdaptiveNorm(nn.Module):
  """SPADE: normalises, then scales and shifts each pixel as the labels say.

  Attributes:
    norm: see `ParameterFreeNorm`.
    kernel_size: side of all three convolutions, odd.
    hidden: channels between the labels and the scale.

  Source: Section 3.1, Eq. 1; models/networks/normalization.py.
  """

  norm: Norm = "sync_batch"
  kernel_size: int = 3
  hidden: int = HIDDEN

  @nn.compact
  def __call__(
    self, x: chex.Array, semantics: chex.Array, *, train: bool = False
  ) -> chex.Array:
    """Returns n(x) (1 + γ) + β.

    Args:
      x: [B, h, w, C].
      semantics: [B, H, W, S] in full resolution.
      train: see `ParameterFreeNorm`.

    Returns:
      [B, h, w, C].
    """
    chex.assert_rank([x, semantics], 4)
    conv = functools.partial(
      Conv,
      kernel_size=(self.kernel_size,) * 2,
      padding=self.kernel_size // 2,
      kernel_init=XAVIER,
    )
    normalized = ParameterFreeNorm(self.norm, name="norm")(x, train=train)
    semantics = resize_nearest(semantics, x.shape[1:3])
    hidden = nn.relu(conv(self.hidden, name="shared")(semantics))
    gamma = conv(x.shape[-1], name="gamma")(hidden)
    beta = conv(x.shape[-1], name="beta")(hidden)
    return normalized * (1 + gamma) + beta


class ConditionalNorm(nn.Module):
  """What stands before a convolution: normalisation, labels, activation.

  Attributes:
    kind: "spade"; "concat", which normalises and appends the labels, resized, as
      channels; or "none", which only normalises.
    norm: see `ParameterFreeNorm`.
    kernel_size, hidden: of SPADE.
  """

  kind: Kind = "spade"
  norm: Norm = "sync_batch"
  kernel_size: int = 3
  hidden: int = HIDDEN

  @nn.compact
  def __call__(
    self,
    x: chex.Array,
    semantics: chex.Array,
    *,
    train: bool = False,
    activation=lambda x: x,
  ) -> chex.Array:
    """Returns [B, h, w, C], or with "concat" [B, h, w, C + S].

    Args:
      x: [B, h, w, C].
      semantics: [B, H, W, S] in full resolution.
      train: see `ParameterFreeNorm`.
      activation: applied to what is normalised, not to appended labels.
    """
    if self.kind == "spade":
      spade = SpatiallyAdaptiveNorm(
        self.norm, self.kernel_size, self.hidden, name="spade"
      )
      return activation(spade(x, semantics, train=train))
    if self.kind not in KINDS:
      raise ValueError(f"conditioning is {self.kind!r}, none of {KINDS}")
    x = activation(ParameterFreeNorm(self.norm, name="norm")(x, train=train))
    if self.kind == "none":
      return x
    semantics = resize_nearest(semantics, x.shape[1:3]).astype(x.dtype)
    return jnp.concatenate([x, semantics], axis=-1)
