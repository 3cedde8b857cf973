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

from jaxvision.data import meshes, pipeline, shape_families
from jaxvision.errors import UserError
from jaxvision.papers.deepsdf import (
  atlasnet,
  claims,
  data,
  dataset,
  decoder,
  evaluation,
  inference,
  meshing,
  prediction,
  preprocessing,
  reconstruction,
  single_shape,
  studies,
  training,
)
from jaxvision.train import Stage, fit, jit_once, launcher, restore

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

  # What sees a mesh that is sampled: the single shape's, and those to predict from.
  cameras: int = 100
  camera_size: int = 400  # pixels along a side of their pictures

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
  epochs=375,
  decoder_rate=1.5e-3,
  code_rate=3e-3,
  rate_interval=110,
  rate_factor=0.4,
  fit_iterations=200,
  fit_samples=240,
  fit_rate=1e-2,
  resolution=65,
  fold_steps=1500,
  fold_points=128,
  single_steps=1000,
  single_samples=2048,
  cameras=60,
  camera_size=200,
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
    cameras=8,
    camera_size=40,
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
        *(decayed(rate) for rate in (config.decoder_rate, config.code_rate)),
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
  """Returns the shapes of "train" or "test", as many as the config says."""
  is_train = split == "train"
  return dataset.first_shapes(
    data_dir,
    config.train_split if is_train else config.test_split,
    config.train_shapes if is_train else config.test_shapes,
    option=f"--config.{split}_shapes",
  )


@functools.cache  # evaluation needs it again
def single_example(config: Config) -> tuple[str, meshes.Mesh, preprocessing.Samples]:
  """Returns the name, mesh and samples of the shape that has a network of its own."""
  return single_shape.example(
    config.seed,
    samples=10 * config.data_samples,
    resolution=config.single_resolution,
    cameras=config.cameras,
    size=config.camera_size,
  )


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


@functools.cache  # compiled once for all seeds
def first_state(config: Config, name: str):
  """Returns key -> state that a stage's training starts from."""
  return jit_once(stages(config)[name].init)


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
  state = first_state(config, name)(jax.random.key(seed))
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
  rows, cosines, between, averaged, shown = [], [], [], [], None
  for seed in seeds:
    params = restore_params(config, run, "auto_decoder", seed)
    untrained = first_state(config, "auto_decoder")(jax.random.key(1000 + seed)).params
    codes, found = {}, {}
    for name, source, observed in (
      ("full", params, full),
      ("half", params, half),
      ("untrained", untrained, half),
    ):
      weights = source["decoder"]
      codes[name] = fitter(config, model)(weights, observed, jax.random.key(seed)).codes
      found[name] = surfaces(config, weights, codes[name])
    if config.fold_steps:
      found["folded"] = fold(config, run, seed, test)
    rows.append(
      {name: reconstruction.chamfers(some, test.points) for name, some in found.items()}
      | fixed
    )
    cosines.append(reconstruction.normal_agreement(model, params, known))
    sizes = config.pairs, config.resolution, config.surface_points
    misfits = studies.interpolate(model, params["decoder"], codes["full"], test, *sizes)
    between += misfits[0]
    averaged += misfits[1]
    if shown is None:
      shown = params["decoder"], codes["full"], found

  params, codes, found = shown
  studies.keep_reconstructions(run, test, found)
  if config.pairs:
    keep_studies(config, run, test, params, codes)
  measured = [name for name in ("full", "folded") if name in found]
  claims.tables(run, {n: reconstruction.measures(found[n], test) for n in measured})
  holes = test.shapes.family != shape_families.TABLE
  claims.claim_all(run, rows, holes, cosines, (between, averaged), seeds)
  if config.single_steps:
    name, mesh, _ = single_example(config)
    single_shape.record(
      run,
      single_network(config),
      restore_params(config, run, "single", config.seed)["decoder"],
      name,
      mesh,
      resolution=config.single_resolution,
      seed=config.seed,
    )


def surfaces(config: Config, params, codes) -> list[reconstruction.Surface]:
  """Returns the surfaces of codes [S, L]."""
  size, count = config.resolution, config.surface_points
  return reconstruction.surfaces(network(config), params, codes, size, count)


def fold(config: Config, run, seed: int, test: data.ShapeSet):
  """Returns what the folded sphere makes of the test shapes."""
  params = restore_params(config, run, "atlasnet", seed)
  vertices, faces = atlasnet.reconstruct(fold_network(config), params, test.points)
  return [reconstruction.sample(v, faces, config.surface_points) for v in vertices]


def keep_studies(config: Config, run, test: data.ShapeSet, params, codes) -> None:
  """Keeps what one decoder makes of depth maps, and between two shapes."""
  model = network(config)
  studies.keep_view_completion(
    run,
    test,
    lambda observed: fitter(config, model)(params, observed, jax.random.key(3)).codes,
    lambda some: surfaces(config, params, some),
    offset=config.offset,
    seed=config.seed,
  )
  picked = studies.two_of_each_family(test)
  ends = codes[picked[0]], codes[picked[-1]]
  studies.keep_interpolation(run, model, params, ends, config.resolution)


def evaluate_shapenet(config: Config, run) -> None:
  """Reconstructs the test split, writes the authors' files and the Chamfer table."""
  instances = shapenet_split(config, run.data_dir, "test")
  model, seed = network(config), config.seeds[0]
  rows = reconstruction.reconstruct_split(
    run,
    model,
    restore_params(config, run, "auto_decoder", seed)["decoder"],
    fitter(config, model),
    instances,
    at_once=config.fit_shapes,
    resolution=config.resolution,
    epoch=config.epochs,
  )
  claims.record_shapenet(run, [distance for _, distance in rows])


def predict(config: Config, run, inputs) -> None:
  """Writes a completed mesh and a picture of each mesh or partial cloud."""
  meshing.require()
  if config.weights:
    from jaxvision.papers.deepsdf import published

    model, params, _ = published.load_experiment(config.weights)
  else:
    model = network(config)
    params = restore_params(config, run, "auto_decoder", config.seeds[0])["decoder"]
  requests = [
    prediction.read(
      path,
      samples=10 * config.data_samples if config.source == "families" else 250_000,
      viewpoint=config.viewpoint,
      seed=config.seed,
      cameras=config.cameras,
      size=config.camera_size,
    )
    for path in inputs
  ]
  observed = prediction.observations(requests)
  found = fitter(config, model)(params, observed, jax.random.key(config.seed))
  prediction.write_all(run, requests, found, model, params, config.resolution)


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
