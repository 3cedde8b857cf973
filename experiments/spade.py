"""Semantic Image Synthesis with Spatially-Adaptive Normalization (Park et al. 2019).

The story: a generator whose normalisations are scaled and shifted, pixel by pixel, as
a label map says (SPADE) is trained against one that sees the labels as channels beside
its features (concat), against the encoder-decoder of pix2pixHD++, and with windows of
1 x 1; all have the same losses, discriminator, steps and width. A segmenter that was
trained on real pictures judges whether the synthesised ones show their labels, and
how far its features of both are apart. One more generator takes its style from a
picture, or from chance.

  python -m experiments.spade [--preset=demo]

The demo's scenes are procedural, 32 x 32, and its generators have three doublings
instead of five ("few"). Its sizes, rates and steps were set for the time they take,
before any result was seen; the seeds show training noise only. The paper preset is
COCO-Stuff's; other data sets of --data_dir by --config.data=NAME, with epochs as the
paper says: 100 + 100 that decay for ADE20K and Cityscapes, 50 for Flickr. Its
perceptual loss needs --config.vgg, torchvision's VGG-19.
"""

import dataclasses
import functools
from typing import Literal

import jax
import numpy as np
import optax

from jaxvision import published as checkpoints
from jaxvision.data import pipeline
from jaxvision.data.picture_grids import picture_grid
from jaxvision.errors import UserError
from jaxvision.nn.unet import UNet
from jaxvision.papers.spade import (
  claims,
  data,
  evaluation,
  figures,
  losses,
  preprocessing,
  published,
  segmenter,
  training,
  variants,
)
from jaxvision.papers.spade.variants import DATA_SETS, VARIANTS, Sizes
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = (
  "T. Park, M.-Y. Liu, T.-C. Wang and J.-Y. Zhu, Semantic Image Synthesis with "
  "Spatially-Adaptive Normalization, CVPR 2019"
)
SEGMENTER = "segmenter"


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data: "scenes" are procedural, all others are read from --data_dir.
  data: Literal[tuple(DATA_SETS)] = "coco"
  train_scenes: int = 0
  validation: int = 5000  # pictures that measures are taken on, at most
  load_size: int = 286  # that pictures are resized to before they are cropped
  workers: int = 8  # processes that read

  # What is trained.
  variants: tuple[str, ...] = ("spade",)
  sizes: Sizes = dataclasses.field(default_factory=Sizes)
  batch: int = 32
  epoch_steps: int = 3696
  epochs: int = 100
  decay_epochs: int = 0
  rate: float = 2e-4
  mode: Literal[losses.MODES] = "hinge"
  features: float = losses.FEATURES_WEIGHT
  perceptual: float = losses.PERCEPTUAL_WEIGHT
  style: float = losses.STYLE_WEIGHT
  vgg: str = ""  # torchvision's VGG-19, a file, for the perceptual loss
  seeds: tuple[int, ...] = (0,)
  once: tuple[str, ...] = ()  # variants trained with the first seed only

  # The segmenter that judges.
  segmenter_features: tuple[int, ...] = (32, 64, 128, 256, 512)
  segmenter_steps: int = 100_000
  segmenter_batch: int = 32
  segmenter_rate: float = 1e-3
  judging_batch: int = 32  # pictures that are made and judged at a time
  data_seed: int = 0

  # Pictures and prediction.
  pictures: int = 8
  style_pictures: int = 32
  draws: int = 4  # random styles of a label map
  weights: tuple[str, ...] = ()  # authors' checkpoints for predict: G, or G and E

  def __post_init__(self):
    unknown = [name for name in self.variants if name not in VARIANTS]
    if unknown:
      raise ValueError(f"variants {unknown}: there are {', '.join(VARIANTS)}")
    if not self.variants:
      raise ValueError("variants: there is none")


_DEMO = Config(
  data="scenes",
  train_scenes=512,
  validation=128,
  load_size=32,
  workers=0,
  variants=("spade", "concat", "kernel_1", "pix2pixhd++", "styled"),
  sizes=Sizes(
    features=8,
    hidden=16,
    discriminator=8,
    discriminator_layers=3,
    encoder=8,
    encoder_side=32,
    latent=16,
    halvings=2,
    blocks=3,
  ),
  batch=4,
  judging_batch=16,
  epoch_steps=64,
  epochs=4,
  decay_epochs=2,
  rate=2e-3,
  perceptual=0.0,
  style=0.01,
  seeds=(0, 1, 2),
  once=("pix2pixhd++", "styled"),
  segmenter_features=(8, 16, 32),
  segmenter_steps=400,
  segmenter_batch=16,
  segmenter_rate=4e-3,
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    train_scenes=8,
    validation=4,
    variants=("pix2pixhd++_spade",),  # the quickest to compile
    sizes=dataclasses.replace(
      _DEMO.sizes,
      features=2,
      hidden=4,
      discriminator=2,
      discriminator_layers=2,
      halvings=1,
      blocks=0,
    ),
    batch=2,
    judging_batch=2,
    epoch_steps=2,
    epochs=1,
    decay_epochs=1,
    seeds=(0,),
    segmenter_features=(4,),
    segmenter_steps=2,
    segmenter_batch=2,
    pictures=2,
    style_pictures=3,
    draws=2,
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def classes(config: Config) -> variants.DataSet:
  return DATA_SETS[config.data]


def preparation(config: Config) -> preprocessing.Preprocessing:
  """Returns how examples become of one size in training."""
  if config.data == "cityscapes":
    return preprocessing.CITYSCAPES
  size = classes(config).crop_size
  return preprocessing.Preprocessing("resize_and_crop", config.load_size, size)


def testing(config: Config) -> preprocessing.Preprocessing:
  """Returns how examples become of one size in evaluation: whole, never mirrored."""
  made = preparation(config)
  return dataclasses.replace(made, load_size=made.crop_size, flip=False)


@functools.cache
def networks(config: Config, variant: str) -> training.Networks:
  return variants.networks(variant, classes(config), config.sizes)


@functools.cache
def judge_network(config: Config) -> UNet:
  return UNet(classes(config).num_classes, config.segmenter_features)


@functools.cache  # the same step again, so that it is compiled only once
def stages(config: Config) -> dict[str, Stage]:
  """Returns the segmenter's training, and that of every variant."""
  shapes = functools.partial(data.batch_shapes, data=classes(config))
  rate = optax.cosine_decay_schedule(config.segmenter_rate, config.segmenter_steps)
  made = {
    SEGMENTER: segmenter.stage(
      judge_network(config), optax.adam(rate), shapes(config.segmenter_batch)
    )
  }
  for name in config.variants:
    equal = VARIANTS[name].equal_rates
    made[name] = training.stage(
      name,
      networks(config, name),
      training.Objective(
        "ls" if equal else config.mode,
        config.features,
        config.perceptual,
        config.style,
      ),
      training.two_time_scales(
        config.rate,
        equal=equal,
        steps_per_epoch=config.epoch_steps,
        constant_epochs=config.epochs,
        decay_epochs=config.decay_epochs,
      ),
      shapes(config.batch),
      perceptual=config.perceptual > 0,
    )
  return made


@functools.cache
def initial_state(config: Config, name: str, seed: int) -> State:
  return _initializer(config, name)(jax.random.key(seed))


@functools.cache
def _initializer(config: Config, name: str):
  return jit_once(stages(config)[name].init)


@functools.cache
def source(config: Config, data_dir, split: str) -> pipeline.Source:
  """Returns the examples of "train" or "val" at random access, as stored."""
  if config.data == "scenes":
    is_training = split == "train"
    count = config.train_scenes if is_training else config.validation
    size = classes(config).crop_size
    return data.scenes(count, size, 2 * config.data_seed + (not is_training))
  from jaxvision.data import builder

  if data_dir is None:
    raise UserError(f"{config.data} is read from --data_dir=DIR")
  return builder.load(data.BUILDERS[config.data], split, data_dir=data_dir)


def trainings(config: Config) -> list[tuple[str, str, int]]:
  """Returns (name, variant, seed) of every generator's training."""
  return [
    (f"{variant}-{seed}", variant, seed)
    for variant in config.variants
    for seed in config.seeds[: 1 if variant in config.once else None]
  ]


def train(config: Config, run) -> None:
  """Trains the segmenter, then every variant with its seeds."""
  vgg = None
  if config.perceptual > 0:
    if not config.vgg:
      raise UserError(
        "the perceptual loss looks through VGG-19: give torchvision's weights as "
        "--config.vgg=FILE, or --config.perceptual=0"
      )
    vgg = published.vgg19(checkpoints.load(config.vgg), config.vgg)

  def batches(size, seed):
    return pipeline.batches(
      source(config, run.data_dir, "train"),
      batch_size=size,
      seed=seed,
      transform=data.to_batch(preparation(config)),
      workers=config.workers,
    )

  def learn(name, stage, seed, size, steps, state):
    fit(run, name, state, stages(config)[stage].step, batches(size, seed), steps)

  state = initial_state(config, SEGMENTER, config.data_seed)
  learn(
    SEGMENTER,
    SEGMENTER,
    config.data_seed,
    config.segmenter_batch,
    config.segmenter_steps,
    state,
  )
  steps = config.epoch_steps * (config.epochs + config.decay_epochs)
  for name, variant, seed in trainings(config):
    state = initial_state(config, variant, seed)
    if vgg is not None:
      state = training.with_vgg(state, vgg)
    learn(name, variant, seed, config.batch, steps, state)


def synthesizer(config: Config, run, variant: str, seed: int):
  """Returns the generator that a training ended with."""
  state = restore(run, f"{variant}-{seed}", initial_state(config, variant, seed))
  return evaluation.Synthesizer(
    networks(config, variant), state.params[training.GENERATOR], state.model_state
  )


def evaluate(config: Config, run) -> None:
  """Measures all variants on the same label maps and compares as the paper does."""
  state = restore(run, SEGMENTER, initial_state(config, SEGMENTER, config.data_seed))
  judge = segmenter.Judge(judge_network(config), state.params)

  def examples(count=config.validation):
    pictures = source(config, run.data_dir, "val")
    return evaluation.batches(pictures, count, config.judging_batch, testing(config))

  real = evaluation.measure(judge, examples())
  run.result("real pictures: mIoU", real.mean_iou, note="by the segmenter trained here")
  run.result("real pictures: accuracy", real.accuracy)
  rows, styles = {}, {}
  makers = {}
  for _, variant, seed in trainings(config):
    make = synthesizer(config, run, variant, seed)
    found = evaluation.measure(judge, examples(), make)
    alone = evaluation.uniform_maps(make, judge, classes(config), config.judging_batch)
    rows[variant, seed] = {
      "mIoU": found.mean_iou,
      "accuracy": found.accuracy,
      "Fréchet distance": evaluation.distance(found, real),
      "difference of classes alone": alone.difference,
      "classes alone recognised": alone.recognised,
    }
    if VARIANTS[variant].styled:
      contents = next(examples())
      pictures = np.concatenate(
        [batch["images"] for batch in examples(config.style_pictures)]
      )
      styles[seed] = evaluation.styles(make, contents, pictures, config.draws)
    if seed == config.seeds[0]:
      makers[variant] = make, alone.images
  run.table(
    "variants",
    claims.means(rows),
    "Means over seeds, on the same label maps. A segmenter trained here judges, so no "
    "number compares with the paper's; the Fréchet distance is of its features, and is "
    "no FID.",
  )
  for row in claims.means(rows):
    run.result(f"{row['variant']}: mIoU", row["mIoU"])
  claims.claim_all(run, rows, styles, config.seeds)
  keep_pictures(config, run, makers, examples)


def keep_pictures(config: Config, run, makers, examples) -> None:
  """Shows what each variant of the first seed makes, and what styles do."""
  batch = next(examples())
  colors = figures.color_labels(batch["labels"], classes(config))
  shown = {"labels": colors, "real": batch["images"]}
  key = jax.random.key(0)
  shown |= {name: make(batch, key) for name, (make, _) in makers.items()}
  run.figure(
    "synthesised",
    picture_grid({name: rows[: config.pictures] for name, rows in shown.items()}),
    "Label maps that no training saw, and what each generator makes of them.",
  )
  alone = {name: images[: 2 * config.pictures] for name, (_, images) in makers.items()}
  names = figures.class_names(config.data)
  run.figure(
    "one_class",
    picture_grid(alone, names),
    "Maps that one class fills: instance normalisation behind the labels makes them "
    "alike.",
  )
  styled = [name for name in makers if VARIANTS[name].styled]
  if not styled:
    return
  make, _ = makers[styled[0]]
  pictures = batch["images"]
  contents = {"style of": pictures}
  for number in range(min(3, len(pictures))):
    maps = _repeated(batch, number, len(pictures))
    contents[f"map {number + 1}"] = make(maps, key, pictures)
  contents["map 1, by chance"] = make(_repeated(batch, 0, len(pictures)), key)
  run.figure(
    "styles",
    picture_grid({name: rows[: config.pictures] for name, rows in contents.items()}),
    "Each column takes its style from the picture at its top; the last row draws it.",
  )


def _repeated(batch, index: int, times: int) -> dict[str, np.ndarray]:
  maps = {name: batch[name] for name in ("labels", "instances") if name in batch}
  return {name: np.repeat(x[index : index + 1], times, 0) for name, x in maps.items()}


def predict(config: Config, run, inputs) -> None:
  """Writes an image for each label map, in the style of each colour picture given."""
  from jaxvision.papers.spade import prediction

  read = [prediction.read(path, classes(config)) for path in inputs]
  labels = [one for one in read if isinstance(one, prediction.LabelMap)]
  pictures = [one for one in read if isinstance(one, prediction.StylePicture)]
  if not labels:
    raise UserError(
      f"{inputs[0]}: a picture; give a label map too, a PNG of one channel"
    )
  if config.weights:
    make = prediction.load_weights(config.weights, classes(config))
  else:
    styled = [name for name in config.variants if VARIANTS[name].styled]
    variant = styled[0] if pictures and styled else config.variants[0]
    make = synthesizer(config, run, variant, config.seeds[0])
  if pictures and make.networks.encoder is None:
    raise UserError(
      f"{pictures[0].path}: no network here takes a style; train --config.variants="
      "styled"
    )
  made = prediction.synthesize(make, labels, pictures, config.draws, config.data_seed)
  if run.is_main:
    for row in prediction.write(run.out, made):
      run.log(f"{row['file']}: {row['image']}")


if __name__ == "__main__":
  launcher.main(
    "spade",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
