"""The measurements behind the claims: small scenes whose truth is known exactly."""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.fermat_paths import (
  baselines,
  closed_forms,
  detection,
  flow,
  metrics,
  noise,
  pipeline,
  refinement,
  rendering,
  scenes,
  surfaces,
)

_SIDE = 76.8  # cm of the wall that the small grids cover
_reconstruct = jax.jit(pipeline.reconstruct, static_argnums=3)
_detect = jax.jit(detection.detect, static_argnums=2)
_render = scenes.render_transients
_sphere = jax.jit(closed_forms.sphere_transient)
_bowl = jax.jit(closed_forms.bowl_transient)
_measure = jax.jit(
  functools.partial(noise.measure, jitter=1.0, tail=5.0, tail_share=0.2, ambient=0.1)
)
_pca_normals = jax.jit(baselines.pca_normals)
_difference_normals = jax.jit(baselines.difference_normals)
_SPHERE = jnp.array(scenes.CONVEX_CENTER)
_BOWL = jnp.array(scenes.CONCAVE_CENTER)


class ExactScene(NamedTuple):
  """A scene with closed-form transients.

  Attributes:
    transients: [H, W, m].
    bins: [m].
    wall: [H, W, 3].
    points: [H, W, 3] the Fermat points of one branch.
    types: [H, W] +1 minimum, -1 maximum, by curvature and distance (T4).
    detector: one discontinuity, either sign.
    errors: of points and normals.
  """

  transients: chex.Array
  bins: chex.Array
  wall: chex.Array
  points: chex.Array
  types: chex.Array
  detector: detection.Detector
  errors: functools.partial


def exact_scenes(grid: int, bins: int, side: float = _SIDE) -> dict[str, ExactScene]:
  """Returns a sphere, a bowl that gives maxima, one that gives minima, a plane.

  Args:
    grid: wall points along each side.
    bins: of 0.12 cm.
    side: of the square of the wall that they stand for, cm.
  """
  wall, centres = scenes.wall_grid(grid, side), scenes.bin_centres(bins)
  radius, depth = scenes.RADIUS, scenes.PLANE_DEPTH
  shallow_center, shallow_radius = jnp.array([0.0, 0.0, -40.0]), 120.0
  detector = dataclasses.replace(detection.CONVEX, count=1)

  def build(transients, points, curvature, errors):
    distances = jnp.linalg.norm(points - wall, axis=-1)
    curvatures = jnp.full((*distances.shape, 2), curvature)
    types = closed_forms.stationary_type(curvatures, distances)
    return ExactScene(transients, centres, wall, points, types, detector, errors)

  def distances(center):
    return jnp.linalg.norm(wall - center, axis=-1, keepdims=True)

  def errors(center, radius, inward):
    return functools.partial(
      metrics.sphere_errors, center=np.asarray(center), radius=radius, inward=inward
    )

  shallow = _bowl(centres, distances(shallow_center), shallow_radius)
  plane = closed_forms.plane_transient(centres, depth)
  return {
    "sphere": build(
      _sphere(centres, distances(_SPHERE), radius),
      closed_forms.sphere_point(wall, _SPHERE, radius),
      1 / radius,
      errors(_SPHERE, radius, inward=False),
    ),
    "bowl": build(
      _bowl(centres, distances(_BOWL), radius),
      closed_forms.sphere_point(wall, _BOWL, radius, far=True),
      -1 / radius,
      errors(_BOWL, radius, inward=True),
    ),
    "shallow bowl": build(
      jnp.where(centres < 220, shallow, 0.0),  # it ends before its far side turns
      closed_forms.sphere_point(wall, shallow_center, shallow_radius),
      -1 / shallow_radius,
      errors(shallow_center, shallow_radius, inward=True),
    ),
    "plane": build(
      jnp.broadcast_to(plane, (grid, grid, bins)),
      closed_forms.plane_point(wall, depth),
      0.0,
      functools.partial(metrics.plane_errors, depth=depth),
    ),
  }


def settings_of(scene: ExactScene) -> pipeline.Settings:
  """Returns the authors' fit without a bar on its residual."""
  return pipeline.Settings(scene.detector, fit_error=float("inf"))


def accuracy(scene: ExactScene) -> tuple[metrics.PointErrors, pipeline.Reconstruction]:
  """Returns the errors of A1-A6 with the authors' fit."""
  settings = settings_of(scene)
  found = _reconstruct(scene.transients, scene.bins, scene.wall, settings)
  return scene.errors(*pipeline.oriented_points(found)), found


def sign_agreement(scene: ExactScene) -> float:
  """Returns the share of wall points whose strongest edge has the sign of T4.

  The edge must also lie within two bins of the Fermat path.
  """
  _, found = accuracy(scene)
  truth = 2 * np.linalg.norm(scene.points - scene.wall, axis=-1)
  near = np.abs(found.paths[:, :, 0] - truth) <= 2 * scenes.BIN
  agree = near & (np.asarray(found.signs[:, :, 0]) == np.asarray(scene.types))
  return float(np.mean(agree))


def normal_errors(scene: ExactScene) -> dict[str, float]:
  """Returns median errors in degrees of three ways to normals, at the same points."""
  errors, _ = compare_normals(scene)
  return {way: float(np.median(angle)) for way, angle in errors.items()}


def compare_normals(scene: ExactScene) -> tuple[dict, dict]:
  """Returns errors in degrees of three ways to normals, at the same points.

  Returns:
    {way: [N]} and the same as {way: [H, W]} by wall point, NaN without a normal.
  """
  _, found = accuracy(scene)
  points, valid = found.points[:, :, 0], found.valid[:, :, 0]
  pca, enough = _pca_normals(points, valid)
  differences, inner = _difference_normals(points, valid)
  kept = np.asarray(enough & inner)
  ways = {"flow": found.normals[:, :, 0], "pca": pca, "differences": differences}
  errors, maps = {}, {}
  for way, normals in ways.items():
    chosen = np.asarray(points)[kept], np.asarray(normals)[kept]
    errors[way] = scene.errors(*chosen).angle
    maps[way] = np.full(kept.shape, np.nan)
    maps[way][kept] = errors[way]
  return errors, maps


def refinement_errors(
  scene: ExactScene, seed: int, share: float = 0.02
) -> dict[str, float]:
  """Returns median distances in cm before and after refining noisy points.

  Args:
    scene: to take path lengths from, as detected.
    seed: of the noise.
    share: standard deviation of the noise on the gradient, whose length is below 1.
  """
  _, found = accuracy(scene)
  gradient = found.derivatives.gradient[:, :, 0]
  shape = gradient.shape
  noisy = gradient + share * jax.random.normal(jax.random.key(seed), shape)
  directions, forward = flow.rays(noisy, flow.plane_frames(scene.wall))
  valid = (found.valid[:, :, 0] & forward).reshape(-1)
  paths = found.paths[:, :, 0]
  points = flow.intersect(paths, scene.wall, directions).reshape(-1, 3)
  wall = scene.wall.reshape(-1, 3)

  start, refined = _fit_and_refine(points, valid, wall, paths.reshape(-1))

  def error(points):
    chosen = np.asarray(points)[np.asarray(valid)]
    return float(np.median(scene.errors(chosen, np.zeros_like(chosen)).distance))

  return {"points": error(points), "start": error(start), "refined": error(refined)}


@jax.jit
def _fit_and_refine(points, valid, wall, paths):
  """Returns the specular points of a spline through points, and of the refined one."""
  field = refinement.fit_heights(points, valid, (9, 9), bending=1e-3)
  xy = refinement.specular_points(field, wall, points[:, :2])
  refined = refinement.refine(field, wall, paths, points[:, :2], valid, bending=1e-4)
  return refinement.surface_points(field, xy), refined.points


def brdf_study(grid: int, bins: int, samples: int) -> list[dict]:
  """Returns, for several reflectances of the sphere, how much two quantities change.

  Albedos and exponents change with lobes as high as the diffuse part; then, marked
  "equal power", with lobes that reflect as much light at every exponent and are up to
  26 times as high.
  """
  wall = scenes.wall_grid(grid, 60.0).reshape(-1, 3)
  centres = scenes.bin_centres(bins)
  sphere = scenes.SCENES["convexSphere"].samples(samples)
  voxels = baselines.voxel_grid((-15, -15, 62), (15, 15, 82), 2.0).reshape(-1, 3)
  project = jax.jit(baselines.back_project)
  wide = dataclasses.replace(detection.CONVEX, count=1)
  narrow = dataclasses.replace(wide, sigmas=(0.25,))
  rows, reference = [], None
  for diffuse, lobe, exponent, equal_power in (
    (1.0, 0.0, 0.0, False),
    (0.25, 0.0, 0.0, False),
    (0.5, 0.5, 1.0, False),
    (0.5, 0.5, 10.0, False),
    (0.5, 0.5, 50.0, False),
    (0.1, 0.1, 50.0, False),
    (0.5, 3.0, 10.0, True),
    (0.5, 13.0, 50.0, True),
  ):
    reflectance = rendering.Reflectance(diffuse, lobe, exponent)
    transients = _render(sphere, wall, centres, reflectance=reflectance)
    paths = [_detect(transients, centres, d).paths[:, 0] for d in (wide, narrow)]
    peak = float(jnp.max(project(transients, centres, wall, voxels)))
    reference = reference or (paths, peak)
    changes = [
      round(float(jnp.max(jnp.abs(now - before))) / scenes.BIN, 3)
      for now, before in zip(paths, reference[0], strict=True)
    ]
    rows.append(
      {
        "diffuse": diffuse,
        "lobe": lobe,
        "exponent": exponent,
        "equal power": equal_power,
        "path change, bins": changes[0],
        "path change with narrow filters, bins": changes[1],
        "back-projection peak": peak / reference[1],
      }
    )
  return rows


def noise_study(grid: int, bins: int, seeds: tuple[int, ...]) -> list[dict]:
  """Returns what is left of the sphere at several numbers of photons."""
  scene = exact_scenes(grid, bins)["sphere"]
  truth = 2 * np.linalg.norm(scene.points - scene.wall, axis=-1).reshape(-1, 1)
  settings = settings_of(scene)
  rows = []
  for photons in (1e3, 1e4, 1e5):
    scores, distances, shares = [], [], []
    for seed in seeds:
      measured = _measure(jax.random.key(seed), scene.transients, photons)
      found = _reconstruct(measured, scene.bins, scene.wall, settings)
      paths = np.asarray(found.paths).reshape(-1, 1)
      scores.append(metrics.detection_scores(paths, truth, 2 * scenes.BIN)[0])
      errors = scene.errors(*pipeline.oriented_points(found)).distance
      distances.append(np.median(errors) if len(errors) else np.nan)
      shares.append(len(errors) / max((grid - 6) ** 2, 1))
    rows.append(
      {
        "photons": f"{photons:g}",
        "found within 2 bins": round(float(np.mean(scores)), 3),
        "points kept": round(float(np.mean(shares)), 3),
        "median distance, cm": round(float(np.nanmean(distances)), 4),
      }
    )
  return rows


def bistatic_errors(grid: int, bins: int, samples: int) -> dict[str, float]:
  """Returns median errors with one fixed source: cm, and degrees of both normals."""
  source = jnp.array([45.0, 30.0, 0.0])
  scene = scenes.SCENES["convexSphere"]
  measured = scenes.render(scene, grid, bins, samples, source=source)
  settings = pipeline.Settings(
    dataclasses.replace(detection.CONVEX, count=1), fit_error=float("inf")
  )
  result = _reconstruct(
    measured.transients, measured.bins, measured.wall, settings, source=source
  )
  valid = np.asarray(result.valid)
  midpoints = flow.path_normals(
    result.points,
    jnp.broadcast_to(measured.wall[:, :, None], result.points.shape),
    jnp.broadcast_to(source, result.points.shape),
    midpoint=True,
  )
  points, normals = pipeline.oriented_points(result)
  errors = scene.point_errors(points, normals)
  return {
    "distance": float(np.median(errors.distance)),
    "half angle": float(np.median(errors.angle)),
    "midpoint": float(
      np.median(scene.point_errors(points, np.asarray(midpoints)[valid]).angle)
    ),
  }


def renderer_errors(samples: int) -> list[dict]:
  """Returns relative L1 errors of rendered transients, and of their steps' heights."""
  centres, radius = scenes.bin_centres(2400), scenes.RADIUS
  wall = jnp.array([[7.0, -4.0, 0.0]])
  depth, wide = 30.0, 200.0
  sphere_distance = jnp.linalg.norm(wall[0] - _SPHERE)
  bowl_distance = jnp.linalg.norm(wall[0] - _BOWL)
  bend, apex = (0.02, -0.004), 60.0  # a minimum with unequal curvatures
  top = jnp.array([[0.0, 0.0, 0.0]])
  cases = (
    (
      "plane",
      surfaces.rectangle(wide, wide, depth),
      wall,
      jnp.where(centres < 160, closed_forms.plane_transient(centres, depth), 0.0),
      (2 * depth, (0.0, 0.0), depth, 1),
    ),
    (
      "sphere",
      surfaces.cap(scenes.CONVEX_CENTER, radius, np.pi),
      wall,
      closed_forms.sphere_transient(centres, sphere_distance, radius),
      (
        2 * (sphere_distance - radius),
        (1 / radius, 1 / radius),
        sphere_distance - radius,
        1,
      ),
    ),
    (
      "bowl",
      surfaces.cap(scenes.CONCAVE_CENTER, radius, np.pi, concave=True),
      wall,
      closed_forms.bowl_transient(centres, bowl_distance, radius),
      (
        2 * (bowl_distance + radius),
        (-1 / radius, -1 / radius),
        bowl_distance + radius,
        -1,
      ),
    ),
    (
      "paraboloid",
      surfaces.paraboloid(apex, bend, 30.0),
      top,
      None,
      (2 * apex, bend, apex, 1),
    ),
  )
  rows = []
  for name, patch, detector, truth, (path, curvatures, distance, side) in cases:
    drawn = jax.jit(functools.partial(surfaces.sample_patch, patch, samples))()
    transient = _render(drawn, detector, centres)[0]
    # The infinite plane is compared as far as the rectangle is complete.
    kept = jnp.where(centres < 160, 1.0, 0.0) if name == "plane" else 1.0
    height = float(
      closed_forms.step_height(
        1 / jnp.asarray(distance) ** 4, jnp.array(curvatures), jnp.asarray(distance)
      )
    )
    measured = step_at(np.asarray(transient), float(path), side)
    row = {"surface": name, "step error": abs(measured / height - 1)}
    if truth is not None:
      error = jnp.sum(jnp.abs(transient * kept - truth)) / jnp.sum(truth)
      row["L1 error"] = float(error)
    rows.append(row)
  return rows


def step_at(transient: np.ndarray, path: float, side: int) -> float:
  """Returns the height of a transient beside a step, by a line through ten bins.

  Args:
    transient: [m] in bins from 0 on.
    path: of the step, cm.
    side: +1 for what follows the step, -1 for what precedes it.
  """
  first = path / scenes.BIN + side * 2  # the bin of the step is only partly filled
  places = np.round(first).astype(int) + side * np.arange(10)
  offsets = (places + 0.5) * scenes.BIN - path
  slope_and_height = np.polyfit(offsets, transient[places], 1)
  return float(slope_and_height[1])
