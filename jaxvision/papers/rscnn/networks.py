"""The networks: one class for a shape, or something for every point (M8-M12)."""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.point_layers import HE_NORMAL, FeaturePropagation, Head, PointBlock
from jaxvision.nn.torch_batch_norm import MOMENTUM
from jaxvision.papers.rscnn.convolution import Scales, SetAbstraction

# Single scale, two layers: classification of 1,024 points.
CLASSIFICATION = (
  Scales(512, (0.23,), (48,), 128),
  Scales(128, (0.32,), (64,), 512),
)
# Three scales, four layers: segmentation of 2,048 points.
SEGMENTATION = (
  Scales(1024, (0.075, 0.1, 0.125), (16, 32, 48), 64),
  Scales(256, (0.1, 0.15, 0.2), (16, 48, 64), 128),
  Scales(64, (0.2, 0.3, 0.4), (16, 32, 48), 256),
  Scales(16, (0.4, 0.6, 0.8), (16, 24, 32), 512),
)


class GlobalPooling(nn.Module):
  """One feature for a set of points: a linear map of each, and the maximum (M9).

  Attributes:
    features: width.
    norm: whether to normalise.
    coordinates: whether the absolute coordinates are among what is mapped.
  """

  features: int
  norm: bool = True
  coordinates: bool = True

  @nn.compact
  def __call__(
    self,
    points: chex.Array,
    features: chex.Array,
    *,
    train: bool,
    momentum: chex.Numeric = MOMENTUM,
  ) -> chex.Array:
    """Returns [B, features] of points [B, N, 3] with features [B, N, C]."""
    if self.coordinates:
      features = jnp.concatenate([points, features], axis=-1)
    block = PointBlock(self.features, use_bias=True, norm=self.norm, name="block")
    return jnp.max(block(features, train=train, momentum=momentum), axis=1)


class Classifier(nn.Module):
  """Logits of a point cloud's class.

  With `local_frames` nothing depends on how the shape is turned: the absolute
  coordinates are left out of the global pooling too.

  Attributes:
    classes: number of classes.
    layers: the set abstractions.
    global_features: width of the global pooling.
    hidden: widths of the hidden layers behind it.
    dropout: share of them that is left out in training.
    relation: a key of `relations.RELATIONS`.
    aggregation: "max", "average" or "sum".
    norm: whether to normalise.
    local_frames: see above (M14); goes with relation "distance", and needs normals.
    permute: see `SetAbstraction`.

  Source: Fig. 3 (left), and models/rscnn_ssn_cls.py.
  """

  classes: int = 40
  layers: Sequence[Scales] = CLASSIFICATION
  global_features: int = 1024
  hidden: Sequence[int] = (512, 256)
  dropout: float = 0.5
  relation: str = "released"
  aggregation: str = "max"
  norm: bool = True
  local_frames: bool = False
  permute: bool = False

  @nn.compact
  def __call__(
    self,
    points: chex.Array,
    normals: chex.Array | None = None,
    *,
    train: bool = False,
    momentum: chex.Numeric = MOMENTUM,
  ) -> chex.Array:
    """Returns logits [B, classes]; what each layer gives is sown as "features{i}".

    Args:
      points: [B, N, 3] in the unit sphere.
      normals: [B, N, 3], where they are needed.
      train: whether to drop out and to normalise by the batch.
      momentum: see `TorchBatchNorm`.
    """
    chex.assert_shape(points, (None, None, 3))
    features = None
    for number, scales in enumerate(self.layers):
      points, features, normals = SetAbstraction(
        scales,
        number == 0,
        self.relation,
        self.aggregation,
        self.norm,
        self.local_frames,
        self.permute,
        name=f"abstraction{number}",
      )(points, features, normals, train=train, momentum=momentum)
      self.sow("intermediates", f"features{number}", features)
    pooled = GlobalPooling(
      self.global_features, self.norm, not self.local_frames, name="pooling"
    )(points, features, train=train, momentum=momentum)
    self.sow("intermediates", "pooled", pooled)
    head = Head(self.hidden, self.classes, self.dropout, self.norm, name="head")
    return head(pooled, train=train, momentum=momentum)


class PointLabeller(nn.Module):
  """Something for every point: logits of parts, or a normal.

  Attributes:
    outputs: width for each point: 50 parts, or 3 coordinates of a normal.
    categories: width of the shape's one-hot category; 0 where it is not given.
    layers: the set abstractions, at least two.
    global_features: width of the global pooling at the two coarsest levels.
    propagation: widths of the two-layer feature propagation to each level, the points'
      own first.
    hidden: widths of the hidden layers behind.
    dropout: share of them that is left out in training.
    relation: a key of `relations.RELATIONS`.
    aggregation: "max", "average" or "sum".
    permute: whether sampled points are put into random order; see `SetAbstraction`.

  Source: Fig. 3 (right), and models/rscnn_msn_seg.py.
  """

  outputs: int = 50
  categories: int = 16
  layers: Sequence[Scales] = SEGMENTATION
  global_features: int = 128
  propagation: Sequence[int] = (128, 256, 512, 512)
  hidden: Sequence[int] = (128,)
  dropout: float = 0.5
  relation: str = "released"
  aggregation: str = "max"
  permute: bool = True

  @nn.compact
  def __call__(
    self,
    points: chex.Array,
    category: chex.Array | None = None,
    normals: chex.Array | None = None,
    *,
    train: bool = False,
    momentum: chex.Numeric = MOMENTUM,
  ) -> chex.Array:
    """Returns [B, N, outputs].

    Args:
      points: [B, N, 3] in the unit sphere.
      category: [B, categories] one-hot; None where `categories` is 0.
      normals: [B, N, 3], for the relation of normals.
      train: whether to drop out and to normalise by the batch.
      momentum: see `TorchBatchNorm`.
    """
    chex.assert_shape(points, (None, None, 3))
    if (category is None) != (self.categories == 0):
      raise ValueError(f"category is {category}, for {self.categories} categories")
    modes = {"train": train, "momentum": momentum}
    levels: list[tuple[chex.Array, chex.Array | None]] = [(points, None)]
    for number, scales in enumerate(self.layers):
      sampled, features, normals = SetAbstraction(
        scales,
        number == 0,
        self.relation,
        self.aggregation,
        permute=self.permute,
        name=f"abstraction{number}",
      )(*levels[-1], normals, **modes)
      self.sow("intermediates", f"features{number}", features)
      levels.append((sampled, features))
    pooled = []
    for which, level in (("last", levels[-1]), ("before", levels[-2])):
      pool = GlobalPooling(self.global_features, name=f"pooling_{which}")
      pooled.append(pool(*level, **modes))
      self.sow("intermediates", f"pooled_{which}", pooled[-1])

    coarse, features = levels[-1]
    for number in reversed(range(len(self.layers))):
      fine, skipped = levels[number]
      widths = (self.propagation[number],) * 2
      propagate = FeaturePropagation(widths, name=f"propagation{number}")
      features = propagate(fine, coarse, skipped, features, **modes)
      coarse = fine

    if category is not None:
      chex.assert_shape(category, (points.shape[0], self.categories))
      pooled.append(category)
    shape = points.shape[:2]
    shared = [jnp.broadcast_to(p[:, None], (*shape, p.shape[-1])) for p in pooled]
    head = Head(
      self.hidden,
      self.outputs,
      self.dropout,
      hidden_init=HE_NORMAL,
      output_init=HE_NORMAL,
      name="head",
    )
    return head(jnp.concatenate([features, *shared], axis=-1), **modes)
