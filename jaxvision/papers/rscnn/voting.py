"""Several views of a shape, and the mean of what the network says of them (M13)."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxvision.papers.rscnn import augmentation, grouping


def classification_votes(
  predict: Callable[[chex.Array], chex.Array],
  key: chex.PRNGKey,
  points: chex.Array,
  *,
  votes: int = 10,
  count: int = 1024,
  candidates: int = 1200,
  limits: tuple[float, float] = augmentation.SCALES,
) -> chex.Array:
  """Returns [B, K] mean probabilities over several random subsets.

  Every vote takes `count` of the `candidates` farthest points; every one but the first
  is stretched at random along the axes.

  Args:
    predict: points [B, count, 3] to logits [B, K].
    key: random key.
    points: [B, N, 3].
    votes: at least 1.
    count: points a vote.
    candidates: points far from each other that they are taken from; 0 for all.
    limits: of the factors.

  Source: voting_evaluate_cls.py.
  """
  pool = points
  if candidates:
    pool = grouping.take(points, augmentation.farthest_subset(points, candidates))

  def vote(total, number):
    scale_key, subset_key = jax.random.split(jax.random.fold_in(key, number))
    chosen = augmentation.subset_indices(subset_key, pool, count)
    scales = augmentation.random_scales(scale_key, len(points), limits)
    scales = jnp.where(number == 0, 1.0, scales)
    logits = predict(grouping.take(pool, chosen) * scales)
    return total + jax.nn.softmax(logits), None

  shape = jax.eval_shape(predict, points[:, :count])
  total, _ = jax.lax.scan(vote, jnp.zeros(shape.shape), jnp.arange(votes))
  return total / votes


def labelling_votes(
  predict: Callable[[chex.Array, chex.PRNGKey], chex.Array],
  key: chex.PRNGKey,
  points: chex.Array,
  *,
  votes: int = 10,
  limits: tuple[float, float] = augmentation.SEGMENTATION_VOTE_SCALES,
) -> chex.Array:
  """Returns [B, N, K] mean probabilities of the points' parts.

  The first vote is of the cloud as it is, every other one of the original stretched
  anew. (In the authors' script the first is of an empty cloud, and factors pile up.)

  Args:
    predict: (points [B, N, 3], key of the permutations) -> logits [B, N, K].
    key: random key.
    points: [B, N, 3].
    votes: at least 1.
    limits: of the factors.

  Source: voting_evaluate_partseg.py.
  """

  def vote(total, number):
    scale_key, order_key = jax.random.split(jax.random.fold_in(key, number))
    scales = augmentation.random_scales(scale_key, len(points), limits)
    logits = predict(points * jnp.where(number == 0, 1.0, scales), order_key)
    return total + jax.nn.softmax(logits), None

  shape = jax.eval_shape(predict, points, key)
  total, _ = jax.lax.scan(vote, jnp.zeros(shape.shape), jnp.arange(votes))
  return total / votes
