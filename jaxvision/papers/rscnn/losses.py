"""Losses: cross-entropy, and the cosine of normals (M12)."""

import chex
import jax.numpy as jnp
import optax


def cross_entropy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns [...] cross-entropies of logits [..., K] with labels [...] int."""
  chex.assert_equal_shape_prefix([logits, labels], labels.ndim)
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def unit(vectors: chex.Array) -> chex.Array:
  """Returns vectors [..., 3] of length 1; a zero vector stays 0, without NaN."""
  square = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
  return vectors / jnp.sqrt(jnp.maximum(square, 1e-12))


def cosine_loss(
  predicted: chex.Array, normals: chex.Array, *, oriented: bool = True
) -> chex.Array:
  """Returns [...] 1 - cos of the angles between normals, or 1 - |cos|.

  Args:
    predicted: [..., 3], of any length.
    normals: [..., 3] true unit normals.
    oriented: whether their sign means something.
  """
  chex.assert_equal_shape([predicted, normals])
  cosines = jnp.sum(unit(predicted) * normals, axis=-1)
  return 1 - (cosines if oriented else jnp.abs(cosines))
