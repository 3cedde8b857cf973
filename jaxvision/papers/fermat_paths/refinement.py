"""Refinement of a surface by the lengths of its specular paths (A8).

The surface is a height field z = h(x, y) over a B-spline grid. Its path lengths are
those of its own stationary points, found by Newton's method; by the envelope theorem
they change with the heights as if those points stayed where they are.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import bspline


class HeightField(NamedTuple):
  """A surface z = h(x, y).

  Attributes:
    control: [P, Q] control values of a cubic B-spline, cm.
    low: [2] corner of its rectangle, cm.
    high: [2] opposite corner.
  """

  control: chex.Array
  low: chex.Array
  high: chex.Array


class Refined(NamedTuple):
  """What the refinement ends with.

  Attributes:
    field: the surface.
    points: [n, 3] specular points of each wall point, cm.
    normals: [n, 3] unit, towards the wall.
    residuals: [n] path length of the surface minus the measured one, cm; 0 where
      there is none.
    history: [iterations] root mean square residual before each step, cm.
  """

  field: HeightField
  points: chex.Array
  normals: chex.Array
  residuals: chex.Array
  history: chex.Array


def height(field: HeightField, xy: chex.Array) -> chex.Array:
  """Returns the heights [...] at [..., 2], cm."""
  return bspline.evaluate(field.control, xy, field.low, field.high)


def surface_points(field: HeightField, xy: chex.Array) -> chex.Array:
  """Returns the points [..., 3] of the surface above [..., 2]."""
  return jnp.concatenate([xy, height(field, xy)[..., None]], axis=-1)


def surface_normals(field: HeightField, xy: chex.Array) -> chex.Array:
  """Returns the unit normals [n, 3] above [n, 2], towards the wall at z = 0."""
  slopes = jax.vmap(jax.grad(lambda p: height(field, p)))(xy)
  normals = jnp.concatenate([slopes, -jnp.ones_like(slopes[:, :1])], axis=-1)
  return normals / jnp.linalg.norm(normals, axis=-1, keepdims=True)


def fit_heights(
  points: chex.Array,
  valid: chex.Array,
  shape: tuple[int, int],
  bending: float = 1e-3,
) -> HeightField:
  """Returns the height field nearest to points, over their bounding rectangle.

  Args:
    points: [n, 3] cm.
    valid: [n] booleans: which of them count.
    shape: (P, Q) of the control values.
    bending: weight of the squared second differences of the control values.
  """
  chex.assert_shape(points, (None, 3))
  chex.assert_shape(valid, points.shape[:1])
  xy = points[:, :2]
  low = jnp.min(jnp.where(valid[:, None], xy, jnp.inf), axis=0)
  high = jnp.max(jnp.where(valid[:, None], xy, -jnp.inf), axis=0)
  wide = jnp.all(high - low > 0)  # not so where there are no points
  low, high = jnp.where(wide, low, -1.0), jnp.where(wide, high, 1.0)
  xy = jnp.where(valid[:, None], xy, low)
  rows = _rows(xy, low, high, shape) * valid[:, None]
  z = jnp.where(valid, points[:, 2], 0.0)
  mean = jnp.sum(z) / jnp.maximum(jnp.sum(valid), 1)
  centred = jnp.where(valid, z - mean, 0.0)
  control = _solve(rows, centred, bending, shape)
  return HeightField(mean + control.reshape(shape), low, high)


def path_length(
  point: chex.Array, detector: chex.Array, source: chex.Array | None = None
) -> chex.Array:
  """Returns the path length source - point - detector, confocal without a source."""
  far = jnp.linalg.norm(point - detector, axis=-1)
  near = far if source is None else jnp.linalg.norm(point - source, axis=-1)
  return far + near


def specular_points(
  field: HeightField,
  wall: chex.Array,
  start: chex.Array,
  *,
  source: chex.Array | None = None,
  steps: int = 8,
) -> chex.Array:
  """Returns the stationary points of each wall point's path length, by Newton.

  Args:
    field: the surface.
    wall: [n, 3] detectors, cm.
    start: [n, 2] near the stationary points; minima, saddles and maxima are all
      reached from nearby.
    source: [3]; the detectors when None.
    steps: of Newton's method, each at most 2 cm long.

  Returns:
    [n, 2], kept inside the field's rectangle.
  """

  def one(detector, xy):
    def length(xy):
      return path_length(surface_points(field, xy), detector, source)

    def newton(xy, _):
      (a, b), (_, d) = curvature = jax.hessian(length)(xy)
      determinant = a * d - b * b
      regular = jnp.abs(determinant) > 1e-9 * (1 + jnp.sum(jnp.square(curvature)))
      gx, gy = jax.grad(length)(xy)
      step = jnp.stack([d * gx - b * gy, a * gy - b * gx])
      step = jnp.where(regular, step / jnp.where(regular, determinant, 1.0), 0.0)
      longest = jnp.max(jnp.abs(step))
      step *= jnp.minimum(1.0, 2.0 / jnp.maximum(longest, 1e-6))
      return jnp.clip(xy - step, field.low, field.high), None

    return jax.lax.scan(newton, xy, None, length=steps)[0]

  return jax.vmap(one)(wall, start)


def refine(
  field: HeightField,
  wall: chex.Array,
  paths: chex.Array,
  start: chex.Array,
  valid: chex.Array,
  *,
  source: chex.Array | None = None,
  bending: float = 1e-3,
  iterations: int = 10,
  newton_steps: int = 8,
) -> Refined:
  """Moves a surface until its specular paths are as long as those measured.

  Gauss-Newton on Σ (τ(θ) - τ)² + bending energy.

  Args:
    field: the surface to begin with, for instance `fit_heights`.
    wall: [n, 3] detectors, cm.
    paths: [n] measured path lengths τ, cm.
    start: [n, 2] where to look for the specular points, cm.
    valid: [n] booleans: which measurements count.
    source: [3] the lit wall point; the detectors when None.
    bending: weight of the squared second differences of the control values.
    iterations: of Gauss-Newton.
    newton_steps: towards the specular points, in each iteration.

  Source: A8, this project's formulation of the supplement's refinement.
  """
  chex.assert_shape(wall, (None, 3))
  chex.assert_shape([paths, valid], wall.shape[:1])
  chex.assert_shape(start, (wall.shape[0], 2))
  shape = field.control.shape
  measured = jnp.where(valid, paths, 0.0)
  wall = jnp.where(valid[:, None], wall, 0.0)
  start = jnp.where(valid[:, None], start, field.low)
  count = jnp.maximum(jnp.sum(valid), 1)

  def residuals_at(field, xy):
    xy = specular_points(field, wall, xy, source=source, steps=newton_steps)
    points = surface_points(field, jax.lax.stop_gradient(xy))
    lengths = path_length(points, wall, source)
    return xy, points, jnp.where(valid, lengths - measured, 0.0)

  def gauss_newton(carry, _):
    field, xy = carry
    xy, points, residuals = residuals_at(field, xy)
    far = points - wall
    rate = far[:, 2] / jnp.linalg.norm(far, axis=-1)
    near = far if source is None else points - source
    rate += near[:, 2] / jnp.linalg.norm(near, axis=-1)
    rows = _rows(xy, field.low, field.high, shape) * (rate * valid)[:, None]
    # The bending energy is that of the new surface; a constant has none.
    level = jnp.mean(field.control)
    control = (field.control - level).reshape(-1)
    control = _solve(rows, rows @ control - residuals, bending, shape)
    refined = field._replace(control=level + control.reshape(shape))
    return (refined, xy), jnp.sqrt(jnp.sum(jnp.square(residuals)) / count)

  start_state = (field, start)
  (field, xy), history = jax.lax.scan(
    gauss_newton, start_state, None, length=iterations
  )
  xy, points, residuals = residuals_at(field, xy)
  return Refined(field, points, surface_normals(field, xy), residuals, history)


def _rows(xy, low, high, shape):
  """Returns [n, P Q] weights of the control values in the heights."""
  along, across = bspline.weights(xy, low, high, shape)
  return (along[:, :, None] * across[:, None, :]).reshape(xy.shape[0], -1)


def _solve(rows, right, bending, shape):
  highest = jax.lax.Precision.HIGHEST
  normal = jnp.matmul(rows.T, rows, precision=highest)
  energy = jnp.asarray(bspline.bending_energy(shape), rows.dtype)
  # Planes have no bending energy: the last term decides where no point does.
  normal += bending * energy + 1e-6 * jnp.eye(normal.shape[0])
  return jax.scipy.linalg.solve(normal, rows.T @ right, assume_a="pos")
