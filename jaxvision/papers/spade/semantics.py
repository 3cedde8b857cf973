"""What the networks are told: labels and borders of instances as channels (M1)."""

import chex
import jax.numpy as jnp

from jaxvision.ops import label_maps


def encode(
  labels: chex.Array,
  instances: chex.Array | None,
  num_classes: int,
  *,
  unknown_class: bool,
) -> chex.Array:
  """Returns one channel a class and, with instances, one of their borders.

  Args:
    labels: [B, H, W] int classes; 255 where unknown.
    instances: [B, H, W] int identifiers, or None.
    num_classes: number of classes.
    unknown_class: whether the unknown is a class more; else it has no channel.

  Returns:
    [B, H, W, num_classes + unknown_class + (1 with instances)] float32, 0 or 1.

  Source: preprocess_input and get_edges of the authors' pix2pix_model.py.
  """
  chex.assert_rank(labels, 3)
  semantics = label_maps.one_hot(labels, num_classes, unknown_class=unknown_class)
  if instances is None:
    return semantics
  chex.assert_equal_shape([labels, instances])
  edges = label_maps.instance_edges(instances)[..., None]
  return jnp.concatenate([semantics, edges.astype(semantics.dtype)], axis=-1)


def to_signed(images: chex.Array) -> chex.Array:
  """Returns images in [0, 1] as the networks see them, in [-1, 1]."""
  return 2 * images - 1


def from_signed(images: chex.Array) -> chex.Array:
  """Returns the networks' images in [-1, 1] as images in [0, 1]."""
  return (images + 1) / 2
