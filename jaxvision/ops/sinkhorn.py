"""Sinkhorn's scaling of matrices to given row and column sums, batched.

Two forms of one iteration: on the logarithms, which nothing overflows, and on the
matrix itself, which takes no exponentials. Both scale rows, then columns.
"""

import chex
import jax
import jax.numpy as jnp


def log_sinkhorn(
  log_kernel: chex.Array,
  log_rows: chex.Array | None = None,
  log_columns: chex.Array | None = None,
  *,
  sweeps: int = 60,
  tolerance: float | None = None,
) -> chex.Array:
  """Returns the logarithm of the scaled kernel; its columns' sums are exact.

  Args:
    log_kernel: [..., M, N]. -inf forbids an entry; a row or column of nothing else
      stays -inf and is finite nowhere else.
    log_rows: [..., M] logarithms of the rows' sums; all 0 (sums of 1) when None.
    log_columns: [..., N] of the columns' sums; all 0 when None. The totals of both
      must agree, else the iteration has no fixed point.
    sweeps: of rows and columns; at most that many with a tolerance.
    tolerance: the sweeps end when no row's sum is further than that from its own,
      relatively. They are then a `while_loop`, without reverse-mode derivatives; None
      makes all sweeps, differentiably.

  Returns:
    [..., M, N].

  Source: Sinkhorn and Knopp 1967; Cuturi, Sinkhorn distances, 2013.
  """
  chex.assert_type(log_kernel, float)
  chex.assert_shape(log_kernel, (..., None, None))
  rows = jnp.zeros_like(log_kernel[..., 0]) if log_rows is None else log_rows
  columns = jnp.zeros_like(log_kernel[..., 0, :])
  columns = columns if log_columns is None else log_columns
  chex.assert_equal_shape([rows, log_kernel[..., 0]])
  chex.assert_equal_shape([columns, log_kernel[..., 0, :]])

  def sweep(scaled):
    scaled += _finite(rows - jax.nn.logsumexp(scaled, axis=-1))[..., None]
    return scaled + _finite(columns - jax.nn.logsumexp(scaled, axis=-2))[..., None, :]

  if tolerance is None:
    return jax.lax.scan(lambda s, _: (sweep(s), None), log_kernel, length=sweeps)[0]

  def goes_on(state):
    done, scaled = state
    sums = jnp.exp(_finite(jax.nn.logsumexp(scaled, axis=-1) - rows))
    return (done < sweeps) & ((done == 0) | jnp.any(jnp.abs(sums - 1) > tolerance))

  state = jnp.zeros((), jnp.int32), log_kernel
  return jax.lax.while_loop(goes_on, lambda s: (s[0] + 1, sweep(s[1])), state)[1]


def balance(
  matrices: chex.Array,
  *,
  sweeps: int = 100,
  tolerance: float = 1e-5,
  epsilon: float = 1e-12,
) -> chex.Array:
  """Returns positive square matrices scaled to rows and columns of sum 1.

  Two vectors are iterated, the matrix is read only. geoopt has these defaults; the
  authors' C++ makes 40 sweeps whatever its tolerance (its test cannot be met), with
  an epsilon of 0.

  Args:
    matrices: [..., N, N], at least 0; each row and column has a positive entry.
    sweeps: at most that many.
    tolerance: the sweeps end when no column's scale changes by more, relatively.
    epsilon: added to what is divided by.

  Returns:
    [..., N, N]; the rows' sums are exact, up to epsilon.

  Source: Birdal and Deng's BirkhoffPolytope.hpp (sinkhorn) and geoopt
    (proj_doubly_stochastic).
  """
  chex.assert_type(matrices, float)
  size = matrices.shape[-1]
  chex.assert_shape(matrices, (..., size, size))

  def by_columns(rows):  # rowsᵀ A
    return jnp.sum(rows[..., :, None] * matrices, axis=-2)

  def by_rows(columns):
    return 1 / (jnp.sum(matrices * columns[..., None, :], axis=-1) + epsilon)

  def goes_on(state):
    done, _, _, change = state
    return (done < sweeps) & jnp.any(change > tolerance)

  def sweep(state):
    done, columns, rows, _ = state
    sums = by_columns(rows)
    change = jnp.max(jnp.abs(sums * columns - 1), axis=-1)
    # A batch goes on together: a matrix that has converged is left as it is.
    moves = change[..., None] > tolerance
    columns = jnp.where(moves, 1 / (sums + epsilon), columns)
    rows = jnp.where(moves, by_rows(columns), rows)
    return done + 1, columns, rows, change

  columns = 1 / (jnp.sum(matrices, axis=-2) + epsilon)
  rows = by_rows(columns)
  # A first change that is never met, of the batch's shape.
  state = jnp.zeros((), jnp.int32), columns, rows, jnp.full_like(rows[..., 0], jnp.inf)
  _, columns, rows, _ = jax.lax.while_loop(goes_on, sweep, state)
  return matrices * (rows[..., :, None] * columns[..., None, :])


def _finite(values):
  """Leaves a row without any entry as it is: -inf - -inf is NaN."""
  return jnp.where(jnp.isfinite(values), values, 0.0)
