"""Fermat flow: from the gradient of path lengths to points and normals (T5-T7, A4-A6).

On a branch of path lengths τ(v) with one Fermat point x each, the change of τ along the
wall tells in which direction x lies: the gradient of τ/2 (confocal) or of τ (one source
for all v) is -(x - v)/|x - v|, seen along the wall.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import local_fit


class Derivatives(NamedTuple):
  """How distances change along the wall.

  Attributes:
    gradient: [H, W, K, 2] along the wall's two tangents, no unit.
    hessian: [H, W, K, 2, 2] 1/cm.
    curvature_ratio: [H, W, K] in [0, 1], smaller over larger eigenvalue of the
      Hessian; 0 where both are.
    fit_error: [H, W, K] mean absolute residual over the root mean square distance.
    valid: [H, W, K] whether there is a distance and a fit around it; where not,
      everything else is 0.
  """

  gradient: chex.Array
  hessian: chex.Array
  curvature_ratio: chex.Array
  fit_error: chex.Array
  valid: chex.Array


def plane_frames(wall: chex.Array) -> chex.Array:
  """Returns [H, W, 3, 3] frames (rows: tangents, normal) of the wall z = const."""
  return jnp.broadcast_to(jnp.eye(3, dtype=wall.dtype), (*wall.shape, 3))


def derivatives(
  distances: chex.Array,
  wall: chex.Array,
  frames: chex.Array | None = None,
  *,
  size: int = 5,
  spatial_sigma: float = 8.0,
  range_sigma: float = 10.0,
) -> Derivatives:
  """Fits a quadratic to each branch of distances around every wall point.

  Args:
    distances: [H, W, K] τ/2 (confocal) or τ in cm; NaN where missing.
    wall: [H, W, 3] points, cm; NaN where missing.
    frames: [H, W, 3, 3] two orthogonal unit tangents of the wall and its normal
      towards the hidden scene, in rows; those of the plane z = 0 when None.
    size: side of the neighbourhood in grid points, odd.
    spatial_sigma: of the Gaussian weights, in grid points.
    range_sigma: of the weights on the difference in distance, cm.

  Source: A4, T7.
  """
  chex.assert_rank([distances, wall], [3, 3])
  chex.assert_type([distances, wall], float)
  chex.assert_shape(wall, (*distances.shape[:2], 3))
  frames = plane_frames(wall) if frames is None else frames
  chex.assert_shape(frames, (*wall.shape, 3))

  around = local_fit.windows(wall, size) - wall[:, :, None]
  highest = jax.lax.Precision.HIGHEST
  offsets = jnp.einsum("hwsc,hwtc->hwst", around, frames[..., :2, :], precision=highest)
  nearby = jnp.moveaxis(local_fit.windows(distances, size), 2, 3)  # [H, W, K, S]
  change = (nearby - distances[..., None]) / range_sigma
  known = jnp.isfinite(change)
  change = jnp.where(known, change, 0.0)
  spatial = jnp.asarray(local_fit.gaussian_window(size, spatial_sigma), wall.dtype)
  weights = jnp.where(known, spatial * jnp.exp(-0.5 * jnp.square(change)), 0.0)
  nearby = jnp.where(known, nearby, jnp.nan)

  offsets = jnp.broadcast_to(offsets[:, :, None], (*nearby.shape, 2))
  fitted = local_fit.fit(offsets, nearby, weights)
  eigenvalues = jnp.abs(local_fit.symmetric_eigenvalues(fitted.hessian))
  largest = jnp.max(eigenvalues, axis=-1)
  ratio = jnp.min(eigenvalues, axis=-1) / jnp.where(largest > 0, largest, 1.0)
  error = fitted.mean_residual / jnp.where(fitted.rms > 0, fitted.rms, 1.0)
  return Derivatives(fitted.gradient, fitted.hessian, ratio, error, fitted.valid)


def rays(gradient: chex.Array, frames: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns unit directions from the wall to the Fermat points.

  Args:
    gradient: [..., 2] of the distances along the tangents.
    frames: [..., 3, 3] tangents and normal in rows.

  Returns:
    [..., 3] directions and [...] booleans: whether the gradient is shorter than 1.
    Where it is not, the direction is the wall's normal.

  Source: T5. Eq. 11 as printed has the other sign, with the scene at z < 0.
  """
  chex.assert_shape(gradient, (..., 2))
  chex.assert_shape(frames, (..., 3, 3))
  rest = 1.0 - jnp.sum(jnp.square(gradient), axis=-1)
  valid = rest > 0  # NaN is not
  gradient = jnp.where(valid[..., None], gradient, 0.0)
  along_normal = jnp.sqrt(jnp.where(valid, rest, 1.0))
  local = jnp.concatenate([-gradient, along_normal[..., None]], axis=-1)
  highest = jax.lax.Precision.HIGHEST
  return jnp.einsum("...t,...tc->...c", local, frames, precision=highest), valid


def relative_curvatures(
  gradient: chex.Array, hessian: chex.Array, distances: chex.Array
) -> chex.Array:
  """Returns how fast the ray turns along the wall, 1 if it turns around one point.

  The principal curvatures of the distance function across the ray, times the
  distance: with the surface's curvature k (positive where it bends away) and the
  distance ρ they are k ρ / (1 + k ρ). Both are below 1 at a minimum of the path
  length, both above 1 at a maximum, one at a saddle, and one is 1 at a point of the
  boundary. The sign of a discontinuity must agree.

  Args:
    gradient: [..., 2] of the distance τ/2 along the wall's tangents, shorter than 1.
    hessian: [..., 2, 2] 1/cm.
    distances: [...] cm.

  Returns:
    [..., 2] ascending, no unit.

  Source: T4, as seen from the wall (ours).
  """
  chex.assert_shape(hessian, (*gradient.shape, 2))
  # Seen along the slanted ray the wall is shortened by the metric 1 - g gᵀ, whose
  # inverse root is 1 + s g gᵀ.
  squared = jnp.sum(jnp.square(gradient), axis=-1)
  squared = jnp.where(squared < 1, squared, 0.0)
  root = jnp.sqrt(1 - squared)
  stretch = 1 / (root * (1 + root))
  outer = gradient[..., :, None] * gradient[..., None, :]
  inverse_root = jnp.eye(2) + stretch[..., None, None] * outer
  across = inverse_root @ hessian @ inverse_root
  return local_fit.symmetric_eigenvalues(across) * distances[..., None]


def intersect(
  paths: chex.Array,
  detectors: chex.Array,
  directions: chex.Array,
  sources: chex.Array | None = None,
) -> chex.Array:
  """Returns where rays meet the surfaces of constant path length.

  Args:
    paths: [...] path lengths τ, cm.
    detectors: [..., 3] wall points that the rays leave from.
    directions: [..., 3] of the rays, of any length but 0.
    sources: [..., 3] wall points that are lit, the other focus of the ellipsoids; the
      detectors when None (spheres).

  Returns:
    [..., 3] points; negative distances along the ray where τ is shorter than the
    distance between source and detector.

  Source: T6.
  """
  chex.assert_shape([detectors, directions], (..., 3))
  directions = directions / jnp.linalg.norm(directions, axis=-1, keepdims=True)
  if sources is None:
    return detectors + 0.5 * paths[..., None] * directions
  between = detectors - sources
  reach = jnp.square(paths) - jnp.sum(jnp.square(between), axis=-1)
  rate = 2 * (jnp.sum(between * directions, axis=-1) + paths)
  along = reach / jnp.where(rate > 0, rate, 1.0)
  along = jnp.where(rate > 0, along, 0.0)
  return detectors + along[..., None] * directions


def path_normals(
  points: chex.Array,
  detectors: chex.Array,
  sources: chex.Array | None = None,
  *,
  midpoint: bool = False,
) -> chex.Array:
  """Returns the unit normals at specular points, towards the wall.

  Args:
    points: [..., 3].
    detectors: [..., 3].
    sources: [..., 3]; the detectors when None.
    midpoint: whether to point to the middle between source and detector, as the
      authors' code does, instead of halving the angle between the two legs.

  Returns:
    [..., 3]; +0 where a point coincides with what it points to.

  Source: T6.
  """
  chex.assert_shape([points, detectors], (..., 3))
  sources = detectors if sources is None else sources
  if midpoint:
    return _unit(0.5 * (detectors + sources) - points)
  return _unit(_unit(detectors - points) + _unit(sources - points))


def _unit(vectors):
  squared = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
  positive = squared > 0
  inverse = jax.lax.rsqrt(jnp.where(positive, squared, 1.0))
  return jnp.where(positive, vectors * inverse, 0.0)
