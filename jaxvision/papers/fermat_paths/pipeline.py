"""From transients to oriented points (A10)."""

import dataclasses
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import local_fit
from jaxvision.papers.fermat_paths import branches, detection, flow


@dataclasses.dataclass(frozen=True)
class Settings:
  """How points are reconstructed, with the authors' defaults.

  Attributes:
    detector: of discontinuities.
    link: whether branches are linked by continuity, not by the detector's order.
    size: side of the neighbourhood of a fit, in grid points.
    spatial_sigma: of the fit's weights, grid points.
    range_sigma: of the fit's weights, cm.
    fit_error: the largest relative residual of a fit that counts.
    curvature_ratio: the smallest ratio of curvatures of a specular branch; those of
      boundary points are flat in one direction.
    margin: rows and columns at the grid's border that are left out.
    midpoint_normals: whether normals point to the middle of source and detector.
    type_margin: if positive, a specular point must turn the ray as the sign of its
      discontinuity says (flow.relative_curvatures), by this margin; 0 is the
      authors' way, without this check. Confocal only.
  """

  detector: detection.Detector = detection.Detector()  # noqa: RUF009 - immutable
  link: bool = False
  size: int = 5
  spatial_sigma: float = 8.0
  range_sigma: float = 10.0
  fit_error: float = 6e-4
  curvature_ratio: float = 0.0
  margin: int = 3
  midpoint_normals: bool = False
  type_margin: float = 0.0


CONCAVE = Settings(detection.CONCAVE, curvature_ratio=6e-5)
CONVEX = Settings(detection.CONVEX, curvature_ratio=8e-2)
PLANE = Settings(detection.PLANE, fit_error=float("inf"))
VASE = Settings(detection.VASE, fit_error=5e-4)
PRESETS = {"concave": CONCAVE, "convex": CONVEX, "plane": PLANE, "vase": VASE}


class Reconstruction(NamedTuple):
  """Points on the hidden surface, by wall point and branch.

  Attributes:
    paths: [H, W, K] Fermat path lengths, cm; NaN where missing.
    signs: [H, W, K] +1 for rising discontinuities, -1 for falling ones, 0 for none.
    derivatives: of the distances along the wall.
    points: [H, W, K, 3] cm, for specular and boundary points; else 0.
    normals: [H, W, K, 3] unit, towards the wall, for specular points; else 0.
    valid: [H, W, K] whether it is a specular point.
    boundary: [H, W, K] whether it is a point that is not specular, such as those of
      the surface's boundary: a position without a normal.
  """

  paths: chex.Array
  signs: chex.Array
  derivatives: flow.Derivatives
  points: chex.Array
  normals: chex.Array
  valid: chex.Array
  boundary: chex.Array


def reconstruct(
  transients: chex.Array,
  bins: chex.Array,
  wall: chex.Array,
  settings: Settings,
  *,
  source: chex.Array | None = None,
  frames: chex.Array | None = None,
) -> Reconstruction:
  """Reconstructs the hidden surface's points from transients on a grid of the wall.

  Args:
    transients: [H, W, m], any unit. A transient with NaN, or without light, is
      missing.
    bins: [m] or [H, W, m] path lengths of the bins' centres, cm.
    wall: [H, W, 3] where light is detected, cm.
    settings: with the detector.
    source: [3] the wall point that is lit; each detector's own when None (confocal).
    frames: [H, W, 3, 3] of the wall; see flow.derivatives.

  Source: A1-A6.
  """
  chex.assert_rank(transients, 3)
  chex.assert_rank(bins, {1, 3})
  height, width, size = transients.shape
  flat_bins = bins if bins.ndim == 1 else bins.reshape(-1, size)
  found = detection.detect(transients.reshape(-1, size), flat_bins, settings.detector)
  paths, signs = (leaf.reshape(height, width, -1) for leaf in found[:2])
  if settings.link:
    linked = branches.link(paths)
    # Paths of one point differ, so that each tells where its sign is.
    same = linked[..., :, None] == paths[..., None, :]
    signs = jnp.sum(jnp.where(same, signs[..., None, :], 0), axis=-1)
    paths = linked
  return from_paths(paths, signs, wall, settings, source=source, frames=frames)


def from_paths(
  paths: chex.Array,
  signs: chex.Array,
  wall: chex.Array,
  settings: Settings,
  *,
  source: chex.Array | None = None,
  frames: chex.Array | None = None,
) -> Reconstruction:
  """Reconstructs from Fermat path lengths [H, W, K]; arguments as above."""
  chex.assert_rank([paths, wall], [3, 3])
  frames = flow.plane_frames(wall) if frames is None else frames
  distances = paths / 2 if source is None else paths
  fitted = flow.derivatives(
    distances,
    wall,
    frames,
    size=settings.size,
    spatial_sigma=settings.spatial_sigma,
    range_sigma=settings.range_sigma,
  )
  directions, forward = flow.rays(fitted.gradient, frames[:, :, None])
  good = fitted.valid & forward & (fitted.fit_error <= settings.fit_error)
  good &= _inside(paths.shape[:2], settings.margin)[..., None]
  specular = fitted.curvature_ratio >= settings.curvature_ratio
  if settings.type_margin > 0 and source is None:
    specular &= _has_type(fitted, distances, signs, settings.type_margin)

  known = jnp.where(good, paths, 0.0)  # NaN would spoil gradients
  detectors = jnp.where(good[..., None], wall[:, :, None], 0.0)
  sources = None if source is None else jnp.broadcast_to(source, detectors.shape)
  points = flow.intersect(known, detectors, directions, sources)
  normals = flow.path_normals(
    points, detectors, sources, midpoint=settings.midpoint_normals
  )
  valid = good & specular
  return Reconstruction(
    paths=paths,
    signs=signs,
    derivatives=fitted,
    points=jnp.where(good[..., None], points, 0.0),
    normals=jnp.where(valid[..., None], normals, 0.0),
    valid=valid,
    boundary=good & ~specular,
  )


def oriented_points(reconstruction: Reconstruction):
  """Returns the specular points and normals, both [N, 3], of all branches."""
  valid = jax.device_get(reconstruction.valid)
  points, normals = jax.device_get((reconstruction.points, reconstruction.normals))
  return points[valid], normals[valid]


def _has_type(fitted, distances, signs, margin):
  """Whether the ray turns as the sign says, on average over each neighbourhood."""
  turns = flow.relative_curvatures(fitted.gradient, fitted.hessian, distances)
  usable = fitted.valid & jnp.isfinite(distances)
  around = local_fit.windows(jnp.where(usable[..., None], turns, jnp.nan), 5)
  known = jnp.isfinite(around)
  turns = jnp.sum(jnp.where(known, around, 0.0), axis=2)
  turns /= jnp.maximum(jnp.sum(known, axis=2), 1)
  is_minimum = turns[..., 1] < 1 - margin
  is_maximum = turns[..., 0] > 1 + margin
  return jnp.where(signs > 0, is_minimum, is_maximum)


def _inside(shape, margin):
  rows, columns = (
    (jnp.arange(n) >= margin) & (jnp.arange(n) < n - margin) for n in shape
  )
  return rows[:, None] & columns
