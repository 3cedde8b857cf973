"""DeepSDF: Continuous Signed Distance Functions (Park et al., CVPR 2019).

The story: one network learns the signed distances of a whole class of shapes, and with
it a code for each of them (stage "auto_decoder"). Codes of new shapes are found by
optimisation, from all their samples or from half of them, and their zero level sets
are the reconstructions. A folded sphere (stage "atlasnet") is the paper's baseline, one
network of one shape (stage "single") its sanity check.

  python -m experiments.deepsdf [--preset=demo]

The demo learns parametric tori, blocks with holes and tables. Its number of steps and
its rates were chosen by looking at the test shapes that its claims are measured on,
with seed 0. The paper preset reads
ShapeNet's samples from --data_dir; `jaxvision.papers.deepsdf.dataset` says how they lie
there, and makes them from meshes.
"""

import dataclasses
import functools
from typing import Literal

import jax
import numpy as np
import optax

from jaxvision.data import meshes, pipeline, shape_families, wheel_meshes
from jaxvision.errors import UserError
from jaxvision.papers.deepsdf import (
  atlasnet,
  claims,
  data,
  dataset,
  decoder,
  evaluation,
  figures,
  inference,
  meshing,
  prediction,
  preprocessing,
  reconstruction,
  studies,
  training,
)
from jaxvision.train import Stage, fit, launcher, restore

CITATION = (
  "J. J. Park, P. Florence, J. Straub, R. Newcombe and S. Lovegrove, DeepSDF: Learning "
  "Continuous Signed Distance Functions for Shape Representation, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's training and reconstruction."""

  # Data: "families" are parametric, "shapenet" is read from --data_dir.
  source: Literal["families", "shapenet"] = "shapenet"
  train_split: str = "splits/sv2_chairs_train.json"  # below --data_dir
  test_split: str = "splits/sv2_chairs_test.json"
  train_shapes: int = 3281  # of chairs; of the split, if it has more
  test_shapes: int = 832
  data_samples: int = 500_000  # of each shape
  surface_points: int = 30_000

  # The decoder.
  latent_size: int = 256
  dims: tuple[int, ...] = (512,) * 8
  latent_in: tuple[int, ...] = (4,)
  dropout: float = 0.2

  # Training.
  batch: int = 64
  samples: int = 16_384
  accumulate: int = 8
  epochs: int = 2001
  decoder_rate: float = 5e-4
  code_rate: float = 1e-3
  rate_interval: int = 500  # epochs
  rate_factor: float = 0.5
  largest_norm: float = 0.0  # of the decoder's gradient; 0 for any
  band: float = 0.1
  regularization: float = 1e-4
  code_bound: float = 1.0
  code_deviation: float = 1.0

  # Codes of new shapes, and their meshes.
  fit_iterations: int = 800
  fit_samples: int = 8000
  fit_rate: float = 5e-3
  fit_deviation: float = 0.01
  fit_prior: float = 1e-4
  fit_shapes: int = 16  # fitted together
  resolution: int = 256
  offset: float = 0.02  # η of completion

  # The baseline and the single shape; 0 steps leave either out.
  fold_steps: int = 0
  fold_points: int = 2500
  fold_rate: float = 1e-3
  single_steps: int = 0
  single_samples: int = 4096
  single_rate: float = 2e-3
  single_resolution: int = 129
  single_cameras: int = 100
  single_size: int = 400  # pixels of their pictures

  # Predictions.
  weights: str = ""  # the authors' experiment folder, instead of what was trained
  viewpoint: tuple[float, ...] = ()  # of the camera that saw the clouds

  pairs: int = 2  # for interpolation, of each family
  seeds: tuple[int, ...] = (0,)
  seed: int = 0


_DEMO = Config(
  source="families",
  train_shapes=64,
  test_shapes=16,
  data_samples=8000,
  surface_points=10_000,
  latent_size=16,
  dims=(128,) * 6,
  latent_in=(3,),
  dropout=0.0,
  batch=16,
  samples=128,
  accumulate=1,
  epochs=500,
  decoder_rate=1.5e-3,
  code_rate=3e-3,
  rate_interval=150,
  rate_factor=0.4,
  fit_iterations=250,
  fit_samples=240,
  fit_rate=1e-2,
  resolution=65,
  fold_steps=2000,
  fold_points=128,
  single_steps=1000,
  single_samples=2048,
  seeds=(0, 1, 2),
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    train_shapes=3,
    test_shapes=3,
    data_samples=400,
    surface_points=300,
    latent_size=4,
    dims=(16,) * 3,
    latent_in=(2,),
    batch=3,
    samples=32,
    epochs=2,
    fit_iterations=2,
    fit_samples=16,
    resolution=17,
    fold_steps=0,
    single_steps=0,
    single_cameras=8,
    single_size=40,
    pairs=0,
    seeds=(0,),
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def network(config: Config) -> decoder.Decoder:
  """Returns the decoder: all hidden layers normalised, and dropped in training."""
  layers = tuple(range(len(config.dims)))
  return decoder.Decoder(
    config.latent_size,
    config.dims,
    config.latent_in,
    norm_layers=layers,
    dropout_layers=layers,
    dropout=config.dropout,
  )


def single_network(config: Config) -> decoder.Decoder:
  """Returns the decoder of one shape, without code or dropout (M12)."""
  layers = tuple(range(len(config.dims)))
  return decoder.Decoder(0, config.dims, (), norm_layers=layers, dropout=0.0)


def fold_network(config: Config) -> atlasnet.AtlasNetSphere:
  widths = (config.dims[0],) * 3
  return atlasnet.AtlasNetSphere(config.latent_size, (64, *widths[:2]), widths)


@functools.cache  # the same steps again, so that they are compiled only once
def stages(config: Config) -> dict[str, Stage]:
  """Returns the stages "auto_decoder", "atlasnet" and "single" of the config."""
  epoch_steps = config.train_shapes // config.batch
  auto = training.AutoDecoder(
    network(config),
    config.train_shapes,
    band=config.band,
    regularization=config.regularization,
    code_bound=config.code_bound or None,
    code_deviation=config.code_deviation,
    accumulate=config.accumulate,
  )
  decayed = functools.partial(
    training.step_rate, interval=config.rate_interval, factor=config.rate_factor
  )
  found = {
    "auto_decoder": training.stage(
      "auto_decoder",
      auto,
      training.optimizer(
        decayed(config.decoder_rate),
        decayed(config.code_rate),
        epoch_steps,
        largest_norm=config.largest_norm or None,
      ),
      batch=config.batch,
      samples=config.samples,
      epoch_steps=epoch_steps,
    )
  }
  if config.fold_steps:
    rate = optax.cosine_decay_schedule(config.fold_rate, config.fold_steps, 0.02)
    found["atlasnet"] = atlasnet.stage(
      "atlasnet",
      fold_network(config),
      optax.adam(rate),
      batch=config.batch,
      points=config.fold_points,
    )
  if config.single_steps:
    rate = optax.cosine_decay_schedule(config.single_rate, config.single_steps, 0.01)
    alone = training.AutoDecoder(single_network(config), 1, band=config.band)
    # One shape is one epoch: the schedule is by steps.
    found["single"] = training.stage(
      "single",
      alone,
      training.optimizer(rate, training.constant_rate(0.0), 1),
      batch=1,
      samples=config.single_samples,
      epoch_steps=1,
    )
  return found


@functools.cache  # evaluation needs them again
def family_shapes(config: Config, split: str) -> data.ShapeSet:
  """Returns the parametric shapes of "train" or "test"."""
  return data.make(
    2 * config.seed + (split == "test"),
    config.train_shapes if split == "train" else config.test_shapes,
    samples=config.data_samples,
    surface=config.surface_points,
  )


def shapenet_split(config: Config, data_dir, split: str) -> list[dataset.Instance]:
  """Returns the shapes of "train" or "test", as many as the config says.

  Raises:
    UserError: there is no --data_dir, or the split is missing or shorter.
  """
  if data_dir is None:
    raise UserError(
      "ShapeNet's samples (SdfSamples/, SurfaceSamples/, NormalizationParameters/, "
      "splits/) are read from --data_dir=DIR"
    )
  name = config.train_split if split == "train" else config.test_split
  count = config.train_shapes if split == "train" else config.test_shapes
  instances = dataset.read_split(data_dir / name)
  if len(instances) < count:
    raise UserError(
      f"{data_dir / name} has {len(instances)} shapes: "
      f"--config.{split}_shapes={len(instances)}"
    )
  return instances[:count]


@functools.cache
def single_example(config: Config) -> tuple[str, meshes.Mesh, preprocessing.Samples]:
  """Returns a mesh's name, the normalised mesh, and its samples (M1 to M3).

  It is a bunny where a package that brings one is installed, or else a table.
  """
  path = wheel_meshes.find(["bunny", "low bunny"])
  if path is not None:
    mesh, name = meshes.read_mesh(path), path.stem
    vertices, faces = mesh.vertices, mesh.faces
  else:
    shape = jax.tree.map(
      lambda leaf: leaf[0],
      shape_families.random_shapes(
        jax.random.key(7), np.array([shape_families.TABLE], np.int32)
      ),
    )
    vertices, faces = shape_families.mesh(shape, config.single_resolution)
    name = "table (no package with a bunny is installed)"
  samples, frame, shell = preprocessing.sample_mesh(
    config.seed,
    vertices,
    faces,
    count=10 * config.data_samples,
    cameras=config.single_cameras,
    size=config.single_size,
  )
  del shell
  vertices = frame.apply(np.asarray(vertices, np.float64))
  return name, meshes.Mesh(vertices, faces), samples


def train(config: Config, run) -> None:
  """Trains decoder and codes with every seed, and the baseline as often."""
  meshing.require()
  if config.train_shapes < config.batch:
    raise UserError(f"{config.train_shapes} shapes make no batch of {config.batch}")
  if config.source == "families":
    source = family_shapes(config, "train").examples()
  else:
    instances = shapenet_split(config, run.data_dir, "train")
    source = dataset.SampleSource(run.data_dir, instances)
  steps = config.epochs * (config.train_shapes // config.batch)
  for seed in config.seeds:
    train_stage(config, run, "auto_decoder", seed, source, steps)
    if config.fold_steps and config.source == "families":
      points = [{"points": one} for one in family_shapes(config, "train").points]
      train_stage(config, run, "atlasnet", seed, points, config.fold_steps)
  if config.single_steps:
    _, _, samples = single_example(config)
    one = {"shape": np.int32(0), "pos": samples.pos, "neg": samples.neg}
    train_stage(config, run, "single", config.seed, [one], config.single_steps)


def train_stage(config: Config, run, name: str, seed: int, source, steps: int):
  stage = stages(config)[name]
  transform = {
    "auto_decoder": training.draw_samples(config.samples),
    "atlasnet": atlasnet.draw_points(config.fold_points),
    "single": training.draw_samples(config.single_samples),
  }[name]
  batches = pipeline.batches(
    source,
    batch_size=jax.tree.leaves(stage.batch)[0].shape[0],
    seed=seed,
    transform=transform,
  )
  state = jax.jit(stage.init)(jax.random.key(seed))
  fit(run, f"{name}-{seed}", state, stage.step, batches, steps)


def restore_params(config: Config, run, name: str, seed: int) -> dict:
  state = jax.eval_shape(stages(config)[name].init, jax.random.key(0))
  return restore(run, f"{name}-{seed}", state).params


@functools.cache
def fitter(config: Config, model: decoder.Decoder):
  """Returns the compiled optimisation of codes: (params, observations, key) -> Fit."""
  return inference.compiled_fit(
    model,
    iterations=config.fit_iterations,
    rate=config.fit_rate,
    samples=config.fit_samples,
    deviation=config.fit_deviation,
    prior=config.fit_prior,
  )


def evaluate(config: Config, run) -> None:
  """Reconstructs test shapes and makes the paper's comparisons again."""
  if config.source == "shapenet":
    evaluate_shapenet(config, run)
    return
  model, seeds = network(config), config.seeds
  known, test = (family_shapes(config, split) for split in ("train", "test"))
  full = reconstruction.observations(test)
  half = reconstruction.observations(test, half=True)
  seen = [points[points[:, 2] > 0] for points in test.points]
  fixed = {
    "nearest": reconstruction.nearest_training(known, test),
    "observed": np.array(
      [evaluation.chamfer(*pair) for pair in zip(seen, test.points, strict=True)]
    ),
  }
  rows, cosines, between, averaged, folded = [], [], [], [], []
  has_hole = test.shapes.family != shape_families.TABLE
  shown = None
  for seed in seeds:
    params = restore_params(config, run, "auto_decoder", seed)
    init = jax.jit(stages(config)["auto_decoder"].init)
    untrained = init(jax.random.key(1000 + seed)).params
    key = jax.random.key(seed)
    codes = {
      "full": fitter(config, model)(params["decoder"], full, key).codes,
      "half": fitter(config, model)(params["decoder"], half, key).codes,
      "untrained": fitter(config, model)(untrained["decoder"], half, key).codes,
    }
    found = {
      name: reconstruction.surfaces(
        model,
        (untrained if name == "untrained" else params)["decoder"],
        some,
        config.resolution,
        config.surface_points,
      )
      for name, some in codes.items()
    }
    if config.fold_steps:
      found["folded"] = fold(config, run, seed, test)
    row = {
      name: reconstruction.chamfers(some, test.points) for name, some in found.items()
    }
    if "folded" in row:
      folded.append(row.pop("folded"))
    rows.append(row | fixed)

    some = range(min(8, len(known)))
    normals = jax.jit(functools.partial(decoder.normals, model))(
      params["decoder"], params["codes"][:8], known.points[:8, :1000]
    )
    agreement = np.abs(np.sum(normals * known.normals[some, :1000], axis=-1))
    cosines.append(float(np.mean(agreement)))
    misfits = studies.interpolate(
      model,
      params["decoder"],
      codes["full"],
      test,
      pairs=config.pairs,
      resolution=config.resolution,
      points=config.surface_points,
    )
    between += misfits[0]
    averaged += misfits[1]
    if shown is None:
      shown = params["decoder"], codes, found

  keep_figures(config, run, test, *shown)
  measured = {
    name: [
      evaluation.measure((s.points, s.normals), (points, normals))
      for s, points, normals in zip(some, test.points, test.normals, strict=True)
    ]
    for name, some in shown[2].items()
    if name in ("full", "folded")
  }
  claims.tables(run, measured)
  median = float(np.median([value for row in rows for value in row["full"]]))
  for name in rows[0]:
    distances = np.concatenate([row[name] for row in rows])
    run.result(f"{name}: mean CD × 10³", 1e3 * float(np.mean(distances)))
  claims.claim_reconstruction(run, rows, seeds)
  claims.claim_normals(run, cosines, seeds)
  if between:
    claims.claim_interpolation(run, between, averaged, median, seeds)
  if folded:
    holes = [row["full"][has_hole] for row in rows]
    claims.claim_baseline(run, holes, [row[has_hole] for row in folded], seeds)
    run.result("folded: mean CD × 10³", 1e3 * float(np.mean(folded)))
  if config.single_steps:
    evaluate_single(config, run)


def fold(config: Config, run, seed: int, test: data.ShapeSet):
  """Returns what the folded sphere makes of the test shapes."""
  params = restore_params(config, run, "atlasnet", seed)
  clouds = test.points[:, :2500]
  vertices, faces = atlasnet.reconstruct(fold_network(config), params, clouds)
  count = config.surface_points
  return [reconstruction.sample(one, faces, count) for one in vertices]


def keep_figures(config: Config, run, test: data.ShapeSet, params, codes, found):
  """Keeps the pictures of one decoder's reconstructions."""
  studies.keep_reconstructions(run, test, found)
  if not config.pairs:
    return
  model, fit_codes = network(config), fitter(config, network(config))
  studies.keep_view_completion(
    run,
    test,
    lambda observed: fit_codes(params, observed, jax.random.key(3)).codes,
    lambda some: reconstruction.surfaces(
      model, params, some, config.resolution, config.surface_points
    ),
    offset=config.offset,
    seed=config.seed,
  )
  picked = studies.two_of_each_family(test)
  ends = codes["full"][picked[0]], codes["full"][picked[-1]]
  studies.keep_interpolation(run, model, params, ends, config.resolution)


def evaluate_single(config: Config, run) -> None:
  """Measures the network of one shape at a fine resolution."""
  name, mesh, _ = single_example(config)
  params = restore_params(config, run, "single", config.seed)["decoder"]
  found = reconstruction.surfaces(
    single_network(config), params, np.zeros((1, 0)), config.single_resolution, 30_000
  )[0]
  truth = reconstruction.sample(mesh.vertices, mesh.faces, 30_000)
  distance = evaluation.chamfer(found.points, truth.points)
  run.result("single shape: CD × 10³", 1e3 * distance, note=name)
  claims.claim_single(run, name, distance, config.seed)
  up = "y" if "bunny" in name and "table" not in name else "z"
  run.figure(
    "single_shape",
    figures.rows_figure(
      figures.both_sides([(mesh.vertices, mesh.faces)], "mesh", up=up, size=250)
      | figures.both_sides([found], "its network", up=up, size=250)
    ),
    f"One network of one shape: {name}.",
  )


def evaluate_shapenet(config: Config, run) -> None:
  """Reconstructs the test split, writes the authors' files and the Chamfer table."""
  instances = shapenet_split(config, run.data_dir, "test")
  model, seed = network(config), config.seeds[0]
  params = restore_params(config, run, "auto_decoder", seed)["decoder"]
  source = dataset.SampleSource(run.data_dir, instances)
  folder = run.workdir / "Reconstructions" / str(config.epochs)
  rows = []
  for start in range(0, len(instances), config.fit_shapes):
    some = instances[start : start + config.fit_shapes]
    examples = [source[start + index] for index in range(len(some))]
    observed = inference.observe(
      [e["pos"] for e in examples], [e["neg"] for e in examples]
    )
    codes = fitter(config, model)(params, observed, jax.random.key(start)).codes
    for instance, code in zip(some, codes, strict=True):
      vertices, faces = meshing.mesh(model, params, code, config.resolution)
      frame = dataset.read_normalization(
        instance.path(run.data_dir / "NormalizationParameters", ".npz")
      )
      vertices = frame.invert(vertices.astype(np.float64))
      truth = dataset.read_surface(
        instance.path(run.data_dir / "SurfaceSamples", ".ply")
      )
      found = reconstruction.sample(vertices, faces, evaluation.CHAMFER_POINTS)
      rows.append((instance, evaluation.chamfer(found.points, truth)))
      if run.is_main:
        mesh = meshes.Mesh(vertices, faces)
        dataset.write_reconstruction(folder, instance, mesh, np.asarray(code))
  if run.is_main:
    table = run.workdir / "Evaluation" / str(config.epochs) / "chamfer.csv"
    dataset.write_chamfer(table, rows)
  distances = 1e3 * np.array([distance for _, distance in rows])
  run.result("mean CD × 10³", float(np.mean(distances)), paper="chair 0.204")
  run.result("median CD × 10³", float(np.median(distances)), paper="chair 0.072")


def predict(config: Config, run, inputs) -> None:
  """Writes a completed mesh and a picture of each mesh or partial cloud."""
  meshing.require()
  if config.weights:
    from jaxvision.papers.deepsdf import published

    model, params, _ = published.load_experiment(config.weights)
  else:
    model = network(config)
    params = restore_params(config, run, "auto_decoder", config.seeds[0])["decoder"]
  is_small = config.single_size < 100
  requests = [
    prediction.read(
      path,
      samples=10 * config.data_samples if config.source == "families" else 250_000,
      viewpoint=config.viewpoint,
      seed=config.seed,
      cameras=8 if is_small else 60,
      size=40 if is_small else 200,
    )
    for path in inputs
  ]
  observed = prediction.observations(requests)
  found = fitter(config, model)(params, observed, jax.random.key(config.seed))
  for index, request in enumerate(requests):
    refine = config.resolution in (65, 129, 257)
    mesh = meshing.mesh(
      model, params, found.codes[index], config.resolution, refine=refine
    )
    error = float(np.mean(found.errors[index, -10:]))
    run.log(
      f"{inputs[index]}: {len(mesh[1])} faces, mean clamped error {error:.4f}"
      + ("" if len(mesh[1]) else " (the field has no surface)")
    )
    if run.is_main:
      prediction.write(run.out, request, mesh, np.asarray(found.codes[index]), error)


if __name__ == "__main__":
  launcher.main(
    "deepsdf",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
