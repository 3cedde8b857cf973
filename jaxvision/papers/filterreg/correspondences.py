"""The E-step as filtering: where each model point should go, and how surely.

The observation induces the mixture p(x) ∝ Σ_k N(x; y_k, Σ), so that the sums over all
observed points are Gaussian filters of [1, y, |y|², n] evaluated at the model points.

Source: Section 3 and 4, Eq. 6 to 14.
"""

import dataclasses
from typing import Literal, NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import gauss_transform, permutohedral

# The rule of a re-implementation: blur only what has few lattice points per point.
_BLUR_BELOW = 0.015


@dataclasses.dataclass(frozen=True)
class Mixture:
  """What the E-step assumes.

  Attributes:
    kernel: how Gaussians are summed: "lattice" (without blur, as the authors do),
      "lattice_blur", "auto" (blur where the lattice has few vertices) or "exact".
    outliers: what c is in the weight m0 / (m0 + c) of a point: `outlier_constant`
      ("constant", the authors' code), or with the share w of outliers w / (1 - w) · N/M
      ("ratio", for kernels taken as normalised), or that times (2πσ²)^(3/2)
      ("normalised").
    outlier_constant: c, in the lattice's own scale, which is 0.46 of the exact sum.
    outlier_ratio: w in [0, 1).
    smallest_mass: m0 up to which "constant" gives weight 0.
    aspect: of the covariance, σ² diag(aspect²).
  """

  kernel: Literal["lattice", "lattice_blur", "auto", "exact"] = "lattice"
  outliers: Literal["constant", "ratio", "normalised"] = "constant"
  outlier_constant: float = 0.2
  outlier_ratio: float = 0.2
  smallest_mass: float = 0.01
  aspect: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Correspondences(NamedTuple):
  """What M model points are attracted by; all 0 where there is nothing near.

  Attributes:
    mass: [M] m0, the sum of the kernel over the observation.
    targets: [M, 3] m1 / m0.
    squares: [M] m2 / m0, the mean of |y / aspect|².
    normals: [M, 3] mean normals, not of unit length; None without normals.
    weights: [M] in [0, 1), how little a point is an outlier.
  """

  mass: chex.Array
  targets: chex.Array
  squares: chex.Array
  normals: chex.Array | None
  weights: chex.Array


def observed_values(
  points: chex.Array, normals: chex.Array | None, mixture: Mixture
) -> chex.Array:
  """Returns the values [N, 5 or 8] to be filtered: 1, y, |y / aspect|² and normals.

  Args:
    points: [N, 3], best with their mean at the origin: |y|² loses digits elsewhere.
    normals: [N, 3] or None.
    mixture: gives the aspect.
  """
  chex.assert_shape(points, (None, 3))
  scaled = points / np.array(mixture.aspect, points.dtype)
  square = jnp.sum(jnp.square(scaled), axis=1, keepdims=True)
  columns = [jnp.ones_like(square), points, square]
  if normals is not None:
    chex.assert_equal_shape([points, normals])
    columns.append(normals)
  return jnp.concatenate(columns, axis=1)


def prepare(
  features: chex.Array, values: chex.Array, mixture: Mixture
) -> tuple[permutohedral.Lattice, chex.Array] | tuple[chex.Array, chex.Array]:
  """Returns what serves any number of `sums` over the same features.

  Args:
    features: [N, d], divided by σ; one that is not finite does not count.
    values: [N, C], finite.
    mixture: gives the kernel.
  """
  if mixture.kernel == "lattice":
    lattice = permutohedral.build(features)
    return lattice, permutohedral.splat(lattice, values)
  return features, values


def sums(prepared, queries: chex.Array, mixture: Mixture) -> chex.Array:
  """Returns the filtered values [M, C] at queries [M, d], divided by σ."""
  if mixture.kernel == "lattice":
    return permutohedral.slice_at(*prepared, queries)
  features, values = prepared
  if mixture.kernel == "exact":
    return gauss_transform.gauss_transform(queries, features, values)
  blurred = _joint_filter(queries, features, values, True)
  if mixture.kernel == "lattice_blur":
    return blurred
  lattice = permutohedral.build(jnp.concatenate([queries, features]), blur=True)
  is_coarse = permutohedral.size(lattice) <= _BLUR_BELOW * features.shape[0]
  return jnp.where(is_coarse, blurred, _joint_filter(queries, features, values, False))


def correspond(
  filtered: chex.Array, sigma: chex.Array, mixture: Mixture, count: chex.Array
) -> Correspondences:
  """Returns the correspondences of filtered values.

  Args:
    filtered: [M, 5 or 8] as `sums` returns.
    sigma: scalar, for outliers="normalised".
    mixture: gives how outliers are told.
    count: N, the number of observed points.

  Source: Eq. 6 and 7.
  """
  mass = filtered[:, 0]
  if mixture.outliers == "constant":
    constant = jnp.asarray(mixture.outlier_constant, mass.dtype)
    exists = mass > mixture.smallest_mass
  else:
    odds = mixture.outlier_ratio / (1 - mixture.outlier_ratio)
    constant = odds * count / filtered.shape[0]
    exists = mass > 0
    if mixture.outliers == "normalised":
      constant *= (2 * jnp.pi * jnp.square(sigma)) ** 1.5
  safe = jnp.where(exists, mass, 1.0)
  means = jnp.where(exists[:, None], filtered / safe[:, None], 0.0)
  return Correspondences(
    mass=jnp.where(exists, mass, 0.0),
    targets=means[:, 1:4],
    squares=means[:, 4],
    normals=means[:, 5:8] if filtered.shape[1] > 5 else None,
    weights=jnp.where(exists, safe / (safe + constant), 0.0),
  )


def updated_sigma(
  sigma: chex.Array,
  moved: chex.Array,
  found: Correspondences,
  mixture: Mixture,
  smallest: float,
  largest: chex.Array,
) -> chex.Array:
  """Returns the σ of largest likelihood, or the old one if that is out of bounds.

  Args:
    sigma: scalar, that of the E-step.
    moved: [M, 3] model points after the M-step.
    found: by the E-step.
    mixture: gives the aspect.
    smallest: bound that the new one must exceed.
    largest: bound that it must not.

  Source: Eq. 7 with Section 4.2; the square of each distance is expanded, as the
    filter gives the mean of |y|² only.
  """
  aspect = np.array(mixture.aspect, moved.dtype)
  targets = found.targets / aspect
  own = moved / aspect
  distances = jnp.sum(own * (own - 2 * targets), axis=1) + found.squares
  total = jnp.sum(found.weights)
  variance = jnp.sum(found.weights * distances) / (3 * jnp.where(total > 0, total, 1.0))
  new = jnp.sqrt(jnp.maximum(variance, 0.0))
  return jnp.where((new > smallest) & (new <= largest), new, sigma)


def _joint_filter(queries, features, values, blur):
  silent = jnp.zeros((queries.shape[0], values.shape[1]), values.dtype)
  joint = jnp.concatenate([queries, features])
  filtered = permutohedral.gaussian_filter(
    joint, jnp.concatenate([silent, values]), blur=blur
  )
  return filtered[: queries.shape[0]]
