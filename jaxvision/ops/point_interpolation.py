"""Features carried from some points to others by inverse distances."""

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops.nearest import k_nearest

EPSILON = 1e-8


def inverse_distance_weights(
  distances: chex.Array, epsilon: float = EPSILON
) -> chex.Array:
  """Returns [M, k] weights 1 / (distance + ε) that sum to 1 for each query.

  A point at the query itself takes all of the weight; an infinite distance gets none.

  Args:
    distances: [M, k], not negative, not squared.
    epsilon: ε, in the unit of the distances.

  Source: Qi et al., PointNet++, Eq. 2 with p = 1, as RS-CNN's code has it.
  """
  chex.assert_rank(distances, 2)
  chex.assert_type(distances, float)
  inverse = 1.0 / (distances + epsilon)
  total = jnp.sum(inverse, axis=1, keepdims=True)
  return inverse / jnp.where(total > 0, total, 1.0)


def interpolate(
  features: chex.Array, indices: chex.Array, weights: chex.Array
) -> chex.Array:
  """Returns [M, C] weighted sums of the features of each query's neighbours.

  Args:
    features: [N, C].
    indices: [M, k] int.
    weights: [M, k].
  """
  chex.assert_rank([features, indices, weights], 2)
  chex.assert_equal_shape([indices, weights])
  # A product of matrices: XLA fuses gathers into sums, which is ten times slower on a
  # CPU.
  highest = jax.lax.Precision.HIGHEST
  return jnp.einsum("mk,mkc->mc", weights, features[indices], precision=highest)


def interpolate_nearest(
  queries: chex.Array, points: chex.Array, features: chex.Array, k: int = 3
) -> chex.Array:
  """Returns [M, C] features at the queries, from their k nearest points.

  Args:
    queries: [M, d].
    points: [N, d]; where N < k all are taken.
    features: [N, C] at the points.
    k: neighbours, at least 1.
  """
  chex.assert_equal_shape_prefix([points, features], 1)
  indices, distances = k_nearest(queries, points, min(k, points.shape[0]))
  return interpolate(features, indices, inverse_distance_weights(distances))
