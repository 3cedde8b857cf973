"""Singular value decompositions that differentiate safely: polar projection and PCA.

Matrices are the last two axes; leading axes are batch axes.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

# Singular values below this share of the largest one (or of 1) count as zero.
RANK_TOLERANCE = 1e-6


class Polar(NamedTuple):
  """A polar projection and whether the matrix determined it.

  Attributes:
    projection: [..., M, R], always finite with orthonormal columns.
    singular_values: [..., R] of the matrix, descending; 0 where it was not finite.
    is_determined: [...] bool: the matrix was finite and of full column rank. Where
      False, the projection is one of many and its derivative means nothing.
  """

  projection: chex.Array
  singular_values: chex.Array
  is_determined: chex.Array


def polar_projection(x: chex.Array) -> chex.Array:
  """Returns the matrix with orthonormal columns that is closest to x (Frobenius).

  With the thin SVD X = U S V^T it is U V^T. Its first derivatives, forward and
  reverse, are exact for repeated singular values too, and the backward pass calls no
  SVD. Divisors below 1e-6 max(s_max, 1) are raised to that, so they are finite for
  rank-deficient matrices, where the true ones are not. Second derivatives go through
  the SVD itself and exist for distinct singular values only.

  Args:
    x: [..., M, R] float, M >= R >= 1.

  Returns:
    [..., M, R]. A matrix that is not finite gives NaN; `polar` flags it instead.

  Source: Minnehan and Savakis, CVPR 2019, Eqs. 12-13, whose printed gradient is
    incomplete; the derivative here is that of X = P H by the Sylvester equation
    W H + H W = P^T dX - dX^T P, W = P^T dP.
  """
  _check_tall(x)
  return _polar_projection(x)


def polar(x: chex.Array) -> Polar:
  """Returns the polar projection of x, flagged where x does not determine it.

  Args:
    x: [..., M, R] float, M >= R >= 1; it may be singular, or not finite.
  """
  _check_tall(x)
  is_finite = jnp.all(jnp.isfinite(x), axis=(-2, -1))
  identity = jnp.eye(*x.shape[-2:], dtype=x.dtype)
  x = jnp.where(is_finite[..., None, None], x, identity)
  values = jax.lax.stop_gradient(jnp.linalg.svd(x, compute_uv=False))
  is_full_rank = values[..., -1] > RANK_TOLERANCE * values[..., 0]
  return Polar(
    projection=_polar_projection(x),
    singular_values=jnp.where(is_finite[..., None], values, 0.0),
    is_determined=is_finite & is_full_rank,
  )


def random_orthonormal(key: chex.PRNGKey, rows: int, columns: int) -> chex.Array:
  """Returns [rows, columns] orthonormal columns, uniform over the Stiefel manifold.

  Args:
    key: random key.
    rows: M.
    columns: R, at most M.
  """
  chex.assert_scalar_positive(columns)
  if columns > rows:
    raise ValueError(f"{columns} orthonormal columns do not fit into {rows} rows")
  q, r = jnp.linalg.qr(jax.random.normal(key, (rows, columns)))
  # QR leaves the signs to LAPACK; with those of R's diagonal the measure is uniform.
  return q * jnp.sign(jnp.diagonal(r))


def orthonormality_error(p: chex.Array) -> chex.Array:
  """Returns max |P^T P - I| of [..., M, R] matrices, [...]."""
  _check_tall(p)
  gram = jnp.einsum("...mr,...ms->...rs", p, p, precision="highest")
  return jnp.max(jnp.abs(gram - jnp.eye(p.shape[-1], dtype=p.dtype)), axis=(-2, -1))


def principal_axes(covariance: chex.Array, count: int) -> tuple[chex.Array, chex.Array]:
  """Returns the leading eigenvectors and eigenvalues of a covariance.

  Args:
    covariance: [..., C, C] float, symmetric.
    count: R, at most C.

  Returns:
    Orthonormal axes [..., C, R], and the variance along each [..., R], descending.
  """
  chex.assert_type(covariance, float)
  chex.assert_equal(covariance.shape[-2], covariance.shape[-1])
  chex.assert_scalar_in(count, 1, covariance.shape[-1])
  variances, axes = jnp.linalg.eigh(covariance)  # ascending
  return axes[..., ::-1][..., :count], variances[..., ::-1][..., :count]


def covariance(samples: chex.Array) -> chex.Array:
  """Returns the covariance [C, C] of samples [N, C], about their mean, over N."""
  chex.assert_rank(samples, 2)
  chex.assert_type(samples, float)
  centred = samples - jnp.mean(samples, axis=0)
  return centred.T @ centred / len(samples)


@jax.custom_jvp
def _polar_projection(x):
  u, _, vh = jnp.linalg.svd(x, full_matrices=False)
  return u @ vh


@_polar_projection.defjvp
def _polar_projection_jvp(primals, tangents):
  (x,), (dx,) = primals, tangents
  u, s, vh = jnp.linalg.svd(x, full_matrices=False)
  floor = RANK_TOLERANCE * jnp.maximum(s[..., :1], 1.0)
  inverse_sums = 1.0 / jnp.maximum(s[..., :, None] + s[..., None, :], floor[..., None])
  inverses = 1.0 / jnp.maximum(s, floor)[..., None, :]

  # Linear in dx, so that JAX transposes it: four products each way, and no SVD.
  rotated = dx @ jnp.swapaxes(vh, -1, -2)
  inner = jnp.swapaxes(u, -1, -2) @ rotated
  skew = (inner - jnp.swapaxes(inner, -1, -2)) * inverse_sums
  dp = (u @ (skew - inner * inverses) + rotated * inverses) @ vh
  return u @ vh, dp


def _check_tall(x: chex.Array) -> None:
  chex.assert_type(x, float)
  if x.ndim < 2 or not 1 <= x.shape[-1] <= x.shape[-2]:
    raise ValueError(
      f"x must be [..., M, R] with M >= R >= 1 to have orthonormal columns, not "
      f"{x.shape}"
    )
