"""Weighted quadratic fits in the neighbourhood of every point of a grid."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

COEFFICIENTS = 6  # of u², v², u v, u, v, 1


class Quadratic(NamedTuple):
  """A quadratic at the centre of its neighbourhood.

  Attributes:
    value: [...] its value at the centre.
    gradient: [..., 2].
    hessian: [..., 2, 2].
    mean_residual: [...] mean of the absolute residuals, unweighted.
    rms: [...] root mean square of the fitted values.
    valid: [...] whether the neighbourhood determines the quadratic; where it does
      not, everything else is 0.
  """

  value: chex.Array
  gradient: chex.Array
  hessian: chex.Array
  mean_residual: chex.Array
  rms: chex.Array
  valid: chex.Array


def windows(grid: chex.Array, size: int) -> chex.Array:
  """Returns the square neighbourhood of every grid point, row by row.

  Args:
    grid: [H, W, ...] floats.
    size: side of the neighbourhood in points, odd.

  Returns:
    [H, W, size², ...], NaN beyond the border.
  """
  chex.assert_type(grid, float)
  if size % 2 != 1:
    raise ValueError(f"a neighbourhood of side {size} has no centre")
  height, width = grid.shape[:2]
  reach = size // 2
  around = [(reach, reach)] * 2 + [(0, 0)] * (grid.ndim - 2)
  padded = jnp.pad(grid, around, constant_values=jnp.nan)
  rows = np.arange(height)[:, None, None] + np.repeat(np.arange(size), size)
  columns = np.arange(width)[:, None] + np.tile(np.arange(size), size)
  return padded[rows, columns]


def gaussian_window(size: int, sigma: float) -> np.ndarray:
  """Returns [size²] weights exp(-d² / 2 σ²), distances and σ in grid points."""
  offsets = np.arange(size) - size // 2
  profile = np.exp(-0.5 * np.square(offsets / sigma))
  return np.outer(profile, profile).reshape(-1)


def fit(offsets: chex.Array, values: chex.Array, weights: chex.Array) -> Quadratic:
  """Fits a quadratic of two coordinates by weighted least squares.

  Args:
    offsets: [..., S, 2] coordinates relative to the centre, in any unit. They are
      scaled inside: large coordinates lose no digits.
    values: [..., S]; NaN where missing.
    weights: [..., S] factors of the residuals, whose squares are summed.

  Returns:
    the quadratic; `valid` only with at least 6 values that determine it.

  Source: A4, in coordinates that are centred and scaled.
  """
  chex.assert_type([offsets, values, weights], float)
  chex.assert_equal_shape([values, weights])
  chex.assert_shape(offsets, (*values.shape, 2))
  present = jnp.isfinite(values) & jnp.isfinite(weights)
  present &= jnp.all(jnp.isfinite(offsets), axis=-1)
  count = jnp.sum(present, axis=-1)
  offsets = jnp.where(present[..., None], offsets, 0.0)
  weights = jnp.where(present, weights, 0.0)
  filled = jnp.where(present, values, 0.0)
  # The fit is of differences to a mean, which float32 keeps the digits of.
  mean = jnp.sum(filled, axis=-1) / jnp.maximum(count, 1)
  centred = jnp.where(present, filled - mean[..., None], 0.0)

  scale = jnp.max(jnp.abs(offsets), axis=(-2, -1))
  scale = jax.lax.stop_gradient(jnp.where(scale > 0, scale, 1.0))
  design = _monomials(offsets / scale[..., None, None])
  heaviest = jnp.max(weights, axis=-1, keepdims=True)
  weights = weights / jnp.where(heaviest > 0, heaviest, 1.0)
  rows = weights[..., None] * design
  highest = jax.lax.Precision.HIGHEST
  normal = jnp.einsum("...si,...sj->...ij", rows, rows, precision=highest)
  right = jnp.einsum("...si,...s->...i", rows, weights * centred, precision=highest)

  valid = (count >= COEFFICIENTS) & _is_regular(normal)
  # Of what is not valid, neither the solution nor its gradient may be NaN.
  normal = jnp.where(valid[..., None, None], normal, jnp.eye(COEFFICIENTS))
  right = jnp.where(valid[..., None], right, 0.0)
  factor = jax.scipy.linalg.cho_factor(normal, lower=True)
  solution = jax.scipy.linalg.cho_solve(factor, right[..., None])[..., 0]

  residuals = jnp.sum(design * solution[..., None, :], axis=-1) - centred
  residuals = jnp.where(present, residuals, 0.0)
  number = jnp.maximum(count, 1)
  squares = jnp.sum(jnp.square(filled), axis=-1) / number
  a, b, c, d, e, f = jnp.moveaxis(solution, -1, 0)
  hessian = jnp.stack([2 * a, c, c, 2 * b], axis=-1) / jnp.square(scale)[..., None]
  found = Quadratic(
    value=f + mean,
    gradient=jnp.stack([d, e], axis=-1) / scale[..., None],
    hessian=hessian.reshape(*hessian.shape[:-1], 2, 2),
    mean_residual=jnp.sum(jnp.abs(residuals), axis=-1) / number,
    rms=jnp.sqrt(jnp.where(squares > 0, squares, 1.0)),
    valid=valid,
  )

  def masked(leaf):
    mask = valid.reshape(valid.shape + (1,) * (leaf.ndim - valid.ndim))
    return jnp.where(mask, leaf, jnp.zeros_like(leaf))

  return jax.tree.map(masked, found)


def symmetric_eigenvalues(matrix: chex.Array) -> chex.Array:
  """Returns the [..., 2] eigenvalues of symmetric [..., 2, 2] matrices, ascending."""
  chex.assert_shape(matrix, (..., 2, 2))
  mean = 0.5 * (matrix[..., 0, 0] + matrix[..., 1, 1])
  half = 0.5 * (matrix[..., 0, 0] - matrix[..., 1, 1])
  squared = jnp.square(half) + jnp.square(matrix[..., 0, 1])
  positive = squared > 0
  # The root's gradient is infinite where both eigenvalues are equal.
  root = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
  return jnp.stack([mean - root, mean + root], axis=-1)


def _monomials(offsets):
  u, v = offsets[..., 0], offsets[..., 1]
  return jnp.stack([u * u, v * v, u * v, u, v, jnp.ones_like(u)], axis=-1)


def _is_regular(normal):
  """Whether the pivots of Cholesky's factorisation stand out of the rounding."""
  normal = jax.lax.stop_gradient(normal)
  diagonal = jnp.diagonal(normal, axis1=-2, axis2=-1)
  scale = jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0))
  correlation = normal * scale[..., None, :] * scale[..., :, None]
  pivots = jnp.diagonal(jnp.linalg.cholesky(correlation), axis1=-2, axis2=-1)
  least = 1e3 * jnp.finfo(normal.dtype).eps
  regular = jnp.all(jnp.square(pivots) > least, axis=-1)  # NaN is not
  return regular & jnp.all(diagonal > 0, axis=-1)
