"""Errors of joints and meshes in metres, and of what is seen of them in pixels."""

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import similarity, sparse
from jaxvision.papers.graph_cmr import keypoints

IGNORED_LABEL = 255


def evaluated_joints(vertices: chex.Array, h36m: chex.Array) -> chex.Array:
  """Returns the 14 joints [B, 14, 3] of meshes about Human3.6M's pelvis.

  Args:
    vertices: [B, V, 3].
    h36m: [17, V] regressor.
  """
  joints = jnp.einsum("jv,bvc->bjc", h36m, vertices, precision="highest")
  return joints[:, jnp.array(keypoints.EVALUATED_H36M)] - joints[:, :1]


def joint_error(found: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the mean distance [B] of joints [B, J, 3] (MPJPE)."""
  return jnp.mean(jnp.linalg.norm(found - truth, axis=-1), axis=-1)


def reconstruction_error(found: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the joint error [B] after the best similarity (PA-MPJPE)."""
  return joint_error(similarity.align(found, truth), truth)


def shape_error(vertices: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the mean distance [B] of vertices [B, V, 3], nothing aligned."""
  return joint_error(vertices, truth)


def roughness(
  vertices: chex.Array, truth: chex.Array, neighbours: sparse.SparseMatrix
) -> chex.Array:
  """Returns how far errors of vertices differ from those of their neighbours, [B].

  Args:
    vertices: [B, V, 3].
    truth: [B, V, 3].
    neighbours: [V, V] mean over each vertex and its neighbours.
  """
  error = vertices - truth
  # The mean holds the vertex itself, which scales the Laplacian by d / (d + 1).
  count = jnp.sum(neighbours.rows.weights > 0, axis=-1)
  scale = count / jnp.maximum(count - 1, 1)
  laplacian = (error - sparse.matmul(neighbours, error)) * scale[:, None]
  return jnp.mean(jnp.linalg.norm(laplacian, axis=-1), axis=-1)


class Segmentation:
  """Accuracy and F1 of label maps, all pixels of a test set taken together.

  Args:
    classes: with the background, which is 0.
  """

  def __init__(self, classes: int):
    self._hits, self._false, self._missed = np.zeros((3, classes), np.int64)
    self._correct = self._pixels = 0

  def add(self, found: np.ndarray, truth: np.ndarray) -> None:
    """Counts one picture.

    Args:
      found: [H, W] labels.
      truth: [H, W] labels; 255 is not labelled: it counts as background for the
        accuracy, and nothing is found there for F1.
    """
    chex.assert_equal_shape([found, truth])
    unknown = truth == IGNORED_LABEL
    for label in range(len(self._hits)):
      is_found, is_true = (found == label) & ~unknown, truth == label
      self._hits[label] += np.sum(is_found & is_true)
      self._false[label] += np.sum(is_found & ~is_true)
      self._missed[label] += np.sum(~is_found & is_true)
    self._correct += int(
      np.sum(np.where(unknown, 0, found) == np.where(unknown, 0, truth))
    )
    self._pixels += truth.size

  @property
  def accuracy(self) -> float:
    return self._correct / max(self._pixels, 1)

  @property
  def f1(self) -> float:
    """The mean over the classes that occur."""
    total = 2 * self._hits + self._false + self._missed
    return float(np.mean((2 * self._hits / np.maximum(total, 1))[total > 0]))
