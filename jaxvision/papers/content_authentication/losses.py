"""Losses: telling manipulations apart, and developing faithfully (M1, M3)."""

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvision.ops.clip import clip


def cross_entropy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns the [B] cross-entropy of classes; args: [B, K] logits, [B] int labels."""
  _assert_classes(logits, labels)
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def clipped_cross_entropy(
  logits: chex.Array, labels: chex.Array, *, epsilon: float = 1e-7
) -> chex.Array:
  """Returns the [B] cross-entropy with probabilities kept within [ε, 1 - ε].

  This is Keras' SparseCategoricalCrossentropy, the loss of the authors' TensorFlow 2
  code: hopeless examples, of probability below ε, send no gradient.
  """
  _assert_classes(logits, labels)
  probabilities = clip(jax.nn.softmax(logits), epsilon, 1 - epsilon)
  return optax.softmax_cross_entropy_with_integer_labels(jnp.log(probabilities), labels)


def double_softmax_cross_entropy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns the [B] cross-entropy with probabilities mistaken for logits.

  The loss of the code behind the paper's numbers (M3). It never falls below
  log(1 + (K - 1)/e), 0.905 for 5 classes.
  """
  _assert_classes(logits, labels)
  return optax.softmax_cross_entropy_with_integer_labels(jax.nn.softmax(logits), labels)


CLASSIFICATION = {
  "proper": cross_entropy,
  "clipped": clipped_cross_entropy,
  "double_softmax": double_softmax_cross_entropy,
}


def fidelity(developed: chex.Array, target: chex.Array) -> chex.Array:
  """Returns the mean squared error in 8-bit units, the pipeline's L2 loss.

  Args:
    developed: [B, H, W, 3] developed images, nominally in [0, 1], not clipped.
    target: [B, H, W, 3] in [0, 1].

  Returns:
    Scalar.
  """
  chex.assert_equal_shape([developed, target])
  chex.assert_type([developed, target], float)
  return jnp.mean(jnp.square(255.0 * (developed - target)))


def _assert_classes(logits: chex.Array, labels: chex.Array) -> None:
  chex.assert_rank([logits, labels], [2, 1])
  chex.assert_type([logits, labels], [float, int])
  chex.assert_equal_shape_prefix([logits, labels], 1)
