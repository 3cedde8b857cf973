"""Linear separability: whether a hyperplane in a latent space tells attributes apart.

Source: Section 4.2; the authors' linear_separability.py.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import linear_svm

_fit = jax.jit(linear_svm.fit)


def most_confident(logits: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns which samples a classifier is surest of, and what it says of them.

  Args:
    logits: [N] of one binary attribute: softmax([ℓ, -ℓ]) are its probabilities.
    count: samples kept.

  Returns:
    [count] indices, surest first, and [count] bool: whether the second class (ℓ < 0)
    is the likelier.

  Raises:
    ValueError: if there are fewer samples.
  """
  logits = np.asarray(logits)
  chex.assert_rank(logits, 1)
  if not 0 < count <= len(logits):
    raise ValueError(f"{count} of {len(logits)} samples")
  # The larger probability grows with |ℓ|.
  kept = np.argsort(-np.abs(logits), kind="stable")[:count]
  return kept, logits[kept] < 0


def conditional_entropy(joint: np.ndarray) -> float:
  """Returns the bits that are missing about Y when X is known.

  Args:
    joint: [X, Y] probabilities of sum 1, or counts.

  Returns:
    max(0, H(Y) - I(X; Y)).

  Raises:
    ValueError: if an entry is negative or not finite, or all are 0.
  """
  joint = np.asarray(joint, np.float64)
  chex.assert_rank(joint, 2)
  if not np.isfinite(joint).all() or (joint < 0).any() or not joint.any():
    raise ValueError(f"{joint.tolist()} are no probabilities")
  joint = joint / joint.sum()
  x, y = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
  information = _sum_where_positive(joint, joint / np.where(x * y > 0, x * y, 1.0))
  return float(max(0.0, -_sum_where_positive(y, y) - information))


def attribute_entropy(latents: np.ndarray, labels: np.ndarray) -> float:
  """Returns H(Y|X) of an attribute Y and what a linear SVM predicts of it, in bits.

  Args:
    latents: [N, D] z or w.
    labels: [N] bool.
  """
  latents = jnp.asarray(latents, jnp.float32)
  labels = np.asarray(labels, bool)
  chex.assert_rank([latents, labels], [2, 1])
  plane = _fit(latents, jnp.asarray(labels))
  predicted = np.asarray(linear_svm.decide(latents, *plane))
  joint = np.zeros((2, 2))
  np.add.at(joint, (predicted.astype(int), labels.astype(int)), 1)
  return conditional_entropy(joint)


def score(entropies: np.ndarray) -> float:
  """Returns 2^Σ H over the attributes' entropies [A] in bits; 1 is the best."""
  return float(2.0 ** np.sum(entropies))


def _sum_where_positive(weights: np.ndarray, ratios: np.ndarray) -> float:
  """Returns Σ weights · log2 ratios over the positive weights."""
  positive = weights > 0
  return float(np.sum(weights[positive] * np.log2(ratios[positive])))
