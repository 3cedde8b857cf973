"""Rotations that bring one set of points onto another, in any dimension."""

import chex
import jax.numpy as jnp


def procrustes(
  source: chex.Array,
  target: chex.Array,
  weights: chex.Array | None = None,
  *,
  covariance_weight_power: float = 1.0,
) -> tuple[chex.Array, chex.Array]:
  """Returns the rotations R and translations t that minimise Σ w |R s + t - r|².

  A reflection is never returned. What the points leave open (too few, on one line, at
  one place, all weights 0) stays as in the identity: the result is finite.

  Args:
    source: [..., N, d] points s.
    target: [..., N, d] their correspondences r.
    weights: [..., N] ≥ 0; all 1 when None.
    covariance_weight_power: power of the weights in the covariance; the centroids
      always have the first. 1 is the minimum; published code uses 2.

  Returns:
    [..., d, d] rotations and [..., d] translations.

  Source: Kabsch, A solution for the best rotation to relate two sets of vectors, 1976.
  """
  chex.assert_type([source, target], float)
  chex.assert_equal_shape([source, target])
  if weights is None:
    weights = jnp.ones_like(source[..., 0])
  chex.assert_shape(weights, source.shape[:-1])

  # Weights may be so small that their sum, or their squares, would vanish.
  largest = jnp.max(weights, axis=-1, keepdims=True, initial=0.0)
  weights = weights / jnp.where(largest > 0, largest, 1.0)
  total = jnp.sum(weights, axis=-1, keepdims=True)
  share = (weights / jnp.where(total > 0, total, 1.0))[..., None]
  source_mean = jnp.sum(share * source, axis=-2, keepdims=True)
  target_mean = jnp.sum(share * target, axis=-2, keepdims=True)
  if covariance_weight_power != 1.0:
    share = weights[..., None] ** covariance_weight_power
  covariance = jnp.einsum(
    "...ni,...nj->...ij",
    share * (target - target_mean),
    source - source_mean,
    precision="highest",
  )
  # Decides the directions without any extent, and is lost in the rounding of others.
  extent = jnp.linalg.norm(covariance, axis=(-2, -1), keepdims=True)
  hint = jnp.finfo(source.dtype).eps * jnp.where(extent > 0, extent, 1.0)
  identity = jnp.eye(source.shape[-1], dtype=source.dtype)
  u, _, v = jnp.linalg.svd(covariance + hint * identity)
  sign = jnp.where(jnp.linalg.det(u) * jnp.linalg.det(v) < 0, -1.0, 1.0)
  last = u[..., -1:] * sign[..., None, None]
  rotation = jnp.matmul(
    jnp.concatenate([u[..., :-1], last], axis=-1), v, precision="highest"
  )
  moved = jnp.matmul(source_mean, jnp.swapaxes(rotation, -1, -2), precision="highest")
  return rotation, (target_mean - moved)[..., 0, :]
