"""Reconstruction error and its mixture with cross-entropy (M7)."""

from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp
import optax


def reconstruction_error(target: chex.Array, features: chex.Array) -> chex.Array:
  """Returns ||I - Î||² / ||I||² over a whole batch, a scalar.

  Args:
    target: I, features of the uncompressed network; no gradient reaches it.
    features: Î of the same shape, those of the compressed network.

  Source: Eq. 9, normalised as Eq. 11 asks without saying how.
  """
  chex.assert_equal_shape([target, features])
  target = jax.lax.stop_gradient(target)
  # A layer whose features are all 0 would otherwise divide 0 by 0.
  energy = jnp.maximum(jnp.sum(jnp.square(target)), jnp.finfo(target.dtype).tiny)
  return jnp.sum(jnp.square(features - target)) / energy


def reconstruction_errors(targets: Mapping, features: Mapping) -> dict:
  """Returns `reconstruction_error` at each place of `features`."""
  return {
    place: reconstruction_error(targets[place], found)
    for place, found in features.items()
  }


def cross_entropy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns the mean cross-entropy of logits [B, K] with labels [B], a scalar."""
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return jnp.mean(losses)
