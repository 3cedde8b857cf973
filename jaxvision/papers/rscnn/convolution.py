"""The relation-shape convolution and the layer around it (M1, M3-M5, M8)."""

import dataclasses
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.point_layers import HE_NORMAL, PointLinear
from jaxvision.nn.torch_batch_norm import MOMENTUM, TorchBatchNorm
from jaxvision.papers.rscnn import grouping
from jaxvision.papers.rscnn.relations import relation

XYZ_FEATURES = 16  # what coordinates are raised to in the first layer
AGGREGATIONS = {"max": jnp.max, "average": jnp.mean, "sum": jnp.sum}


@dataclasses.dataclass(frozen=True)
class Scales:
  """One set abstraction: how many centroids, and what lies around each.

  Attributes:
    centroids: M.
    radii: of the balls, one a scale.
    counts: neighbours beside the centroid, one a scale.
    features: C_out of each scale.
  """

  centroids: int
  radii: tuple[float, ...]
  counts: tuple[int, ...]
  features: int

  def __post_init__(self):
    if len(self.radii) != len(self.counts) or not self.radii:
      raise ValueError(f"{len(self.radii)} radii, {len(self.counts)} counts")


class RelationShapeConv(nn.Module):
  """Weights features by a function of geometry, pools them, and raises channels.

  The linear maps are shared over scales; every scale has normalisations of its own.

  Attributes:
    features: C_out.
    first: whether this is the first layer, whose features are coordinates.
    relation: a key of `relations.RELATIONS`.
    aggregation: a key of AGGREGATIONS.
    norm: whether to normalise.
  """

  features: int
  first: bool
  relation: str = "released"
  aggregation: str = "max"
  norm: bool = True

  @nn.compact
  def __call__(
    self,
    groups: Sequence[tuple[chex.Array | None, chex.Array]],
    *,
    train: bool,
    momentum: chex.Numeric = MOMENTUM,
  ) -> chex.Array:
    """Returns [B, M, scales · C_out].

    Args:
      groups: (h [B, M, K, R], f [B, M, K, C]) of each scale; h is None without
        relation.
      train: see `TorchBatchNorm`.
      momentum: see `TorchBatchNorm`.

    Source: Eqs. 2-4; the order of product, norm, ReLU and maximum is the code's.
    """
    width = XYZ_FEATURES if self.first else groups[0][1].shape[-1]
    middle = self.features // (2 if self.first else 4)

    def linear(width, name):
      return PointLinear(width, kernel_init=HE_NORMAL, name=name)

    raise_xyz = linear(width, "xyz_raising") if self.first else None
    raise_channels = linear(self.features, "channel_raising")
    if self.relation == "none":
      transform = linear(width, "transform")
    else:
      mapping = linear(middle, "mapping0"), linear(width, "mapping1")

    pooled = []
    for scale, (h, f) in enumerate(groups):

      def activate(x, name, scale=scale):
        if self.norm:
          norm = TorchBatchNorm(name=f"{name}_norm{scale}")
          x = norm(x, train=train, momentum=momentum)
        return nn.relu(x)

      if self.first:
        f = activate(raise_xyz(f), "xyz_raising")
      if self.relation == "none":
        f = transform(f)
      else:
        f = mapping[1](activate(mapping[0](h), "mapping")) * f
      f = AGGREGATIONS[self.aggregation](activate(f, "product"), axis=2)
      pooled.append(activate(raise_channels(f), "channel_raising"))
    return jnp.concatenate(pooled, axis=-1)


class SetAbstraction(nn.Module):
  """Samples centroids and convolves at them.

  Attributes:
    scales: how.
    first: whether this is the first layer.
    relation: see `RelationShapeConv`.
    aggregation: see `RelationShapeConv`.
    norm: see `RelationShapeConv`.
    local_frames: whether coordinates are those of a frame at each centroid.
    permute: whether the centroids are put into random order, which the next ball
      query sees; done where random numbers of "permutation" are given.
  """

  scales: Scales
  first: bool = False
  relation: str = "released"
  aggregation: str = "max"
  norm: bool = True
  local_frames: bool = False
  permute: bool = False

  @nn.compact
  def __call__(
    self,
    points: chex.Array,
    features: chex.Array | None,
    normals: chex.Array | None = None,
    *,
    train: bool,
    momentum: chex.Numeric = MOMENTUM,
  ) -> tuple[chex.Array, chex.Array, chex.Array | None]:
    """Returns centroids [B, M, 3], their features [B, M, scales · C] and normals.

    Args:
      points: [B, N, 3], N at least M.
      features: [B, N, C]; None in the first layer.
      normals: [B, N, 3], for local frames and the relation of normals.
      train: see `TorchBatchNorm`.
      momentum: see `TorchBatchNorm`.
    """
    if normals is None and (self.local_frames or self.relation == "normals"):
      raise ValueError("this network needs normals")
    centroids = grouping.sample_centroids(points, self.scales.centroids)
    own_normals = None if normals is None else grouping.take(normals, centroids)
    groups = []
    for radius, count in zip(self.scales.radii, self.scales.counts, strict=True):
      found = grouping.neighbourhoods(points, centroids, radius, count)
      group = grouping.gather(points, found)
      offsets = group.offsets
      if self.local_frames:
        frames = grouping.local_frames(offsets, own_normals)
        offsets = grouping.to_frames(offsets, frames)
      h = None
      if self.relation != "none":
        grouped = grouping.take(normals, found) if self.relation == "normals" else None
        h = relation(self.relation, group.points, offsets, grouped)
      f = offsets
      if features is not None:
        f = jnp.concatenate([f, grouping.take(features, found)], axis=-1)
      groups.append((h, f))
    raised = RelationShapeConv(
      self.scales.features,
      self.first,
      self.relation,
      self.aggregation,
      self.norm,
      name="conv",
    )(groups, train=train, momentum=momentum)
    sampled = grouping.take(points, centroids)
    if self.permute and self.has_rng("permutation"):
      noise = jax.random.uniform(self.make_rng("permutation"), centroids.shape)
      # The order of noise; a sort takes a second to compile.
      _, order = jax.lax.top_k(noise, noise.shape[1])
      sampled, raised = (grouping.take(a, order) for a in (sampled, raised))
      if own_normals is not None:
        own_normals = grouping.take(own_normals, order)
    return sampled, raised, own_normals
