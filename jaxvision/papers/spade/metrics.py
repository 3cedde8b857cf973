"""How well synthesised images show their labels, as a segmenter sees it.

The third measure of the paper, FID, is `jaxvision.ops.frechet` on features of a
published network; on those of the segmenter trained here it is only called a Fréchet
distance (`evaluation.distance`).
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from jaxvision.ops import metrics


class Scores(NamedTuple):
  """Means in [0, 1]; NaN where no pixel has a class.

  Attributes:
    mean_iou: intersection over union, mean over the classes that are labelled or
      predicted somewhere.
    accuracy: share of labelled pixels whose class is predicted.
  """

  mean_iou: chex.Array
  accuracy: chex.Array


def confusion(
  labels: chex.Array, predictions: chex.Array, num_classes: int
) -> chex.Array:
  """Returns how often each class was taken for each, over labelled pixels.

  Args:
    labels: [..., H, W] int; what is not in 0 .. num_classes - 1 is left out.
    predictions: [..., H, W] int in 0 .. num_classes - 1.
    num_classes: number of classes.

  Returns:
    [num_classes, num_classes] int32; rows are true classes. Those of batches add.
  """
  chex.assert_type([labels, predictions], int)
  chex.assert_equal_shape([labels, predictions])
  labels = labels.astype(jnp.int32).reshape(-1)
  is_known = (labels >= 0) & (labels < num_classes)
  counts = metrics.confusion_matrix(
    jnp.where(is_known, labels, num_classes),
    predictions.astype(jnp.int32).reshape(-1),
    num_classes + 1,
  )
  return counts[:num_classes, :num_classes]


def scores(counts: chex.Array) -> Scores:
  """Returns the scores of a confusion matrix [K, K]."""
  chex.assert_rank(counts, 2)
  counts = jnp.asarray(counts, jnp.float32)
  hits = jnp.diagonal(counts)
  union = jnp.sum(counts, axis=0) + jnp.sum(counts, axis=1) - hits
  iou = jnp.where(union > 0, hits / jnp.maximum(union, 1), jnp.nan)
  return Scores(jnp.nanmean(iou), jnp.sum(hits) / jnp.sum(counts))
