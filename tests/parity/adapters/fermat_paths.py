"""Our Fermat flow in the places of cmu-ci-lab/nlos_fermat_path's MATLAB helpers.

Arrays are in MATLAB's order: point (iy, ix) of a grid is entry iy + n_y * ix.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.fermat_paths import detection, flow, pipeline

_FITTED = {"size": 5, "spatial_sigma": 8.0, "range_sigma": 10.0}
_RADIUS, _CENTER = 38.0, np.array([0.0, 0.0, 105.0])


def to_grid(entries, shape):
  """[n, ...] in MATLAB's order -> [n_y, n_x, ...]."""
  columns = entries.reshape(shape[1], shape[0], *entries.shape[1:])
  return np.swapaxes(columns, 0, 1)


def from_grid(grid):
  grid = np.swapaxes(np.asarray(grid), 0, 1)
  return grid.reshape(-1, *grid.shape[2:])


def grid_shape(x, y):
  return len(np.unique(np.round(y, 9))), len(np.unique(np.round(x, 9)))


def filters(parameters, inputs):
  del parameters, inputs
  settings = ((0, 1), (1, 1), (0.3, 1), (0, 0.75))
  return {
    f"f{index}": detection.discontinuity_filter(*setting)
    for index, setting in enumerate(settings)
  }


def detect(parameters, inputs):
  del parameters
  transients = jnp.asarray(inputs["transients"], float)
  bins = jnp.asarray(inputs["bins"], float)
  two_sided = detection.Detector((0.0, 1.0), count=3, two_sided=True, sort=True)
  one_sided = detection.Detector((0.0,), (0.75,), count=2)
  run = jax.jit(detection.detect, static_argnums=2)
  response, _ = jax.jit(detection.filter_responses, static_argnums=1)(
    transients, two_sided
  )
  return {
    "tau": run(transients, bins, two_sided).paths,
    "response": response,
    "tau_one_sided": run(transients, bins, one_sided).paths,
  }


def fit(parameters, inputs):
  del parameters
  shape = grid_shape(inputs["X"], inputs["Y"])
  x, y, z = (to_grid(inputs[name], shape) for name in "XYZ")
  wall = jnp.asarray(np.stack([x, y, np.zeros_like(x)], axis=-1))
  run = jax.jit(functools.partial(flow.derivatives, **_FITTED))
  fitted = run(jnp.asarray(z), wall)
  return {
    "xD": from_grid(fitted.gradient[..., 0]),
    "yD": from_grid(fitted.gradient[..., 1]),
    "ratio": from_grid(fitted.curvature_ratio),
    "fit_error": from_grid(fitted.fit_error),
    "valid": from_grid(fitted.valid),
  }


def intersect(parameters, inputs):
  del parameters
  detectors, sources, rays = (jnp.asarray(inputs[n]).T for n in ("det", "src", "dir"))
  paths = jnp.asarray(inputs["L"])
  confocal = flow.intersect(paths, detectors, rays)
  bistatic = flow.intersect(paths + 20.0, detectors, rays, sources)
  return {
    "point": confocal.T,
    "normal": flow.path_normals(confocal, detectors, midpoint=True).T,
    "point_nc": bistatic.T,
    "normal_nc": flow.path_normals(bistatic, detectors, sources, midpoint=True).T,
  }


def convex_sphere(parameters, inputs):
  del parameters
  wall = inputs["det"]
  shape = grid_shape(wall[:, 0], wall[:, 1])
  settings = dataclasses.replace(
    pipeline.CONVEX,
    detector=dataclasses.replace(detection.CONVEX, count=1),
    midpoint_normals=True,
  )
  found = jax.jit(pipeline.reconstruct, static_argnums=3)(
    jnp.asarray(to_grid(inputs["transients"], shape), float),
    jnp.asarray(inputs["bins"], float),
    jnp.asarray(to_grid(wall, shape), float),
    settings,
  )
  points, normals, valid = (
    from_grid(leaf) for leaf in (found.points, found.normals, found.valid)
  )
  points = np.where(valid[..., None], points, 0.0)
  outward = points[valid[:, 0], 0] - _CENTER
  distance = np.linalg.norm(outward, axis=1)
  cosine = np.sum(outward / distance[:, None] * normals[valid[:, 0], 0], axis=1)
  return {
    "tau": from_grid(found.paths),
    "points": points,
    "normals": normals,
    "valid": valid,
    "median_abs_error_branch0": np.median(np.abs(distance - _RADIUS)),
    "median_normal_error_deg_branch0": np.median(
      np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    ),
  }


ADAPTERS = {
  "filters": filters,
  "detect": detect,
  "fit": fit,
  "intersect": jax.jit(intersect),
  "convex_sphere": convex_sphere,
}
