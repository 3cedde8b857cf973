"""Accuracy, IoU of parts, error of normals."""

from collections.abc import Mapping, Sequence

import chex
import jax.numpy as jnp
import numpy as np


def accuracy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns the share of rows of logits [B, K] whose largest is at labels [B]."""
  chex.assert_rank([logits, labels], [2, 1])
  of_label = jnp.take_along_axis(logits, labels[:, None], axis=1)
  others = jnp.arange(logits.shape[1]) != labels[:, None]
  # NaN beats nothing, and is beaten: it is never right.
  return jnp.mean(jnp.all((logits < of_label) | ~others, axis=1))


def predicted_parts(logits: np.ndarray, parts: Sequence[int]) -> np.ndarray:
  """Returns the most likely part of each point among those of its category.

  Args:
    logits: [N, K].
    parts: numbers of the category's parts.
  """
  own = np.asarray(parts)
  return own[np.argmax(np.asarray(logits)[:, own], axis=1)]


def shape_iou(predicted: np.ndarray, truth: np.ndarray, parts: Sequence[int]) -> float:
  """Returns the mean IoU over the parts of a shape's category.

  A part that neither has counts 1.

  Args:
    predicted: [N] parts.
    truth: [N] parts.
    parts: numbers of the category's parts.
  """
  chex.assert_equal_shape([predicted, truth])
  overlaps = []
  for part in parts:
    ours, theirs = predicted == part, truth == part
    union = np.sum(ours | theirs)
    overlaps.append(np.sum(ours & theirs) / union if union else 1.0)
  return float(np.mean(overlaps))


def mean_ious(
  ious: Mapping[str, Sequence[float]],
) -> tuple[float, float]:
  """Returns instance mIoU and class mIoU of shapes' IoUs by category.

  Args:
    ious: of every shape, by category; a category without shapes is left out.
  """
  present = [np.asarray(shapes) for shapes in ious.values() if len(shapes)]
  if not present:
    raise ValueError("there are no shapes")
  instance = float(np.mean(np.concatenate(present)))
  return instance, float(np.mean([np.mean(shapes) for shapes in present]))
