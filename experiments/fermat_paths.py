"""A Theory of Fermat Paths for NLOS Shape Reconstruction (Xin et al., CVPR 2019).

The story: light that reaches a hidden surface by way of a wall comes back with
transients that are discontinuous at the lengths of Fermat paths, whatever the surface
reflects. Detected at every point of a grid on the wall, these lengths, and how they
change along the wall, give points and normals of the surface, and Poisson's equation
the surface itself. Nothing is learned.

  python -m experiments.fermat_paths [--preset=demo]

The demo renders the paper's four scenes on its own 64 x 64 grid, with fewer samples
and without the bins that no light reaches. The paper preset reads the authors'
transients from --data_dir: plane.mat, convexSphere.mat, concaveSphere.mat, vase.mat.

--mode=predict reconstructs your own transients, .mat or .npz files in the authors'
layout (jaxvision/papers/fermat_paths/measurements.py), with the parameters that
--config.kind names. It needs no earlier run; give each kind a --workdir of its own.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import archives
from jaxvision.errors import UserError
from jaxvision.papers.fermat_paths import (
  claims,
  detection,
  figures,
  measurements,
  metrics,
  pipeline,
  point_files,
  poisson_surface,
  scenes,
  studies,
)
from jaxvision.train import launcher

CITATION = (
  "S. Xin, S. Nousias, K. N. Kutulakos, A. C. Sankaranarayanan, S. G. Narasimhan and "
  "I. Gkioulekas, A Theory of Fermat Paths for Non-Line-of-Sight Shape "
  "Reconstruction, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """What is measured and how; lengths are in cm, bins of 0.12 cm."""

  # Transients: rendered here, or the authors' files from --data_dir.
  source: Literal["render", "authors"] = "authors"
  scenes: tuple[str, ...] = tuple(scenes.SCENES)
  grid: int = 64  # wall points along each side
  side: float = 100.0  # cm of the square of the wall that the grid covers
  bins: int = 4096
  samples: int = 1_000_000  # of the surface, for every wall point

  # Reconstruction, beside the authors' parameters of each scene.
  kind: Literal["concave", "convex", "plane", "vase"] = "concave"  # for predict
  link: bool = True  # branches by continuity, not by the order of path lengths
  type_margin: float = 0.1  # how clearly a point must be of its step's type
  rescale_sigma: bool = True  # for predict: filters as wide in cm as the authors'

  # The small studies behind the claims, and those of noise and of one fixed source.
  studies: tuple[str, ...] = (
    "exact",
    "refinement",
    "renderer",
    "reflectance",
    "noise",
    "source",
    "gallery",
  )
  study_grid: int = 16
  study_bins: int = 2400
  study_samples: int = 1_000_000
  gallery_samples: int = 1_000_000
  seeds: tuple[int, ...] = (0, 1, 2)


PRESETS = {
  "smoke": Config(
    source="render",
    scenes=("concaveSphere",),
    grid=16,
    side=40.0,
    bins=2400,
    samples=32_768,
    studies=("exact",),
  ),
  "demo": Config(source="render", bins=2400, samples=131_072),
  "paper": Config(),
}

_reconstruct = jax.jit(pipeline.reconstruct, static_argnums=3)


def settings_of(config: Config, settings: pipeline.Settings) -> pipeline.Settings:
  return dataclasses.replace(settings, link=config.link, type_margin=config.type_margin)


def scene_of(name: str) -> scenes.Scene:
  if name not in scenes.SCENES:
    raise UserError(
      f"--config.scenes: no scene {name!r}; known are {', '.join(scenes.SCENES)}"
    )
  return scenes.SCENES[name]


def measure(config: Config, run, name: str) -> measurements.Measurement:
  """Returns the transients of a scene."""
  if config.source == "render":
    return scenes.render(
      scene_of(name), config.grid, config.bins, config.samples, side=config.side
    )
  if run.data_dir is None:
    raise UserError(f"the authors' {name}.mat is read from --data_dir=DIR")
  return measurements.read(run.data_dir / f"{name}.mat")


def reconstruct(measured: measurements.Measurement, settings: pipeline.Settings):
  """Returns the Reconstruction of a measurement."""
  transients, bins, wall, source = measured
  check_grid(wall.shape[:2], settings)
  source = None if source is None else jnp.asarray(source)
  arrays = map(jnp.asarray, (transients, bins, wall))
  return _reconstruct(*arrays, settings, source=source)


def check_grid(shape: tuple[int, int], settings: pipeline.Settings) -> None:
  if min(shape) <= 2 * settings.margin:
    raise UserError(
      f"a wall grid of {shape[0]} x {shape[1]} points has none left inside its margin "
      f"of {settings.margin} points"
    )


def train(config: Config, run) -> None:
  """Measures and reconstructs every scene; there is nothing to learn."""
  for name in config.scenes:
    settings = settings_of(config, scene_of(name).settings)
    measured = measure(config, run, name)
    found = reconstruct(measured, settings)
    middle = measured.wall.shape[0] // 2
    arrays = {
      "wall": measured.wall,
      "bins": measured.bins if measured.bins.ndim == 1 else measured.bins[middle, 0],
      "line": measured.transients[middle],
      **{field: getattr(found, field) for field in _KEPT},
    }
    archives.write_npz(
      run.workdir / f"{name}.npz", {k: np.asarray(v) for k, v in arrays.items()}
    )
    run.log(f"{name}: {int(np.sum(found.valid))} oriented points")


_KEPT = ("paths", "signs", "points", "normals", "valid", "boundary")


def load(run, name: str) -> tuple[pipeline.Reconstruction, dict[str, np.ndarray]]:
  """Returns what `train` kept of a scene."""
  path = run.workdir / f"{name}.npz"
  if not path.exists():
    raise UserError(f"{path}: no such file; run with --mode=train first")
  arrays = archives.read_npz(path)
  kept = {field: arrays[field] for field in _KEPT}
  return pipeline.Reconstruction(derivatives=None, **kept), arrays


def evaluate(config: Config, run) -> None:
  """Measures the scenes' surfaces and makes the paper's comparisons again."""
  rows, surfaces = [], {}
  for name in config.scenes:
    found, arrays = load(run, name)
    row, surface = evaluate_scene(name, found)
    rows.append(row)
    truth = figures.patch_surface(scene_of(name).patch)
    surfaces[name] = surface, truth
    draw_branches(config, run, name, found, arrays)
    if name == "concaveSphere":
      claims.claim_branches(run, found, arrays["wall"])
  run.table(
    "scenes",
    rows,
    "Oriented points and Poisson surfaces against the true surfaces; the paper's "
    "published clouds: convex sphere 0.014 cm and 0.31 degrees, concave sphere 0.030 "
    "cm and 0.29 degrees, plane 0.036 cm and 3.3 degrees.",
  )
  run.figure(
    "surfaces",
    figures.surfaces_figure(surfaces),
    "Poisson surfaces through the points, beside the hidden surfaces, from two sides.",
  )
  evaluate_studies(config, run)


def evaluate_scene(name: str, found) -> tuple[dict, poisson_surface.Surface]:
  """Returns a row of errors of a scene, and its Poisson surface."""
  scene = scene_of(name)
  points, normals = pipeline.oriented_points(found)
  surface = poisson_surface.fit_surface(points, normals)
  errors = scene.point_errors(points, normals)
  truth = np.asarray(scene.samples(4096).points)
  away = scene.point_errors(surface.vertices, np.zeros_like(surface.vertices)).distance
  return {
    "scene": name,
    "points": len(points),
    "median distance, cm": _quantile(errors.distance, 0.5),
    "90 % distance, cm": _quantile(errors.distance, 0.9),
    "median angle, degrees": _quantile(errors.angle, 0.5),
    "within 5 mm of a point": metrics.completeness(points, truth, 0.5),
    "surface's median distance, cm": _quantile(away, 0.5),
    "within 5 mm of the surface": metrics.completeness(surface.vertices, truth, 0.5),
  }, surface


def _quantile(values, share):
  return float(np.quantile(values, share)) if len(values) else float("nan")


def draw_branches(config: Config, run, name: str, found, arrays) -> None:
  middle = arrays["wall"].shape[0] // 2
  run.figure(
    f"transients of {name}",
    figures.branches_figure(
      arrays["line"],
      arrays["bins"],
      found.paths[middle],
      found.signs[middle],
      arrays["wall"][middle, :, 0],
      settings_of(config, scene_of(name).settings).detector,
    ),
    f"{name}: transients along the middle of the wall; red paths are rising "
    "discontinuities, blue ones falling.",
  )


def evaluate_studies(config: Config, run) -> None:
  """Makes the claims that need scenes of their own, and the other studies."""
  grid, bins = config.study_grid, config.study_bins
  few = config.study_samples // 8
  exact = studies.exact_scenes(grid, bins)
  if "exact" in config.studies:
    claims.claim_accuracy(run, exact)
    claims.claim_signs(run, exact)
    # How normals compare depends on the grid's pitch: here it is the paper's.
    fine = studies.exact_scenes(config.grid, bins, config.side)
    claims.claim_normals(run, fine)
    draw_normals(run, fine["sphere"])
  if "refinement" in config.studies:
    claims.claim_refinement(run, exact["sphere"], config.seeds)
  if "renderer" in config.studies:
    claims.claim_renderer(run, config.study_samples)
  if "reflectance" in config.studies:
    claims.claim_reflectance(run, studies.brdf_study(8, bins, few))
  if "noise" in config.studies:
    run.table(
      "noise",
      studies.noise_study(grid, bins, config.seeds),
      "The sphere's exact transients as a detector counts them: jitter of 1 bin, a "
      "tail of 5 bins with a fifth of the photons, a tenth of ambient light.",
    )
  if "source" in config.studies:
    bistatic = studies.bistatic_errors(grid, bins, few)
    run.result("one fixed source: median distance", bistatic["distance"], unit="cm")
    for name in ("half angle", "midpoint"):
      run.result(
        f"one fixed source: median angle, normal by {name}",
        bistatic[name],
        unit="degrees",
      )
  if "gallery" in config.studies:
    run.figure(
      "gallery",
      figures.gallery_figure(config.gallery_samples),
      "How each kind of Fermat path shows in a transient.",
    )


def draw_normals(run, scene: studies.ExactScene) -> None:
  titles = {
    "flow": "Fermat flow",
    "pca": "PCA of positions",
    "differences": "differences of positions",
  }
  errors, maps = (
    {titles[way]: values for way, values in found.items()}
    for found in studies.compare_normals(scene)
  )
  run.figure(
    "normals",
    figures.normals_figure(errors, maps),
    "Errors of the sphere's normals: from the paths' gradients, and from positions.",
  )


def predict(config: Config, run, inputs) -> None:
  """Writes NAME.ply, NAME_surface.ply and NAME.png of each file of transients."""
  settings = settings_of(config, pipeline.PRESETS[config.kind])
  done = []
  for path in inputs:  # all of them before anything is written
    measured = measurements.read(path)
    try:
      found = reconstruct(measured, _for_bins(config, settings, measured.bins))
    except UserError as error:
      raise UserError(f"{path}: {error}") from None
    points, normals = pipeline.oriented_points(found)
    if not len(points):
      raise UserError(
        f"{path}: no specular point is left with --config.kind={config.kind}; others: "
        f"{', '.join(k for k in pipeline.PRESETS if k != config.kind)}"
      )
    surface = poisson_surface.fit_surface(points, normals)
    done.append((path, points, normals, surface))
  names = [path.stem for path in inputs]
  if len(set(names)) < len(names):
    raise UserError("--inputs: two files have the same name")
  for path, points, normals, surface in done:
    point_files.write_points(run.out / f"{path.stem}.ply", points, normals)
    point_files.write_surface(run.out / f"{path.stem}_surface.ply", *surface)
    figure = figures.cloud_figure(points, normals, surface)
    figures.save(figure, run.out / f"{path.stem}.png")
    run.log(f"{path}: {len(points)} points, {len(surface.faces)} triangles")


def _for_bins(config, settings, bins):
  if not config.rescale_sigma:
    return settings
  width = float(np.median(np.diff(bins, axis=-1)))
  width = round(width, 5)  # float32 of the authors' 0.12 is not quite 0.12
  detector = detection.scaled_to_bins(settings.detector, width)
  return dataclasses.replace(settings, detector=detector)


if __name__ == "__main__":
  launcher.main(
    "fermat_paths",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
