"""The paper's simulated scenes: a plane, two spherical caps and a vase."""

import dataclasses
import functools
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.fermat_paths import (
  measurements,
  metrics,
  pipeline,
  rendering,
  surfaces,
)

SIDE = 100.0  # cm of the wall that the grid covers
BIN = 0.12  # cm: 4 ps of light
RADIUS = 38.0  # cm of both spheres
CONVEX_CENTER, CONVEX_RIM = (0.0, 0.0, 105.0), 81.98
CONCAVE_CENTER, CONCAVE_RIM = (0.0, 0.0, 63.0), 88.01
PLANE_DEPTH, PLANE_SIDE = 75.0, 60.0
VASE_HEIGHT, VASE_DEPTH = 46.0, 80.0


@dataclasses.dataclass(frozen=True)
class Scene:
  """A hidden surface and how it is reconstructed.

  Attributes:
    name: of the scene; that of the authors' .mat file.
    patch: the surface.
    settings: the authors' for the scene.
    errors: of points and normals, or None where only samples tell.
    hides_itself: whether parts of the surface may hide others.
  """

  name: str
  patch: surfaces.Patch
  settings: pipeline.Settings
  errors: Callable | None = None
  hides_itself: bool = False

  def samples(self, count: int) -> surfaces.Samples:
    return jax.jit(lambda: surfaces.sample_patch(self.patch, count))()

  def point_errors(self, points, normals) -> metrics.PointErrors:
    """Returns the errors of points and unit normals, both [N, 3]."""
    if self.errors is not None:
      return self.errors(points, normals)
    return metrics.sampled_errors(points, normals, self.samples(2**18))


def _angle(center, rim):
  return float(np.arccos(abs(rim - center[2]) / RADIUS))


SCENES = {
  "plane": Scene(
    "plane",
    surfaces.rectangle(PLANE_SIDE, PLANE_SIDE, PLANE_DEPTH),
    pipeline.PLANE,
    functools.partial(metrics.plane_errors, depth=PLANE_DEPTH),
  ),
  "convexSphere": Scene(
    "convexSphere",
    surfaces.cap(CONVEX_CENTER, RADIUS, _angle(CONVEX_CENTER, CONVEX_RIM)),
    pipeline.CONVEX,
    functools.partial(
      metrics.sphere_errors, center=CONVEX_CENTER, radius=RADIUS, inward=False
    ),
  ),
  "concaveSphere": Scene(
    "concaveSphere",
    surfaces.cap(
      CONCAVE_CENTER, RADIUS, _angle(CONCAVE_CENTER, CONCAVE_RIM), concave=True
    ),
    pipeline.CONCAVE,
    functools.partial(
      metrics.sphere_errors, center=CONCAVE_CENTER, radius=RADIUS, inward=True
    ),
  ),
  "vase": Scene(
    "vase",
    surfaces.revolution(surfaces.vase_profile, VASE_HEIGHT, VASE_DEPTH),
    pipeline.VASE,
    hides_itself=True,
  ),
}


def wall_grid(size: int, side: float = SIDE) -> chex.Array:
  """Returns [size, size, 3] wall points around the origin; y grows with the rows.

  Args:
    size: points along each side.
    side: of the square that they stand for, cm: a `size`-th of it lies around each.
  """
  steps = (jnp.arange(size, dtype=float) - (size - 1) / 2) * (side / size)
  x, y = jnp.meshgrid(steps, steps)
  return jnp.stack([x, y, jnp.zeros_like(x)], axis=-1)


def bin_centres(count: int) -> chex.Array:
  """Returns the [count] centres of bins from 0 on, cm."""
  return (jnp.arange(count, dtype=float) + 0.5) * BIN


render_transients = jax.jit(
  rendering.render, static_argnames=("reflectance", "occlusion")
)


def render(
  scene: Scene,
  grid: int,
  bins: int,
  samples: int,
  *,
  side: float = SIDE,
  reflectance: rendering.Reflectance = rendering.Reflectance(),  # noqa: B008
  source: chex.Array | None = None,
) -> measurements.Measurement:
  """Returns a scene's transients on a square grid of wall points.

  Args:
    scene: what is hidden.
    grid: wall points along each side.
    bins: number of bins of 0.12 cm from path length 0 on.
    samples: of the surface, for every wall point.
    side: of the square of the wall that the grid covers, cm.
    reflectance: of surface and wall.
    source: [3] the lit wall point; each detector's own when None.
  """
  wall, centres = wall_grid(grid, side), bin_centres(bins)
  occlusion = int(np.clip(np.sqrt(samples) / 4, 8, 128)) if scene.hides_itself else None
  transients = render_transients(
    scene.samples(samples),
    wall.reshape(-1, 3),
    centres,
    reflectance=reflectance,
    source=source,
    occlusion=occlusion,
  )
  transients = transients.reshape(grid, grid, bins)
  return measurements.Measurement(transients, centres, wall, source)
