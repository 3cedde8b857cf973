"""PointNet, without the networks that align its input."""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.point_layers import HE_NORMAL, Head, PointMLP
from jaxvision.nn.torch_batch_norm import MOMENTUM


class PointNetClassifier(nn.Module):
  """Logits from the maximum over all points of what each is mapped to alone.

  Attributes:
    classes: number of classes.
    widths: of the layers for each point.
    hidden: of the layers behind the maximum.
    dropout: share of the hidden units that is left out in training.

  Source: Qi et al., PointNet, CVPR 2017, Fig. 2.
  """

  classes: int = 40
  widths: Sequence[int] = (64, 64, 64, 128, 1024)
  hidden: Sequence[int] = (512, 256)
  dropout: float = 0.3

  @nn.compact
  def __call__(
    self,
    points: chex.Array,
    *,
    train: bool = False,
    momentum: chex.Numeric = MOMENTUM,
  ) -> chex.Array:
    """Returns logits [B, classes] of points [B, N, 3]."""
    chex.assert_shape(points, (None, None, 3))
    modes = {"train": train, "momentum": momentum}
    x = PointMLP(self.widths, name="points")(points, **modes)
    pooled = jnp.max(x, axis=1)
    return Head(self.hidden, self.classes, self.dropout, name="head")(pooled, **modes)


class PointNetLabeller(nn.Module):
  """Something for every point, from itself and the maximum over all points.

  Attributes:
    outputs: width for each point.
    categories: width of the shape's one-hot category; 0 where it is not given.
    local: widths whose last is kept for each point.
    widths: of the further layers, before the maximum.
    hidden: of the layers behind it.
    dropout: share of the hidden units that is left out in training.
  """

  outputs: int = 50
  categories: int = 16
  local: Sequence[int] = (64, 64)
  widths: Sequence[int] = (64, 128, 1024)
  hidden: Sequence[int] = (512, 256, 128)
  dropout: float = 0.3

  @nn.compact
  def __call__(
    self,
    points: chex.Array,
    category: chex.Array | None = None,
    *,
    train: bool = False,
    momentum: chex.Numeric = MOMENTUM,
  ) -> chex.Array:
    """Returns [B, N, outputs] of points [B, N, 3] and category [B, categories]."""
    chex.assert_shape(points, (None, None, 3))
    modes = {"train": train, "momentum": momentum}
    local = PointMLP(self.local, name="local")(points, **modes)
    pooled = jnp.max(PointMLP(self.widths, name="points")(local, **modes), axis=1)
    if category is not None:
      pooled = jnp.concatenate([pooled, category], axis=-1)
    shared = jnp.broadcast_to(pooled[:, None], (*points.shape[:2], pooled.shape[-1]))
    x = jnp.concatenate([local, shared], axis=-1)
    head = Head(
      self.hidden, self.outputs, self.dropout, hidden_init=HE_NORMAL, name="head"
    )
    return head(x, **modes)
