"""Distances between two sets of features: Fréchet (FID) and kernel (KID).

Both compare distributions through whatever network made the features; only with the
pool features of the published Inception network may they be called FID and KID.

All sums are numpy in float64 on the host: the covariance of 2048 features from
some thousand images is singular, and in float32 the rounding of its smallest
eigenvalues outweighs small distances.
"""

import dataclasses
from collections.abc import Iterable

import chex
import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Moments of N features of D channels; those of batches `merge`.

  Attributes:
    count: N.
    mean: [D] float64.
    covariance: [D, D] float64, unbiased (divided by N - 1); zeros of a single feature.
  """

  count: int
  mean: np.ndarray
  covariance: np.ndarray


def statistics(features: chex.Array) -> Statistics:
  """Returns the moments of features [N, D].

  Raises:
    ValueError: fewer than two features, or one that is not finite.
  """
  return _moments(_finite(features))


def statistics_of_batches(batches: Iterable[chex.Array]) -> Statistics:
  """Returns the moments of all features of batches, only one of which is held at once.

  Args:
    batches: of features [N, D], N ≥ 1 and its own for each.

  Raises:
    ValueError: fewer than two features in all, or one that is not finite.
  """
  whole = None
  for features in batches:
    part = _moments(_finite(features, at_least=1))
    whole = part if whole is None else merge(whole, part)
  count = 0 if whole is None else whole.count
  if count < 2:
    raise ValueError(f"features: {count} where at least two are needed")
  return whole


def merge(a: Statistics, b: Statistics) -> Statistics:
  """Returns the moments of both sets of features together."""
  chex.assert_equal_shape([a.covariance, b.covariance])
  count = a.count + b.count
  apart = b.mean - a.mean
  scatter = (a.count - 1) * a.covariance + (b.count - 1) * b.covariance
  scatter = scatter + np.outer(apart, apart) * (a.count * b.count / count)
  mean = a.mean + apart * (b.count / count)
  return Statistics(count, mean, scatter / (count - 1))


def frechet_distance(a: Statistics, b: Statistics) -> float:
  """Returns the squared 2-Wasserstein distance of the Gaussians with these moments.

  It is |μ_a - μ_b|² + tr(Σ_a) + tr(Σ_b) - 2 tr((Σ_a Σ_b)^½). With Σ_a = A Aᵀ and
  Σ_b = B Bᵀ the last trace is the sum of the singular values of Aᵀ B, which needs no
  square root of a matrix that is not symmetric, and no offset where Σ is singular.

  Args:
    a: moments of the first features.
    b: moments of the others, as many channels.

  Returns:
    The distance, ≥ 0, in squared units of the features.

  Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a
    Local Nash Equilibrium", NIPS 2017, Eq. 6.
  """
  chex.assert_equal_shape([a.covariance, b.covariance])
  shared = np.linalg.svd(_factor(a.covariance).T @ _factor(b.covariance), False, False)
  squares = np.sum(np.square(a.mean - b.mean))
  traces = np.trace(a.covariance) + np.trace(b.covariance)
  return float(max(squares + traces - 2 * np.sum(shared), 0.0))


def kernel_distance(a: chex.Array, b: chex.Array, degree: int = 3) -> float:
  """Returns the unbiased squared maximum mean discrepancy under (xᵀy / D + 1)^degree.

  Unlike the Fréchet distance it has no bias of few samples; it may be below 0.

  Args:
    a: [N, D] features, N ≥ 2.
    b: [M, D] features, M ≥ 2.
    degree: of the polynomial.

  Raises:
    ValueError: fewer than two features, or one that is not finite.

  Source: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, Eq. 3 and 4.
  """
  a, b = _finite(a), _finite(b)
  chex.assert_equal(a.shape[1], b.shape[1])

  def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1.0) ** degree

  def mean_of_pairs(x):
    values = kernel(x, x)
    return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))

  return float(mean_of_pairs(a) + mean_of_pairs(b) - 2 * kernel(a, b).mean())


def kernel_distance_of_subsets(
  a: chex.Array,
  b: chex.Array,
  key: chex.PRNGKey,
  *,
  subsets: int = 100,
  size: int = 1000,
  degree: int = 3,
) -> tuple[float, float]:
  """Returns mean and deviation of the kernel distance over random subsets.

  This is KID as published tables give it: the cost does not grow with the sets, and
  the deviation says how far the mean can be trusted.

  Args:
    a: [N, D] features.
    b: [M, D] features.
    key: of the subsets, each drawn without replacement.
    subsets: how many pairs of them.
    size: features in each, ≥ 2; of the smaller set all where it has fewer.
    degree: see `kernel_distance`.

  Raises:
    ValueError: fewer than two features, or one that is not finite; no subsets.

  Source: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, Section 4.
  """
  a, b = _finite(a), _finite(b)
  if subsets < 1:
    raise ValueError(f"subsets: {subsets} where at least one is needed")
  size = min(size, len(a), len(b))

  def choose(key, count):
    return np.asarray(jax.random.permutation(key, count)[:size])

  found = []
  for number in range(subsets):
    keys = jax.random.split(jax.random.fold_in(key, number))
    chosen, others = a[choose(keys[0], len(a))], b[choose(keys[1], len(b))]
    found.append(kernel_distance(chosen, others, degree))
  return float(np.mean(found)), float(np.std(found))


def _moments(features: np.ndarray) -> Statistics:
  mean = features.mean(axis=0)
  centered = features - mean
  covariance = centered.T @ centered / max(len(features) - 1, 1)
  return Statistics(len(features), mean, covariance)


def _finite(features: chex.Array, at_least: int = 2) -> np.ndarray:
  chex.assert_rank(features, 2)
  features = np.asarray(features, np.float64)
  if len(features) < at_least:
    need = "one is" if at_least == 1 else "two are"
    raise ValueError(f"features: {len(features)} where at least {need} needed")
  if not np.all(np.isfinite(features)):
    raise ValueError("features: some are not finite")
  return features


def _factor(covariance: np.ndarray) -> np.ndarray:
  """Returns A with A Aᵀ = covariance."""
  values, vectors = np.linalg.eigh(covariance)
  return vectors * np.sqrt(np.maximum(values, 0.0))
