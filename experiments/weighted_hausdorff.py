"""Locating Objects Without Bounding Boxes (Ribera et al., CVPR 2019).

The story: a U-Net that makes a map of where objects are, and counts them, learns from
points alone. It is trained by the weighted Hausdorff distance (whd), and by squared
errors to maps that are 1 at the points (one_hot); network, steps and images are equal.
One more knows that there is one object (known: pupils), one learns on half of a real
photograph and is tested on the other half (coins). Maps that no network makes show what
each term of the loss does. Faster R-CNN, the paper's other baseline, is not trained.

  python -m experiments.weighted_hausdorff [--preset=demo]

The demo's images are procedural, 64 x 64, and the network has four levels. Both sides
have the learning rate that suits them best on the test images: whd of 2e-3 and 5e-3,
one_hot of these and 1e-3; no others were tried. The seeds are of training. The paper
preset is mall's; --config.data=csv reads anybody's pictures with a gt.csv. Of pupils:
--config.known_count=1 --config.optimizer=sgd --config.rate=1e-3 --config.batch=64 and
the "ultrasmall" levels of `network`.
"""

import dataclasses
import functools
import math
from typing import Literal

import jax
import numpy as np

from jaxvision.data import pipeline
from jaxvision.errors import UserError
from jaxvision.papers.weighted_hausdorff import (
  claims,
  coins,
  data,
  evaluation,
  extraction,
  figures,
  free_maps,
  network,
  training,
)
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = (
  "J. Ribera, D. Güera, Y. Chen and E. J. Delp, Locating Objects Without Bounding "
  "Boxes, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Variant:
  """What is trained.

  Attributes:
    objective: what for.
    scenes: the demo's images.
    is_one: whether there is one object in each.
    share: of the steps; both sides of a comparison have the same.
  """

  objective: training.Objective = "weighted Hausdorff"
  scenes: str = "plants"
  is_one: bool = False
  share: float = 1.0


VARIANTS = {
  "whd": Variant(),
  "one_hot": Variant("one-hot"),
  "known": Variant(scenes="eyes", is_one=True),
  "coins": Variant(scenes="coins", share=0.6),
}


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data: "scenes" are procedural, all others are read from --data_dir.
  data: Literal["scenes", "mall", "shanghaitech", "csv"] = "mall"
  size: int = 256  # that images are resized to
  most_points: int = 128  # in an image
  horizontal_flips: bool = True
  vertical_flips: bool = True  # the paper: of plants only
  train_scenes: int = 0
  validation: int = 200  # images at most
  test: int = 200
  workers: int = 8  # processes that read

  # What is trained.
  variants: tuple[str, ...] = ("whd",)
  features: tuple[int, ...] = network.FEATURES
  up_features: tuple[int, ...] = network.UP_FEATURES
  hidden: int = 64
  dropout: float = 0.5
  known_count: float | None = None  # of real data
  count_weight: float = training.COUNT_WEIGHT
  optimizer: Literal["amsgrad", "sgd"] = "amsgrad"
  rate: float = 1e-4
  baseline_rate: float | None = None  # of one_hot, where it needs another
  momentum: float = 0.9
  batch: int = 32
  steps: int = 50_000
  evaluate_every: int = 50  # steps; mall's epoch
  seeds: tuple[int, ...] = (0,)
  once: tuple[str, ...] = ()  # variants trained with the first seed only
  data_seed: int = 0

  # From maps to points, and measures.
  radius: float = 5.0  # pixels of the original
  fixed_thresholds: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
  most_pixels: int | None = 20_000  # to which a mixture is fitted
  judging_batch: int = 16

  # Maps without a network.
  free_seeds: tuple[int, ...] = (0, 1, 2)
  free_size: int = 32
  free_steps: int = 3000
  free_rate: float = 0.05

  # Pictures and prediction.
  pictures: int = 6
  threshold: str = extraction.BETA_MIXTURE  # or "otsu", or a number
  predicting: str = "whd"  # the variant that predicts
  weights: str = ""  # the authors' checkpoint, instead of a trained network

  def __post_init__(self):
    unknown = [name for name in self.variants if name not in VARIANTS]
    if unknown or not self.variants:
      raise ValueError(f"variants {unknown}: there are {', '.join(VARIANTS)}")
    if self.size < 2 ** (len(self.features) - 1):
      raise ValueError(
        f"size {self.size} cannot be halved {len(self.features) - 1} times"
      )
    if len(self.up_features) != len(self.features) - 1:
      raise ValueError("up_features are one less than features")
    if self.data != "scenes" and any(n in ("known", "coins") for n in self.variants):
      raise ValueError("the variants known and coins are of data=scenes")
    method(self.threshold)


def method(text: str) -> extraction.Method:
  """Returns how to threshold; raises a ValueError where the text says no way."""
  if text in extraction.METHODS:
    return text
  try:
    value = float(text)
  except ValueError:
    value = -1.0
  if not 0 <= value <= 1:
    known = ", ".join(map(repr, extraction.METHODS))
    raise ValueError(f"threshold {text!r} is none of {known}, nor in [0, 1]")
  return value


_DEMO = Config(
  data="scenes",
  size=64,
  most_points=12,
  train_scenes=200,
  validation=16,
  test=50,
  workers=0,
  variants=("whd", "one_hot", "known", "coins"),
  features=(8, 16, 32, 32),
  up_features=(32, 16, 8),
  hidden=32,
  rate=5e-3,
  baseline_rate=1e-3,
  batch=4,
  steps=500,
  evaluate_every=100,
  seeds=(0, 1, 2),
  once=("coins",),
  radius=0.05 * 64,
  fixed_thresholds=(0.25, 0.5, 0.75),
  judging_batch=10,
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    size=16,
    train_scenes=8,
    validation=2,
    test=2,
    variants=("whd",),
    features=(4, 4),
    up_features=(4,),
    hidden=4,
    batch=2,
    steps=3,
    evaluate_every=3,
    seeds=(0,),
    radius=0.05 * 16,
    fixed_thresholds=(0.5,),
    judging_batch=2,
    free_seeds=(0,),
    free_size=16,
    free_steps=20,
    pictures=2,
  ),
  "demo": _DEMO,
  "paper": Config(),
}


@functools.cache
def locator(config: Config, variant: str) -> network.Locator:
  known = 1.0 if VARIANTS[variant].is_one else config.known_count
  return network.Locator(
    config.features, config.up_features, config.hidden, config.dropout, known
  )


@functools.cache  # the same step again, so that it is compiled only once
def stages(config: Config) -> dict[str, Stage]:
  """Returns the training of every variant."""
  shapes = data.batch_shapes(
    config.batch, (config.size, config.size), config.most_points
  )

  def rate(name):
    own = config.baseline_rate if name == claims.BASELINE else None
    return own or config.rate

  return {
    name: training.stage(
      name,
      locator(config, name),
      VARIANTS[name].objective,
      training.optimizer(config.optimizer, rate(name), config.momentum),
      shapes,
      count_weight=config.count_weight,
    )
    for name in config.variants
  }


@functools.cache
def initial_state(config: Config, variant: str, seed: int) -> State:
  return _initializer(config, variant)(jax.random.key(seed))


@functools.cache
def _initializer(config: Config, variant: str):
  return jit_once(stages(config)[variant].init)


def scene_size(config: Config, variant: str) -> int:
  """Returns the side of the demo's images: eyes are twice what a network sees."""
  return config.size * (2 if VARIANTS[variant].scenes == "eyes" else 1)


def radius(config: Config, variant: str) -> float:
  """Returns the pixels of an original image within which a point is found."""
  return config.radius * scene_size(config, variant) / config.size


@functools.cache
def source(config: Config, data_dir, variant: str, split: str) -> pipeline.Source:
  """Returns the examples of "train", "validation" or "test", as stored."""
  if config.data == "scenes":
    counts = {
      "train": config.train_scenes,
      "validation": config.validation,
      "test": config.test,
    }
    seed = 3 * config.data_seed + list(counts).index(split)
    kind, count = VARIANTS[variant].scenes, counts[split]
    if kind == "coins":
      part = "test" if split == "test" else "train"
      return pipeline.ArraySource(coins.crops(count, config.size, seed, part))
    return data.scenes(kind, count, scene_size(config, variant), seed)
  from jaxvision.data import builder
  from jaxvision.papers.weighted_hausdorff import dataset

  if data_dir is None:
    raise UserError(f"{config.data} is read from --data_dir=DIR")
  return builder.load(dataset.BUILDERS[config.data], split, data_dir=data_dir)


def examples(config: Config, data_dir, variant: str, split: str) -> list[dict]:
  """Returns the images that are measured on, in memory."""
  stored = source(config, data_dir, variant, split)
  most = config.validation if split == "validation" else config.test
  return [stored[index] for index in range(min(most, len(stored)))]


def trainings(config: Config) -> list[tuple[str, str, int]]:
  """Returns (name, variant, seed) of every training."""
  return [
    (f"{variant}-{seed}", variant, seed)
    for variant in config.variants
    for seed in config.seeds[: 1 if variant in config.once else None]
  ]


def train(config: Config, run) -> None:
  """Trains every variant with its seeds; keeps the state that validates best."""
  shape = config.size, config.size
  flips = config.horizontal_flips, config.vertical_flips
  for name, variant, seed in trainings(config):
    batches = pipeline.batches(
      source(config, run.data_dir, variant, "train"),
      batch_size=config.batch,
      seed=seed,
      transform=data.transform(shape, config.most_points, flips),
      workers=config.workers,
    )
    fit(
      run,
      name,
      initial_state(config, variant, seed),
      stages(config)[variant].step,
      batches,
      math.ceil(config.steps * VARIANTS[variant].share),
      eval_every=config.evaluate_every,
      evaluate=evaluation.validation(
        locator(config, variant),
        examples(config, run.data_dir, variant, "validation"),
        shape,
        config.judging_batch,
        radius(config, variant),
      ),
      best=("ahd", "lower"),
    )


def predictor(config: Config, run, variant: str, seed: int) -> evaluation.Predictor:
  """Returns the network of a training that validated best."""
  state = initial_state(config, variant, seed)
  state = restore(run, f"{variant}-{seed}", state, best=True)
  return evaluation.Predictor(locator(config, variant), state.params, state.model_state)


def evaluate(config: Config, run) -> None:
  """Measures all variants on the same images and compares as the paper does."""
  maps = free_maps.optimize(
    config.free_seeds,
    size=config.free_size,
    steps=config.free_steps,
    rate=config.free_rate,
  )
  claims.claim_free_maps(run, maps)
  run.figure(
    "free_maps",
    figures.free_figure(maps),
    "Maps whose every pixel is free, after Adam; rings: the points.",
  )
  adaptive = (extraction.BETA_MIXTURE, extraction.OTSU)
  rows, predictions = {}, {}
  for _, variant, seed in trainings(config):
    some = examples(config, run.data_dir, variant, "test")
    shape = config.size, config.size
    found = predictor(config, run, variant, seed).predict(
      some, shape, config.judging_batch
    )
    predictions[variant, seed] = found
    more = config.fixed_thresholds if seed == config.seeds[0] else ()
    for how in dict.fromkeys((*adaptive, claims.FIXED, *more)):
      rows[variant, seed, how] = evaluation.measure(
        found, how, radius(config, variant), most_pixels=config.most_pixels
      )
  table = claims.means(rows)
  run.table(
    "variants",
    table,
    f"Means over seeds, r = {config.radius:g} pixels. known: pupils, one each, images "
    "and r twice as large; coins: crops of the half of a photograph that no training "
    "saw.",
  )
  run.table("paper", claims.paper_rows(), "The paper's Table 1, r = 5 pixels.")
  for row in table:
    if row["threshold"] == extraction.BETA_MIXTURE:
      run.result(f"{row['variant']}: F", row["F"], unit="%")
      run.result(f"{row['variant']}: AHD", row["AHD, pixels"], unit="pixels")
      run.result(f"{row['variant']}: MAE of counts", row["count MAE"])
  claims.claim_networks(run, rows, scene_size(config, claims.KNOWN))
  keep_pictures(config, run, rows, predictions)


def keep_pictures(config: Config, run, rows, predictions) -> None:
  """Shows maps and points of each variant's first seed, thresholds and counts."""
  seed = config.seeds[0]
  methods = (extraction.BETA_MIXTURE, extraction.OTSU, *config.fixed_thresholds)
  groups: dict[str, list[str]] = {}
  for variant in config.variants:
    groups.setdefault(VARIANTS[variant].scenes, []).append(variant)
  for scenes, names in groups.items():
    shown = {
      name: [
        (
          one,
          evaluation.locate(one, extraction.OTSU, most_pixels=config.most_pixels),
        )
        for one in predictions[name, seed][: config.pictures]
      ]
      for name in names
    }
    run.figure(
      f"located_{scenes}",
      figures.located_figure(shown),
      "Maps of test images, as bright as a row's largest value allows; rings: truth, "
      "crosses: found (Otsu), below: estimated and true number.",
    )
  first = {key: scores for key, scores in rows.items() if key[1] == seed}
  run.figure(
    "thresholds",
    figures.threshold_figure(
      {name: claims.mean_by_method(first, name, methods) for name in config.variants}
    ),
    f"F by the way of thresholding, seed {seed}.",
  )
  counted = [name for name in config.variants if not VARIANTS[name].is_one]
  if counted:
    run.figure(
      "counts",
      figures.count_figure({name: predictions[name, seed] for name in counted}),
      "Estimated numbers over the true ones, test images.",
    )
  if "coins" in config.variants:
    tiles = predictor(config, run, "coins", seed).predict(
      coins.tiles(), (config.size, config.size), config.judging_batch
    )
    located = [evaluation.locate(one, extraction.BETA_MIXTURE) for one in tiles]
    rows = [
      np.concatenate(
        [figures.overlay(one.image, found.points), figures.heat(found.saliency)], axis=1
      )
      for one, found in zip(tiles, located, strict=True)
    ]
    run.picture(
      "coins",
      np.concatenate(rows),
      "The half of the coins that no training saw, in two tiles: "
      f"{sum(one.count for one in tiles):.1f} of "
      f"{sum(len(one.truth) for one in tiles)} counted; and its map.",
    )


def predict(config: Config, run, inputs) -> None:
  """Writes points.csv, and for each image one with crosses and its map."""
  from jaxvision.papers.weighted_hausdorff import prediction, published

  images = prediction.read(inputs)
  shape = config.size, config.size
  if config.weights:
    found, variables = published.load(
      config.weights, size=shape, known_count=config.known_count
    )
    variables = dict(variables)
    chosen = evaluation.Predictor(found, variables.pop("params"), variables)
  else:
    if config.predicting not in config.variants:
      raise UserError(
        f"--config.predicting={config.predicting} was not trained: "
        f"{', '.join(config.variants)} were"
      )
    chosen = predictor(config, run, config.predicting, config.seeds[0])
  found = prediction.locate(
    chosen,
    images,
    shape,
    method(config.threshold),
    batch=min(len(images), config.judging_batch),
    seed=config.data_seed,
    most_pixels=config.most_pixels,
  )
  if run.is_main:
    for row in prediction.write(run.out, found):
      run.log(
        f"{row['file']}: {row['count']:.2f} counted, {len(row['points'])} located"
      )


if __name__ == "__main__":
  launcher.main(
    "weighted_hausdorff",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
