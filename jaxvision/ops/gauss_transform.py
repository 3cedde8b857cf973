"""The exact sum of Gaussians at scattered points, a block of queries at a time."""

import chex
import jax
import jax.numpy as jnp

_QUERIES_AT_ONCE = 256


def gauss_transform(
  queries: chex.Array, features: chex.Array, values: chex.Array
) -> chex.Array:
  """Returns Σ_k exp(-|x - f_k|² / 2) v_k of each query x: O(M N) work, O(N) memory.

  Queries and features that are not finite neither receive nor give.

  Args:
    queries: [M, d], in units of the standard deviation.
    features: [N, d].
    values: [N, C], finite.

  Returns:
    [M, C].

  Source: Greengard and Strain, The fast Gauss transform, 1991, Eq. 1.
  """
  chex.assert_rank([queries, features, values], 2)
  chex.assert_type([queries, features, values], float)
  chex.assert_equal(queries.shape[1], features.shape[1])
  chex.assert_equal_shape_prefix([features, values], 1)
  receives = jnp.all(jnp.isfinite(queries), axis=1)
  gives = jnp.all(jnp.isfinite(features), axis=1)
  queries = jnp.where(receives[:, None], queries, 0)
  features = jnp.where(gives[:, None], features, 0)
  values = jnp.where(gives[:, None], values, 0)

  def sums(block):
    squares = sum(
      jnp.square(block[:, axis, None] - features[:, axis])
      for axis in range(features.shape[1])
    )
    return jnp.matmul(jnp.exp(-0.5 * squares), values, precision="highest")

  found = _in_blocks(sums, queries)
  return jnp.where(receives[:, None], found, 0)


def _in_blocks(function, rows):
  """Returns function(rows), applied to blocks of rows one after the other."""
  count = rows.shape[0]
  size = min(_QUERIES_AT_ONCE, count)
  blocks = -(-count // size)
  padded = jnp.pad(rows, ((0, blocks * size - count), (0, 0)))
  found = jax.lax.map(function, padded.reshape(blocks, size, -1))
  return found.reshape(blocks * size, -1)[:count]
