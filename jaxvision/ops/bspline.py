"""Uniform cubic B-spline surfaces over a rectangle of the plane.

The [P, Q] control values stand for a P-3 by Q-3 grid of bicubic pieces.
"""

import chex
import jax.numpy as jnp
import numpy as np


def weights(
  points: chex.Array,
  low: chex.Array,
  high: chex.Array,
  shape: tuple[int, int],
) -> tuple[chex.Array, chex.Array]:
  """Returns the cubic B-spline weights of both axes at points of the plane.

  Args:
    points: [..., 2] in the rectangle's unit; outside, the nearest piece goes on.
    low: [2] corner of the rectangle.
    high: [2] opposite corner.
    shape: (P, Q) of the control values, each at least 4.

  Returns:
    [..., P] and [..., Q] weights, each row with at most 4 that are not 0, of sum 1.
  """
  chex.assert_shape(points, (..., 2))
  chex.assert_type(points, float)
  return tuple(
    _axis_weights((points[..., a] - low[a]) / (high[a] - low[a]), shape[a])
    for a in range(2)
  )


def evaluate(
  control: chex.Array, points: chex.Array, low: chex.Array, high: chex.Array
) -> chex.Array:
  """Returns the spline's [...] values at points [..., 2]; arguments as `weights`."""
  chex.assert_rank(control, 2)
  along, across = weights(points, low, high, control.shape)
  return jnp.einsum("...p,...q,pq->...", along, across, control)


def bending_energy(shape: tuple[int, int]) -> np.ndarray:
  """Returns the [P Q, P Q] matrix of Σ h_uu² + 2 h_uv² + h_vv² in differences."""
  rows, columns = np.eye(shape[0]), np.eye(shape[1])
  operators = (
    np.kron(np.diff(rows, 2, axis=0), columns),
    np.sqrt(2) * np.kron(np.diff(rows, axis=0), np.diff(columns, axis=0)),
    np.kron(rows, np.diff(columns, 2, axis=0)),
  )
  return sum(operator.T @ operator for operator in operators)


def _axis_weights(position, size):
  if size < 4:
    raise ValueError(f"a cubic spline needs 4 control values, not {size}")
  position = position * (size - 3)
  piece = jnp.clip(jnp.floor(position), 0, size - 4)
  t = position - piece
  basis = jnp.stack(
    [
      (1 - t) ** 3 / 6,
      (3 * t**3 - 6 * t**2 + 4) / 6,
      (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
      t**3 / 6,
    ],
    axis=-1,
  )
  slots = piece[..., None].astype(jnp.int32) + jnp.arange(4)
  return jnp.sum(basis[..., None] * (slots[..., None] == jnp.arange(size)), axis=-2)
