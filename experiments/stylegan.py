"""A Style-Based Generator Architecture for GANs (Karras, Laine and Aila, CVPR 2019).

The story: a generator that starts from a constant and is steered by styles alone, with
noise for what is random, is trained against a discriminator that grows with it, beside
the traditional generator it replaces (Table 1). Then it is asked what styles and noise
each control, whether its intermediate latent space W is straighter than Z, and whether
planes tell attributes apart there.

  python -m experiments.stylegan [--preset=demo]

The demo draws faces of 16 pixels whose factors are known. A network trained here to
tell those factors ("features") takes the place of Inception, VGG and the attribute
classifiers, so its Fréchet distances are not the paper's FID. Widths, rate, γ and steps
were chosen by looking at pictures of configuration F with seed 0. The paper preset
reads the authors' TFRecords from --data_dir; see `jaxvision.papers.stylegan.dataset`.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.data import pipeline, sprite_faces
from jaxvision.errors import UserError
from jaxvision.papers.stylegan import (
  claims,
  configurations,
  dataset,
  evaluation,
  features,
  figures,
  growing,
  prediction,
  training,
)
from jaxvision.papers.stylegan import published as authors
from jaxvision.train import Stage, fit, jit_once, launcher, restore

CITATION = (
  "T. Karras, S. Laine and T. Aila, A Style-Based Generator Architecture for "
  "Generative Adversarial Networks, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's training and measures."""

  # Data: "faces" are drawn, "tfrecords" are read from --data_dir.
  source: Literal["faces", "tfrecords"] = "tfrecords"
  name: str = "ffhq"  # of the authors' data set, a folder below --data_dir
  label_size: int = 0
  faces: int = 0  # drawn

  # The networks.
  configurations: tuple[str, ...] = ("F",)  # of Table 1 and Table 4
  resolution: int = 1024
  base: int = 8192
  largest: int = 512
  latent: int = 512
  dtype: Literal["float32", "bfloat16"] = "float32"

  # Growing: thousands of images; batches and rates from 4 pixels on.
  initial: int = 8
  stable: float = 600
  fading: float = 600
  kimg: float = 25_000
  batches: tuple[int, ...] = (512, 256, 128, 64, 32, 32, 32, 32, 32)
  rates: tuple[float, ...] = (1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1.5e-3, 2e-3, 3e-3, 3e-3)
  wgan_rate: float = 2e-3  # at most, with that loss
  repeats: int = 4
  penalty: float = 10.0
  mirror: bool = True
  half_life: float = 10.0  # of the average generator

  # The network that judges.
  judge_steps: int = 0  # 0 leaves it untrained
  judge_batch: int = 64
  judge_rate: float = 3e-3
  judge_width: int = 16
  vgg: str = ""  # torchvision's VGG-16 and LPIPS's heads, for the paper's path lengths
  lpips: str = ""
  inception: str = ""  # FID's network (pt_inception-2015-12-05), for the paper's FID

  # Measures.
  images: int = 50_000
  paths: int = 100_000
  epsilon: float = 1e-4
  crop: bool = True
  separable: int = 200_000  # images, of which the surer half counts
  at_once: int = 8
  psi: float = 0.7

  seeds: tuple[int, ...] = (0,)
  seed: int = 0


_DEMO = Config(
  source="faces",
  faces=4096,
  configurations=("B", "E", "F"),
  resolution=16,
  base=128,
  largest=32,
  latent=32,
  stable=3.2,
  fading=1.6,
  kimg=11.2,
  batches=(16, 16, 16),
  rates=(3e-3, 3e-3, 3e-3),
  mirror=False,
  half_life=1.0,
  judge_steps=800,
  images=2048,
  paths=2048,
  epsilon=1e-2,
  crop=False,
  separable=4096,
  at_once=128,
  seeds=(0, 1, 2),
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    faces=64,
    configurations=("style-1",),
    resolution=8,
    base=16,
    largest=4,
    latent=4,
    initial=4,
    kimg=0.016,  # ends before it grows: one step to compile
    batches=(4, 4),
    rates=(3e-3, 3e-3),
    repeats=2,
    judge_steps=2,
    judge_batch=8,
    judge_width=2,
    images=32,
    paths=16,
    separable=32,
    at_once=16,
    seeds=(0,),
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def structure(name: str) -> configurations.Configuration:
  """Returns a configuration but for its mixing, which its networks do not depend on."""
  try:
    return dataclasses.replace(configurations.find(name), mixing=0.0)
  except ValueError as error:
    raise UserError(f"--config.configurations: {error}") from None


@functools.cache
def adversaries(
  config: Config, shape: configurations.Configuration
) -> training.Adversaries:
  """Returns the networks of a structure and their losses."""
  sizes = {
    "base": config.base,
    "largest": config.largest,
    "label_size": config.label_size,
    "dtype": None if config.dtype == "float32" else jnp.bfloat16,
  }
  return training.Adversaries(
    configurations.generator(shape, config.resolution, latent=config.latent, **sizes),
    configurations.discriminator(shape, config.resolution, **sizes),
    latent=config.latent,
    loss=shape.loss,
    penalty=config.penalty,
    mirror=config.mirror,
    repeats=config.repeats,
    half_life=config.half_life,
  )


@functools.cache
def segments(config: Config, loss: str = "logistic") -> list[growing.Segment]:
  """Returns the segments of a training with a loss.

  Raises:
    UserError: sizes that do not fit each other.
  """
  levels = config.resolution.bit_length() - 2
  if min(len(config.batches), len(config.rates)) < levels:
    raise UserError(f"--config.batches and rates: {levels} from 4 pixels on")
  sides = [4 * 2**level for level in range(levels)]
  cap = config.wgan_rate if loss == "wgan" else np.inf
  schedule = growing.Schedule(
    resolution=config.resolution,
    initial=config.initial,
    stable=config.stable,
    fade=config.fading,
    batches=dict(zip(sides, config.batches, strict=False)),
    rates={s: min(r, cap) for s, r in zip(sides, config.rates, strict=False)},
    devices=jax.device_count(),
  )
  try:
    return growing.segments(schedule, 1000 * config.kimg, config.repeats)
  except ValueError as error:
    raise UserError(f"--config.batches: {error}") from None


def factor_network(config: Config) -> features.FactorNetwork:
  return features.FactorNetwork(len(sprite_faces.FACTORS), config.judge_width)


@functools.cache  # the same steps again, so that they are compiled only once
def stages(config: Config) -> dict[str, Stage]:
  """Returns "features", and "F-8", "F-16", ...: a step for each resolution.

  Configurations that differ in mixing alone share those of the first of them.
  """
  found = {}
  if config.judge_steps:
    rate = optax.cosine_decay_schedule(config.judge_rate, config.judge_steps, 0.02)
    found["features"] = features.stage(
      factor_network(config), config.resolution, batch=config.judge_batch, rate=rate
    )
  for name, shape in _first_of_each(config).items():
    for segment in segments(config, shape.loss):
      stage = f"{name}-{segment.resolution}"
      if stage not in found:
        mixing = configurations.find(name).mixing
        found[stage] = adversaries(config, shape).stage(stage, segment, mixing)
  return found


def _first_of_each(config: Config) -> dict[str, configurations.Configuration]:
  """Returns the structures by the first configuration that has them."""
  shapes = {}
  for name in config.configurations:
    shape = structure(name)
    if shape not in shapes.values():
      shapes[name] = shape
  return shapes


def stage_of(config: Config, name: str, segment: growing.Segment) -> Stage:
  shape = structure(name)
  first = next(n for n, s in _first_of_each(config).items() if s == shape)
  return stages(config)[f"{first}-{segment.resolution}"]


def segment_name(name: str, seed: int, segment: growing.Segment) -> str:
  """Returns the name of a segment's checkpoints: "F-0-16-fade", "F-0-16", ..."""
  return f"{name}-{seed}-{segment.resolution}" + "-fade" * segment.is_fading


@functools.cache  # evaluation needs them again
def drawn_faces(config: Config) -> sprite_faces.Faces:
  return sprite_faces.faces(config.seed, config.faces, config.resolution)


def sources(config: Config, data_dir) -> dict[int, pipeline.Source]:
  """Returns the images by resolution.

  Raises:
    UserError: there is no --data_dir, or files are missing or damaged.
  """
  if config.source == "faces":
    return dataset.from_arrays(drawn_faces(config).images)
  if data_dir is None:
    raise UserError(
      f"{config.name}'s TFRecords are read from --data_dir=DIR: {dataset.INSTRUCTIONS}"
    )
  return dataset.open_records(
    data_dir, config.name, config.resolution, label_size=config.label_size
  )


def train(config: Config, run) -> None:
  """Trains the judge, then every configuration with every seed."""
  stages(config)  # names what is wrong before anything is drawn
  images = sources(config, run.data_dir)
  if config.judge_steps:
    train_judge(config, run)
  for name in config.configurations:
    for seed in config.seeds:
      train_adversaries(config, run, name, seed, images)


def train_judge(config: Config, run) -> None:
  if config.source != "faces":
    raise UserError("--config.judge_steps: only drawn faces have factors to learn")
  faces = drawn_faces(config)
  batches = pipeline.batches(
    pipeline.ArraySource({"image": faces.images, "factors": faces.factors}),
    batch_size=config.judge_batch,
    seed=config.seed,
  )
  stage = stages(config)["features"]
  state = jit_once(stage.init)(jax.random.key(config.seed))
  fit(run, "features", state, stage.step, batches, config.judge_steps)


@functools.cache
def _compiled_init(config: Config, shape: configurations.Configuration):
  return jit_once(adversaries(config, shape).init, static_argnums=1)


def train_adversaries(config: Config, run, name: str, seed: int, images) -> None:
  """Trains one configuration through all its resolutions."""
  shape, mixing = structure(name), configurations.find(name).mixing
  both, parts = adversaries(config, shape), segments(config, shape.loss)
  key = jax.random.key(seed)
  state = _compiled_init(config, shape)(key, parts[0], mixing)
  for number, segment in enumerate(parts):
    if number:
      state = both.enter(state, segment, jax.random.fold_in(key, number))
    batches = dataset.batches(
      images[segment.resolution], batch_size=segment.batch, seed=seed + 1000 * number
    )
    state = fit(
      run,
      segment_name(name, seed, segment),
      state,
      stage_of(config, name, segment).step,
      batches,
      segment.steps,
    )


def restore_variables(config: Config, run, name: str, seed: int) -> dict:
  """Returns the average generator's variables at the end of a training."""
  last = segments(config, structure(name).loss)[-1]
  stage = stage_of(config, name, last)
  state = jax.eval_shape(stage.init, jax.random.key(0))
  return training.variables(restore(run, segment_name(name, seed, last), state))


def judge_of(config: Config, run) -> features.Judge:
  """Returns the judge: trained or with random weights; LPIPS, Inception where given.

  Raises:
    UserError: a file of weights is missing or of another network.
  """
  network = factor_network(config)
  if config.judge_steps:
    state = jax.eval_shape(stages(config)["features"].init, jax.random.key(0))
    params = restore(run, "features", state).params
  else:
    image = jnp.zeros((1, config.resolution, config.resolution, 3))
    params = jit_once(network.init)(jax.random.key(0), image)["params"]
  if bool(config.vgg) != bool(config.lpips):
    raise UserError("--config.vgg and --config.lpips are needed together")
  distance = None
  if config.vgg:
    distance = features.load_lpips(config.vgg, config.lpips)
  pooled = features.load_inception(config.inception) if config.inception else None
  return features.Judge(network, params, distance, pooled)


def evaluate(config: Config, run) -> None:
  """Measures every generator and makes the paper's comparisons again."""
  if config.label_size:
    raise UserError("--config.label_size: networks with labels are not measured")
  judge = judge_of(config, run)
  images = sources(config, run.data_dir)[config.resolution]
  if config.judge_steps:
    count = min(config.faces, 1024)
    unseen = sprite_faces.faces(config.seed + 1, count, config.resolution)
    found = judge.factors(jnp.asarray(unseen.images, jnp.float32))
    claims.report_judge(run, found, unseen.factors)
  evaluator_of = functools.cache(
    lambda shape: evaluation.Evaluator(
      adversaries(config, shape).generator, config.latent, judge, config.at_once
    )
  )
  known = evaluator_of(structure(config.configurations[0])).statistics(
    dataset.read_batches(images, config.images, config.at_once, mirror=config.mirror)
  )
  measured = claims.measure_name(bool(config.inception), config.images)
  rows, local = [], []
  for name in config.configurations:
    evaluator = evaluator_of(structure(name))
    for seed in config.seeds:
      variables = restore_variables(config, run, name, seed)
      row = measure(config, evaluator, variables, known, jax.random.key(1000 + seed))
      rows.append({"configuration": name, "seed": seed} | row)
      run.log(f"{name}-{seed}: {measured} {row['frechet'][0]:.3f}")
      if name == config.configurations[-1] and structure(name).noise:
        local.append(evaluator.locality(variables, jax.random.key(seed)))
  claims.tables(run, rows, measured)
  make_claims(config, run, rows, local, measured)
  painters = {
    name: painter_of(config, run, name, config.seeds[0])
    for name in config.configurations
  }
  figures.keep_samples(run, painters, dataset.read_all(images, 32), config.latent)
  figures.keep_styles(run, painters[name], config.latent, psi=config.psi)


def measure(config, evaluator, variables, known, key) -> dict:
  """Returns a row as `claims.tables` takes it."""
  generator = evaluator.generator
  has_styles = generator.synthesis.use_styles
  row = {
    "frechet": [
      evaluator.frechet(variables, key, known, config.images, latents=latents)
      for latents in range(1, 5 if has_styles else 2)
    ]
  }
  if not has_styles:
    row["frechet"] += [np.nan] * 3  # one latent is all that they have
  spaces = ("z", "w") if generator.mapping.layers else ("z",)
  for space, sampling in evaluation.PATHS:
    if space in spaces:
      row[f"{space} {sampling}"] = evaluator.path_length(
        variables,
        key,
        config.paths,
        space=space,
        sampling=sampling,
        epsilon=config.epsilon,
        crop=config.crop,
      )
  if config.judge_steps:
    bits = evaluator.separability(variables, key, config.separable)
    row |= {f"{space} bits": bits[space] for space in spaces}
  return row


def make_claims(config: Config, run, rows, local, measured: str) -> None:
  names, seeds = set(config.configurations), config.seeds
  last = config.configurations[-1]
  if {"B", "F"} <= names:
    claims.claim_quality(run, rows, seeds, measured)
  if structure(last).mapping_layers:
    claims.claim_paths(run, rows, last, seeds)
  if {"E", "F"} <= names:
    claims.claim_mixing(run, rows, seeds, measured)
  if local:
    means = {key: float(np.mean([one[key] for one in local])) for key in local[0]}
    claims.claim_noise(run, means, seeds)
  if structure(last).mapping_layers and config.judge_steps:
    claims.claim_separability(run, rows, last, seeds)


def painter_of(config: Config, run, name: str, seed: int) -> figures.Painter:
  generator = adversaries(config, structure(name)).generator
  return figures.Painter(generator, restore_variables(config, run, name, seed))


def predict(config: Config, run, inputs) -> None:
  """Writes images and grids of the seeds in text files, perhaps by published weights.

  An authors' pickle among the inputs (its Gs) takes the place of what was trained.
  """
  seeds, weights = prediction.split_inputs(inputs)
  if weights is None:
    painter = painter_of(config, run, config.configurations[-1], config.seeds[0])
    width = config.latent
  else:
    network = authors.load(weights)["average"]
    painter = figures.Painter(network.module, network.variables)
    width = authors.latent_size(network)
  if run.is_main:
    prediction.write(run.out, painter, seeds, width, psi=config.psi)


if __name__ == "__main__":
  launcher.main(
    "stylegan",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
