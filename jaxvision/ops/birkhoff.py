"""Riemannian geometry of the Birkhoff polytope's interior, batched.

A point X is [..., N, N], positive, with rows and columns of sum 1; a tangent vector V
has rows and columns of sum 0. The metric is Fisher's, <U, V>_X = Σ U V / X.

Source: Birdal and Simsekli, Probabilistic Permutation Synchronization using the
  Riemannian Structure of the Birkhoff Polytope, CVPR 2019, sections 2 and 4; Douik and
  Hassibi, Manifold optimization over the set of doubly stochastic matrices, 2019.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import sinkhorn

# The least entry of a point: what is smaller leaves the interior.
LEAST = 1e-12


class Projector(NamedTuple):
  """What projections at one point share.

  Attributes:
    point: [..., N, N] X.
    is_largest: [..., N, N] bool: the largest entry of each column.
    rest: [..., N] sum of each column's other entries.
    scale: [..., N] that brings the system's diagonal to 1.
    factor: [..., N, N] Cholesky factor of the scaled system.
  """

  point: chex.Array
  is_largest: chex.Array
  rest: chex.Array
  scale: chex.Array
  factor: chex.Array


def inner(point: chex.Array, one: chex.Array, other: chex.Array) -> chex.Array:
  """Returns Fisher's inner product [...] of two vectors [..., N, N] at a point."""
  chex.assert_equal_shape([point, one, other])
  return jnp.sum(one * other / point, axis=(-2, -1))


def projector(point: chex.Array) -> Projector:
  """Returns what `project` needs at a point [..., N, N]; the system is factored once.

  The system of 2N equations for the multipliers α, β of rows and columns is singular,
  but consistent: α may shift by a constant. With β eliminated, (I - X Xᵀ) α = r is a
  graph's Laplacian. It is formed without its cancelling diagonal, scaled to a diagonal
  of 1, and gets the missing rank back along its null vector: this holds in float32
  up to the vertices, where X Xᵀ tends to I.

  Source: Theorem 2, the symmetric elimination.
  """
  chex.assert_type(point, float)
  size = point.shape[-1]
  chex.assert_shape(point, (..., size, size))
  eye = jnp.eye(size, dtype=point.dtype)
  shared = jnp.matmul(point, jnp.swapaxes(point, -1, -2), precision="highest")
  weights = shared * (1 - eye)
  root = jnp.sqrt(jnp.maximum(jnp.sum(weights, axis=-1), LEAST))
  laplacian = eye - weights / (root[..., :, None] * root[..., None, :])
  null = root / jnp.linalg.norm(root, axis=-1, keepdims=True)
  jitter = 4 * size * jnp.finfo(point.dtype).eps
  system = laplacian + null[..., :, None] * null[..., None, :] + jitter * eye
  largest = jnp.argmax(point, axis=-2, keepdims=True)
  is_largest = jnp.arange(size)[:, None] == largest
  rest = jnp.sum(jnp.where(is_largest, 0.0, point), axis=-2)
  return Projector(point, is_largest, rest, 1 / root, jnp.linalg.cholesky(system))


def project_all(at: Projector, vectors: chex.Array) -> chex.Array:
  """Returns K ambient vectors [K, ..., N, N] projected on the tangent space at X.

  Π_X(Y) = Y - (α 1ᵀ + 1 βᵀ) ⊙ X: orthogonally in the metric.

  Source: Theorem 2.
  """
  chex.assert_equal_shape_suffix([at.point, vectors], at.point.ndim)
  chex.assert_rank(vectors, at.point.ndim + 1)
  centered = vectors - at.point * jnp.sum(vectors, axis=-2, keepdims=True)
  centered = jnp.where(at.is_largest, _largest(at, vectors), centered)
  right = jnp.moveaxis(jnp.sum(centered, axis=-1) * at.scale, 0, -1)
  # The right side is orthogonal to the null vector, but for rounding.
  null = 1 / at.scale
  null = (null / jnp.linalg.norm(null, axis=-1, keepdims=True))[..., None]
  right -= null * jnp.sum(null * right, axis=-2, keepdims=True)
  solved = jax.scipy.linalg.cho_solve((at.factor, True), right)
  multiplier = (jnp.moveaxis(solved, -1, 0) * at.scale)[..., None] * at.point
  correction = multiplier - at.point * jnp.sum(multiplier, axis=-2, keepdims=True)
  correction = jnp.where(at.is_largest, _largest(at, multiplier), correction)
  return centered - correction


def _largest(at, vectors):
  """Returns Y - X ⊙ 1 (1ᵀ Y) where X is largest, as near 1 as it may be.

  There Y_ij - X_ij Σ_k Y_kj = Y_ij (1 - X_ij) - X_ij Σ_(k≠i) Y_kj, without the
  difference of large numbers.
  """
  others = jnp.sum(jnp.where(at.is_largest, 0.0, vectors), axis=-2, keepdims=True)
  return vectors * at.rest[..., None, :] - at.point * others


def project(point: chex.Array, vector: chex.Array) -> chex.Array:
  """Returns Π_X of ambient vectors [..., N, N] at points [..., N, N]."""
  chex.assert_equal_shape([point, vector])
  return project_all(projector(point), vector[None])[0]


def transport(at: chex.Array, to: chex.Array, vector: chex.Array) -> chex.Array:
  """Returns a tangent vector at one point brought to another by projection.

  geoopt's `transp` multiplies by the point first, which is another map.
  """
  chex.assert_equal_shape([at, to, vector])
  return project(to, vector)


def riemannian_gradient(point: chex.Array, gradient: chex.Array) -> chex.Array:
  """Returns Π_X(X ⊙ ∂U/∂X) [..., N, N] of a Euclidean gradient.

  The inverse metric multiplies by X.
  """
  return project(point, point * gradient)


def retract(
  point: chex.Array,
  vector: chex.Array,
  *,
  sweeps: int = 100,
  tolerance: float = 1e-5,
  epsilon: float = 1e-12,
) -> chex.Array:
  """Returns Sinkhorn(X ⊙ exp(V / X)), clamped from below; a first-order retraction.

  The product is scaled to rows and columns of about 1 in the logarithms, so that no
  exponential overflows, and then balanced.

  Args:
    point: [..., N, N] X.
    vector: [..., N, N] tangent at X. Where |V / X| is large the iteration needs more
      sweeps: `infeasibility` tells how far it came.
    sweeps: at most that many.
    tolerance: of the balance, see `sinkhorn.balance`.
    epsilon: see `sinkhorn.balance`.

  Returns:
    [..., N, N], at least LEAST.

  Source: Theorem 3.
  """
  chex.assert_equal_shape([point, vector])
  kernel = jnp.exp(sinkhorn.log_sinkhorn(jnp.log(point) + vector / point, sweeps=1))
  balanced = sinkhorn.balance(
    kernel, sweeps=sweeps, tolerance=tolerance, epsilon=epsilon
  )
  return jnp.maximum(balanced, LEAST)


def infeasibility(point: chex.Array) -> chex.Array:
  """Returns the largest distance [...] of a row's or column's sum from 1."""
  rows, columns = jnp.sum(point, axis=-1) - 1, jnp.sum(point, axis=-2) - 1
  return jnp.maximum(
    jnp.max(jnp.abs(rows), axis=-1), jnp.max(jnp.abs(columns), axis=-1)
  )


def center(size: int) -> chex.Array:
  """Returns 11ᵀ/N [N, N], from which all permutations are sqrt(N - 1) away."""
  return jnp.full((size, size), 1 / size)


def soften(permutations: chex.Array, mixture: float = 0.5) -> chex.Array:
  """Returns permutations [..., N, N] moved by `mixture` towards the centre."""
  size = permutations.shape[-1]
  return (1 - mixture) * permutations + mixture / size


def random_point(key: chex.PRNGKey, shape: tuple[int, ...]) -> chex.Array:
  """Returns points of a shape [..., N, N]: the Sinkhorn of |normal| entries."""
  entries = jnp.abs(jax.random.normal(key, shape)) + 1e-6
  return sinkhorn.balance(entries)
