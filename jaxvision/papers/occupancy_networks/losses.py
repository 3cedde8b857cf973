"""Losses, summed over the points of a shape and averaged over shapes (M1, M2)."""

import chex
import jax
import jax.numpy as jnp


def binary_cross_entropy(logits: chex.Array, occupancy: chex.Array) -> chex.Array:
  """Returns [...] cross-entropies, in nats.

  Args:
    logits: [...].
    occupancy: [...] in [0, 1].
  """
  chex.assert_equal_shape([logits, occupancy])
  return jax.nn.softplus(logits) - occupancy * logits


def reconstruction(logits: chex.Array, occupancy: chex.Array) -> chex.Array:
  """Returns [B] sums over the points [B, T]: a mean would drown in the KL term."""
  chex.assert_rank(logits, 2)
  return jnp.sum(binary_cross_entropy(logits, occupancy), axis=-1)


def kl_divergence(mean: chex.Array, log_deviation: chex.Array) -> chex.Array:
  """Returns [B] divergences of N(mean, exp(log_deviation)^2) from N(0, I), in nats.

  Args:
    mean, log_deviation: [B, Z].
  """
  chex.assert_equal_shape([mean, log_deviation])
  terms = 0.5 * (jnp.exp(2 * log_deviation) + jnp.square(mean) - 1) - log_deviation
  return jnp.sum(terms, axis=-1)
