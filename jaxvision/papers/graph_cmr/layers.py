"""Layers on the vertices of a mesh, [B, N, C] channels last (M3, M4)."""

from typing import Literal

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.graph_convolution import GraphConvolution, symmetric_uniform
from jaxvision.ops.sparse import SparseMatrix

CHANNELS_OF_GROUP = 8
EPSILON = 1e-5


Initial = Literal["tiny", "fan_in"]


class VertexLinear(nn.Module):
  """The same linear map of each vertex.

  Attributes:
    features: width.
    initial: range it starts in: the authors' "tiny" one, 1 / (inputs x features), or
      1 / sqrt(inputs), "fan_in".
  """

  features: int
  initial: Initial = "tiny"

  @nn.compact
  def __call__(self, x: chex.Array, shared: chex.Array | None = None) -> chex.Array:
    """Returns [B, N, features].

    Args:
      x: [B or 1, N, C].
      shared: [B, D] further inputs that all vertices have alike, behind the others.
        They are multiplied once, which gives what copies of them would.
    """
    inputs = x.shape[-1] + (0 if shared is None else shared.shape[-1])
    is_tiny = self.initial == "tiny"
    bound = 1.0 / (inputs * self.features) if is_tiny else inputs**-0.5
    init = symmetric_uniform(bound)
    kernel = self.param("kernel", init, (inputs, self.features))
    bias = self.param("bias", init, (self.features,))
    own, rest = kernel[: x.shape[-1]], kernel[x.shape[-1] :]
    y = (x.reshape(-1, x.shape[-1]) @ own).reshape(*x.shape[:-1], self.features)
    if shared is not None:
      y = y + (shared @ rest)[:, None]
    return y + bias


class VertexGroupNorm(nn.Module):
  """Normalises groups of 8 channels over all vertices.

  Attributes:
    groups: how many; a group for 8 channels when None.
  """

  groups: int | None = None

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns x [B, N, C] normalised."""
    batch, _, channels = x.shape
    groups = self.groups or channels // CHANNELS_OF_GROUP
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))

    # Over vertices first: a reduction over [N, 8] blocks is slow on a CPU.
    def over_group(per_channel):
      mean = per_channel.reshape(batch, groups, -1).mean(axis=-1, keepdims=True)
      return jnp.repeat(mean[..., 0], channels // groups, axis=-1)[:, None]

    centred = x - over_group(jnp.mean(x, axis=1))
    variance = over_group(jnp.mean(jnp.square(centred), axis=1))
    return centred * (scale / jnp.sqrt(variance + EPSILON)) + bias


class GraphResidualBlock(nn.Module):
  """Normalisation, ReLU and a map, three times, the middle one a graph convolution.

  Attributes:
    features: C of the output, even.
    norm: whether to normalise.
    initial: range of linear layers.

  Source: models/graph_layers.py:GraphResBlock.
  """

  features: int
  norm: bool = True
  initial: Initial = "tiny"

  @nn.compact
  def __call__(self, x: chex.Array, adjacency: SparseMatrix | None) -> chex.Array:
    """Returns [B, N, features]; an adjacency of None leaves neighbours out."""

    def activate(y, name):
      return nn.relu(VertexGroupNorm(name=name)(y) if self.norm else y)

    def linear(width, name):
      return VertexLinear(width, self.initial, name=name)

    half = self.features // 2
    y = linear(half, "linear_1")(activate(x, "norm_0"))
    y = GraphConvolution(half, name="convolution")(activate(y, "norm_1"), adjacency)
    y = linear(self.features, "linear_2")(activate(y, "norm_2"))
    if x.shape[-1] != self.features:
      x = linear(self.features, "skip")(x)
    return x + y
