"""What the samples say of each match: certainty, confusion, candidates."""

import chex
import jax
import jax.numpy as jnp


def certainty(samples: chex.Array, edges: chex.Array) -> chex.Array:
  """Returns the mean of X_i X_jᵀ over samples [S, N, n, n], [M, n, n] in [0, 1]."""
  ends = samples[:, edges]
  return jnp.einsum("smab,smcb->mac", ends[:, :, 0], ends[:, :, 1]) / len(samples)


def entropy(certainties: chex.Array) -> chex.Array:
  """Returns the confusion map [M, n]: each row's entropy over log n, in [0, 1]."""
  positive = jnp.maximum(certainties, 1e-12)
  largest = jnp.log(max(certainties.shape[-1], 2))  # one column leaves no doubt
  return -jnp.sum(certainties * jnp.log(positive), axis=-1) / largest


def match_certainty(certainties: chex.Array, maps: chex.Array) -> chex.Array:
  """Returns the certainty [M, n] of each point's match in maps [M, n, n]."""
  chex.assert_equal_shape([certainties, maps])
  return jnp.sum(certainties * maps, axis=-1)


def top_k(certainties: chex.Array, maps: chex.Array, k: int) -> chex.Array:
  """Returns each point's match, then the k - 1 most certain other columns.

  Args:
    certainties: [M, n, n].
    maps: [M, n, n] the MAP estimate's permutations.
    k: 1 to n.

  Returns:
    [M, n, k] int32 columns.
  """
  return _first_k(certainties, maps, k)


def random_k(key: chex.PRNGKey, maps: chex.Array, k: int) -> chex.Array:
  """Returns each point's match, then k - 1 other columns at random, as `top_k`."""
  return _first_k(jax.random.uniform(key, maps.shape), maps, k)


def _first_k(scores, maps, k):
  chex.assert_equal_shape([scores, maps])
  if not 1 <= k <= maps.shape[-1]:
    raise ValueError(f"{maps.shape[-1]} columns have 1 to that many, not {k}")
  return jax.lax.top_k(jnp.where(maps > 0.5, jnp.inf, scores), k)[1]
