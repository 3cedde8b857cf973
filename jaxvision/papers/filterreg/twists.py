"""Gauss-Newton steps on twists: the M-step of every kinematic model.

A twist ξ = [ω, v] moves x to x + ω × x + v, whatever body x belongs to: ∂x/∂ξ is
[-[x]×, I] and depends on nothing but x. Sums over a body's points therefore collapse
to a 6 × 6 matrix and a vector.

Source: Section 5, Eq. 16 to 18; for planes Eq. 9 and 10.
"""

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import rigid


def point_jacobian(points: chex.Array) -> chex.Array:
  """Returns ∂x/∂ξ = [-[x]×, I], [..., 3, 6], of points [..., 3]."""
  identity = jnp.broadcast_to(
    jnp.eye(3, dtype=points.dtype), (*points.shape[:-1], 3, 3)
  )
  return jnp.concatenate([-rigid.cross_matrix(points), identity], axis=-1)


def twist_transform(twists: chex.Array) -> chex.Array:
  """Returns [..., 4, 4]: exactly the rotation of ω, and v as the translation.

  Not the exponential of the twist, whose translation is V v; the two agree to first
  order, which is all that a Gauss-Newton step says.
  """
  chex.assert_axis_dimension(twists, -1, 6)
  return rigid.transform(rigid.exp_rotation(twists[..., :3]), twists[..., 3:])


def point_systems(
  points: chex.Array,
  targets: chex.Array,
  weights: chex.Array,
  bodies: chex.Array | None = None,
  num_bodies: int = 1,
) -> tuple[chex.Array, chex.Array]:
  """Returns Σ w JᵀJ and Σ w Jᵀr of each body, r = x - target.

  Args:
    points: [M, 3] moved model points x.
    targets: [M, 3].
    weights: [M].
    bodies: [M] int32 body of each point; all 0 when None.
    num_bodies: B.

  Returns:
    [B, 6, 6] and [B, 6].
  """
  chex.assert_equal_shape([points, targets])
  residuals = points - targets
  # JᵀJ needs no more than the moments 1, x and x xᵀ.
  columns = [
    jnp.ones_like(points[:, :1]),
    points,
    points * points,
    points * jnp.roll(points, -1, axis=1),  # xy, yz, zx
    jnp.cross(points, residuals),
    residuals,
  ]
  total = _by_body(
    weights[:, None] * jnp.concatenate(columns, axis=1), bodies, num_bodies
  )
  one, first, square, mixed, right = jnp.split(total, [1, 4, 7, 10], axis=1)
  xy, yz, zx = jnp.moveaxis(mixed, -1, 0)
  xx, yy, zz = jnp.moveaxis(square, -1, 0)
  rows = [yy + zz, -xy, -zx, -xy, xx + zz, -yz, -zx, -yz, xx + yy]
  turning = jnp.stack(rows, axis=-1).reshape(-1, 3, 3)
  crossed = rigid.cross_matrix(first)
  moving = one[..., None] * jnp.eye(3, dtype=points.dtype)
  upper = jnp.concatenate([turning, crossed], axis=2)
  lower = jnp.concatenate([-crossed, moving], axis=2)
  return jnp.concatenate([upper, lower], axis=1), right


def plane_systems(
  points: chex.Array,
  targets: chex.Array,
  normals: chex.Array,
  weights: chex.Array,
  bodies: chex.Array | None = None,
  num_bodies: int = 1,
) -> tuple[chex.Array, chex.Array]:
  """Returns Σ w JᵀJ and Σ w Jᵀr of each body, r = N · (x - target), J = [x × N, N].

  Args:
    points: [M, 3] moved model points x.
    targets: [M, 3].
    normals: [M, 3] N, of any length.
    weights: [M].
    bodies: [M] int32 body of each point; all 0 when None.
    num_bodies: B.

  Returns:
    [B, 6, 6] and [B, 6].
  """
  chex.assert_equal_shape([points, targets, normals])
  jacobians = jnp.concatenate([jnp.cross(points, normals), normals], axis=1)
  residuals = jnp.sum(normals * (points - targets), axis=1)
  extended = jnp.concatenate([jacobians, residuals[:, None]], axis=1)
  if num_bodies == 1:
    products = jnp.matmul(
      (weights[:, None] * jacobians).T, extended, precision="highest"
    )[None]
  else:
    products = (weights[:, None] * jacobians)[:, :, None] * extended[:, None]
    products = _by_body(products.reshape(-1, 42), bodies, num_bodies).reshape(-1, 6, 7)
  return products[..., :6], products[..., 6]


def solve_normal(
  matrix: chex.Array, right: chex.Array, damping: float = 1e-6
) -> chex.Array:
  """Returns -A⁻¹ b of a positive semidefinite A, finite for any A.

  Args:
    matrix: [n, n] A.
    right: [n] b.
    damping: added to the diagonal, in units of its mean: what nothing observes stays.
  """
  chex.assert_equal_shape_prefix([matrix, right], 1)
  count = matrix.shape[0]
  mean = jnp.trace(matrix) / count
  tiny = jnp.finfo(matrix.dtype).tiny
  regular = matrix + (damping * mean + tiny) * jnp.eye(count, dtype=matrix.dtype)
  factor = jax.scipy.linalg.cho_factor(regular)
  step = -jax.scipy.linalg.cho_solve(factor, right)
  return jnp.where(jnp.all(jnp.isfinite(step)), step, 0.0)


def _by_body(rows, bodies, num_bodies):
  """Returns the sums [B, C] of rows [M, C]."""
  if num_bodies == 1:
    return jnp.sum(rows, axis=0, keepdims=True)
  return jax.ops.segment_sum(rows, bodies, num_segments=num_bodies)
