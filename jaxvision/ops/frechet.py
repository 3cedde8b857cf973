"""Distances between two sets of features: Fréchet (FID) and kernel (KID).

Both compare distributions through whatever network made the features; only with the
pool features of the published Inception network may they be called FID and KID.

Everything here is numpy in float64 on the host: the covariance of 2048 features from
some thousand images is singular, and in float32 the rounding of its smallest
eigenvalues outweighs small distances.
"""

import dataclasses

import chex
import numpy as np


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Moments of N features of D channels; those of batches `merge`.

  Attributes:
    count: N ≥ 2.
    mean: [D] float64.
    covariance: [D, D] float64, unbiased (divided by N - 1).
  """

  count: int
  mean: np.ndarray
  covariance: np.ndarray


def statistics(features: chex.Array) -> Statistics:
  """Returns the moments of features [N, D].

  Raises:
    ValueError: fewer than two features, or one that is not finite.
  """
  features = _finite(features)
  mean = features.mean(axis=0)
  centered = features - mean
  covariance = centered.T @ centered / (len(features) - 1)
  return Statistics(len(features), mean, covariance)


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

  Unlike the Fréchet distance it has no bias of few samples; it may be below 0. Means
  over subsets, as published tables take them, estimate the same number.

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


def _finite(features: chex.Array) -> np.ndarray:
  chex.assert_rank(features, 2)
  features = np.asarray(features, np.float64)
  if len(features) < 2:
    raise ValueError(f"features: {len(features)} where at least two are needed")
  if not np.all(np.isfinite(features)):
    raise ValueError("features: some are not finite")
  return features


def _factor(covariance: np.ndarray) -> np.ndarray:
  """Returns A with A Aᵀ = covariance."""
  values, vectors = np.linalg.eigh(covariance)
  return vectors * np.sqrt(np.maximum(values, 0.0))
