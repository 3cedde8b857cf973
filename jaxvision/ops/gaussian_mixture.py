"""Mixtures of Gaussians fitted to points by expectation maximisation, all jittable.

Shapes are static: points that do not count are masked, and the number of components
may be traced, below a static capacity. Sets are not batched: `jax.vmap` does that, or
`jax.lax.map` where each is to stop by itself.
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Mixture(NamedTuple):
  """A mixture of K Gaussians; what lies behind the components in use is 0.

  Attributes:
    weights: [K] that sum to 1.
    means: [K, d].
    covariances: [K, d, d].
    used: [K] bool, the first ones.
    log_likelihood: [] mean over the points, of the last expectation.
    iterations: [] int32.
  """

  weights: chex.Array
  means: chex.Array
  covariances: chex.Array
  used: chex.Array
  log_likelihood: chex.Array
  iterations: chex.Array


def fit(
  key: chex.PRNGKey,
  points: chex.Array,
  valid: chex.Array,
  components: chex.Numeric,
  *,
  capacity: int,
  tolerance: float = 1e-3,
  regularization: float = 1e-6,
  iterations: int = 100,
) -> Mixture:
  """Returns the mixture that expectation maximisation finds from a k-means start.

  Args:
    key: of the start.
    points: [N, d], d small: loops over it are unrolled.
    valid: [N] bool, at least one.
    components: number of Gaussians, 1 to `capacity`; may be traced.
    capacity: K.
    tolerance: change of the mean log-likelihood below which it stops.
    regularization: added to the diagonals of covariances; more where the dtype cannot
      tell so little from their mean.
    iterations: at most so many.

  Source: Dempster, Laird and Rubin, 1977; defaults as scikit-learn's GaussianMixture.
  """
  chex.assert_rank([points, valid], [2, 1])
  chex.assert_type([points, valid], [float, bool])
  chex.assert_scalar_positive(capacity)
  # Differences are of neighbours: only near the origin does float32 keep them.
  center = jnp.sum(jnp.where(valid[:, None], points, 0.0), 0) / jnp.sum(valid)
  points = jnp.where(valid[:, None], points - center, 0.0)
  used = jnp.arange(capacity) < components
  _, labels = k_means(key, points, valid, components, capacity=capacity)
  shares = jax.nn.one_hot(labels, capacity, dtype=points.dtype) * valid[:, None]
  first = _maximize(points, shares, used, regularization)

  def advance(carry):
    parameters, before, _, step = carry
    shares, likelihood = _expect(points, valid, used, *parameters)
    parameters = _maximize(points, shares, used, regularization)
    return parameters, likelihood, jnp.abs(likelihood - before), step + 1

  def goes_on(carry):
    return (carry[2] >= tolerance) & (carry[3] < iterations)

  infinite = jnp.asarray(jnp.inf, points.dtype)
  start = first, -infinite, infinite, jnp.zeros((), jnp.int32)
  (weights, means, covariances), likelihood, _, steps = jax.lax.while_loop(
    goes_on, advance, start
  )
  means = jnp.where(used[:, None], means + center, 0.0)
  covariances = jnp.where(used[:, None, None], covariances, 0.0)
  return Mixture(weights, means, covariances, used, likelihood, steps)


def k_means(
  key: chex.PRNGKey,
  points: chex.Array,
  valid: chex.Array,
  clusters: chex.Numeric,
  *,
  capacity: int,
  iterations: int = 300,
) -> tuple[chex.Array, chex.Array]:
  """Returns the centres of clusters, and to which one each point belongs.

  Args:
    key: of the first centres, drawn by greedy k-means++.
    points: [N, d].
    valid: [N] bool, at least one.
    clusters: how many, 1 to `capacity`; may be traced.
    capacity: K.
    iterations: at most so many; it ends when no centre moves.

  Returns:
    [K, d] centres, infinite behind the last cluster, and [N] int32 labels. A cluster
    that loses all its points keeps its centre.

  Source: Lloyd 1982; Arthur and Vassilvitskii, k-means++, SODA 2007.
  """
  chex.assert_rank([points, valid], [2, 1])
  weights = valid.astype(points.dtype)
  used = jnp.arange(capacity) < clusters
  centers = _seed(key, points, valid, capacity)
  centers = jnp.where(used[:, None], centers, jnp.inf)

  def labels_of(centers):
    return jnp.argmin(_squares(points, centers), axis=1).astype(jnp.int32)

  def advance(carry):
    centers, _, step = carry
    member = jax.nn.one_hot(labels_of(centers), capacity, dtype=points.dtype)
    member = member * weights[:, None]
    counts = jnp.sum(member, axis=0)[:, None]
    sums = jnp.einsum("nk,nd->kd", member, points, precision="highest")
    means = jnp.where(counts > 0, sums / jnp.maximum(counts, 1.0), centers)
    return means, jnp.any(means != centers), step + 1

  start = centers, jnp.asarray(True), jnp.zeros((), jnp.int32)
  centers, _, _ = jax.lax.while_loop(
    lambda carry: carry[1] & (carry[2] < iterations), advance, start
  )
  return centers, labels_of(centers)


def _seed(key, points, valid, capacity):
  """Returns [capacity, d] points far from each other, in the order of their draw."""
  trials = 2 + int(math.log(capacity))
  last = valid.shape[0] - 1 - jnp.argmax(valid[::-1])
  weights = valid.astype(points.dtype)

  def draw(key, mass, shape):
    below = jnp.cumsum(mass)
    level = jax.random.uniform(key, shape, points.dtype) * below[-1]
    return jnp.minimum(jnp.searchsorted(below, level, side="right"), last)

  def add(index, carry):
    centers, nearest = carry
    candidates = points[draw(jax.random.fold_in(key, index), nearest, (trials,))]
    left = jnp.minimum(nearest, _squares(candidates, points) * weights)
    best = jnp.argmin(jnp.sum(left, axis=1))
    return centers.at[index].set(candidates[best]), left[best]

  first = points[draw(jax.random.fold_in(key, 0), weights, ())]
  nearest = _squares(first[None], points)[0] * weights
  centers = jnp.zeros((capacity, points.shape[1]), points.dtype).at[0].set(first)
  return jax.lax.fori_loop(1, capacity, add, (centers, nearest))[0]


def _squares(a, b):
  """Returns [M, N] squared distances of points [M, d] from points [N, d]."""
  return sum(jnp.square(a[:, None, i] - b[None, :, i]) for i in range(a.shape[1]))


def _maximize(points, shares, used, regularization):
  """Returns weights, means and covariances for shares [N, K] of the points."""
  d = points.shape[1]
  precision = jnp.finfo(points.dtype).eps
  counts = jnp.sum(shares, axis=0) + 10 * precision
  means = jnp.einsum("nk,nd->kd", shares, points, precision="highest")
  means = means / counts[:, None]
  away = [points[:, None, i] - means[None, :, i] for i in range(d)]
  # One fused sum for each entry: [N, K, d, d] never exists.
  entries = {
    (i, j): jnp.sum(shares * away[i] * away[j], axis=0) / counts
    for i in range(d)
    for j in range(i + 1)
  }
  mean_variance = sum(entries[i, i] for i in range(d)) / d
  added = jnp.maximum(regularization, 64 * precision * mean_variance)
  rows = [
    jnp.stack([entries[max(i, j), min(i, j)] for j in range(d)], axis=-1)
    for i in range(d)
  ]
  covariances = jnp.stack(rows, axis=-2) + added[:, None, None] * jnp.eye(d)
  weights = jnp.where(used, counts, 0.0)
  return weights / jnp.sum(weights), means, covariances


def _expect(points, valid, used, weights, means, covariances):
  """Returns each component's share [N, K] of the points, and the mean likelihood."""
  d = points.shape[1]
  root = _cholesky(covariances)
  whitened = []
  for i in range(d):
    rest = points[:, None, i] - means[None, :, i]
    for j in range(i):
      rest = rest - root[i][j] * whitened[j]
    whitened.append(rest / root[i][i])
  log_determinant = sum(jnp.log(root[i][i]) for i in range(d))
  log_density = -0.5 * (d * math.log(2 * math.pi) + sum(map(jnp.square, whitened)))
  log_weight = jnp.log(jnp.where(used, weights, 1.0)) - log_determinant
  logits = jnp.where(used, log_density + log_weight, -jnp.inf)
  total = jax.nn.logsumexp(logits, axis=1)
  shares = jnp.where(valid[:, None], jnp.exp(logits - total[:, None]), 0.0)
  return shares, jnp.sum(jnp.where(valid, total, 0.0)) / jnp.sum(valid)


def _cholesky(covariances):
  """Returns the lower factors as nested lists of [K] arrays, row by row."""
  root: list[list] = []
  for i in range(covariances.shape[-1]):
    row = []
    for j in range(i + 1):
      above = row if i == j else root[j]
      rest = covariances[:, i, j] - sum(row[m] * above[m] for m in range(j))
      row.append(jnp.sqrt(rest) if i == j else rest / root[j][j])
    root.append(row)
  return root
