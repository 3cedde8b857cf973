"""2.5D Visual Sound (Gao and Grauman, CVPR 2019).

The story: a network hears the sum of both ears, sees a picture, and predicts their
difference. It is compared with one that only hears, with itself looking at mirrored
pictures, and with mono sound in both ears. Where it looks is found by hiding parts of
the picture. Last, networks separate two sounds that differ only in where they come
from, by mono sound, by the binaural sound that was predicted, and by the true one.

  python -m experiments.mono2binaural [--preset=demo]

The demo's videos are procedural, its ears are those of a spherical head, and its sound
has 4 kHz. Its sizes and rates were set for the time they take, its steps after some
trainings of seed 0; all that is compared has the same. The paper preset reads FAIR-Play
from --data_dir (`fair_play` in jaxvision.papers.mono2binaural says how it must lie
there) and starts from torchvision's ResNet-18, --config.imagenet.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np

from jaxvision import published as checkpoints
from jaxvision.data import pipeline
from jaxvision.data.binaural_scenes import Scenes
from jaxvision.errors import UserError
from jaxvision.papers.mono2binaural import (
  claims,
  data,
  evaluation,
  figures,
  inference,
  occlusion,
  published,
  separation,
  training,
)
from jaxvision.papers.mono2binaural.audio import AudioFormat, Resynthesis
from jaxvision.papers.mono2binaural.networks import AudioVisualNet, Sizes
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = "R. Gao and K. Grauman, 2.5D Visual Sound, CVPR 2019"
VARIANTS = (claims.OURS, claims.AUDIO_ONLY)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data.
  data: Literal["scenes", "fair_play"] = "fair_play"
  split: int = 1  # of FAIR-Play's ten
  scenes: Scenes = dataclasses.field(default_factory=Scenes)
  train_scenes: int = 0
  test_scenes: int = 0
  test_clips: int = 187  # of real ones, at most
  form: AudioFormat = dataclasses.field(default_factory=AudioFormat)
  height: int = 224
  width: int = 448
  frame_rate: float = inference.FRAME_RATE
  augment: bool = True
  workers: int = 8  # processes that read
  data_seed: int = 0

  # Networks and training.
  variants: tuple[str, ...] = VARIANTS
  sizes: Sizes = dataclasses.field(default_factory=Sizes)
  imagenet: str = ""  # torchvision's resnet18, a file, or "none"
  batch: int = 256
  epoch_clips: int = 749  # half of the training clips; the others train separation
  epochs: int = 1000
  decay_epochs: int = 10
  steps: int | None = None  # instead of the epochs
  audio_rate: float = 1e-3
  visual_rate: float = 1e-4
  weight_decay: float = 5e-4
  decay: float = 0.94
  validate_every: int = 100  # steps; the best is kept. 0 keeps the last
  validation_batches: int = 1
  seeds: tuple[int, ...] = (0,)

  # Whole clips.
  hop: float = inference.HOP
  n_fft: Resynthesis = "published"
  windows: int = inference.BATCH  # that pass the network at a time

  # Occlusion.
  block: int = occlusion.BLOCK

  # Separation.
  separation: tuple[str, ...] = separation.KINDS
  separation_start: Literal["imagenet", "binaural"] = "imagenet"  # of what sees
  separation_steps: int | None = None  # instead of the epochs
  solo_clips: int = 10  # test clips that make pairs
  pairs: int = 45  # at most
  filter_length: int = 512  # of BSS-eval

  # Pictures and prediction.
  pictures: int = 4
  weights: tuple[str, ...] = ()  # the authors' checkpoints: audio, or visual and audio
  mix_down: bool = False  # whether predict takes binaural recordings, and adds them

  def __post_init__(self):
    unknown = [kind for kind in self.separation if kind not in separation.KINDS]
    if unknown:
      raise ValueError(f"separation {unknown}: there are {', '.join(separation.KINDS)}")
    if self.data == "scenes" and self.scenes.rate != self.form.rate:
      raise ValueError(f"form.rate is {self.form.rate}, scenes.rate {self.scenes.rate}")
    if self.variants not in (VARIANTS, VARIANTS[:1]):
      raise ValueError(f"variants are {', '.join(VARIANTS)}, or the first alone")


_DEMO = Config(
  data="scenes",
  scenes=Scenes(),
  train_scenes=512,
  test_scenes=40,
  form=AudioFormat(rate=4000, n_fft=128, hop=64, window=128, segment=0.496),
  height=48,
  width=96,
  augment=False,
  workers=0,
  sizes=Sizes(features=16, visual_blocks=(1, 1, 1), visual_widths=(8, 16, 32)),
  imagenet="none",
  batch=16,
  epoch_clips=512,
  steps=250,
  audio_rate=2e-3,
  visual_rate=2e-3,
  validate_every=0,
  seeds=(0, 1, 2),
  hop=0.1,
  n_fft="exact",
  block=8,
  separation=("mono", "binaural"),
  separation_start="binaural",
  separation_steps=150,
  solo_clips=40,
  pairs=40,
  filter_length=16,
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    scenes=Scenes(height=32, width=64),
    train_scenes=8,
    test_scenes=2,
    height=32,
    width=64,
    variants=VARIANTS[:1],  # the others take as long to compile
    sizes=Sizes(features=2, reduced=2, visual_blocks=(1,), visual_widths=(4,)),
    batch=2,
    steps=2,
    seeds=(0,),
    separation=(),
    pictures=1,
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def preparation(config: Config) -> data.Preparation:
  return data.Preparation(
    config.form, config.height, config.width, config.augment, config.frame_rate
  )


@functools.cache
def network(config: Config, name: str) -> AudioVisualNet:
  """Returns the network of a variant or of a kind of separation."""
  outputs = separation.CHANNELS.get(name, 2)
  return config.sizes.make(outputs=outputs, sees=name != claims.AUDIO_ONLY)


@functools.cache  # the same step again, so that it is compiled only once
def stages(config: Config) -> dict[str, Stage]:
  """Returns the training of both variants and of every kind of separation."""
  optimizer = training.optimizer(
    config.audio_rate,
    config.visual_rate,
    weight_decay=config.weight_decay,
    decay=config.decay,
    decay_steps=max(config.decay_epochs * config.epoch_clips // config.batch, 1),
  )
  form, size = config.form, (config.height, config.width)
  shapes = data.batch_shapes(config.batch, form, *size)
  made = {
    name: training.stage(name, network(config, name), form, optimizer, shapes)
    for name in config.variants
  }
  for kind in config.separation:
    channels = separation.CHANNELS[kind]
    made[f"separation_{kind}"] = training.stage(
      f"separation_{kind}",
      network(config, kind),
      form,
      optimizer,
      data.mixture_shapes(config.batch, form, *size, channels),
      separation.mask_loss,
      inputs=channels,
    )
  return made


@functools.cache
def initial_state(config: Config, name: str, seed: int) -> State:
  """Returns the state that a training starts from, unless what sees is trained."""
  return _initializer(config, name)(jax.random.key(seed))


@functools.cache
def _initializer(config: Config, name: str):
  return jit_once(stages(config)[name].init)


@functools.cache
def scenes(config: Config, part: str) -> dict[str, np.ndarray]:
  """Returns the scenes of a part; all but "train" and "test" have one instrument."""
  parts = ("train", "test", "solo_train", "solo_test", "single")
  count = {
    "train": config.train_scenes,
    "solo_train": config.train_scenes,
    "solo_test": config.solo_clips,
  }.get(part, config.test_scenes)
  sources = (1, 2, 2, 3) if part in ("train", "test") else (1,)
  seed = len(parts) * config.data_seed + parts.index(part)
  return config.scenes.draw(seed, count, sources)


@functools.cache
def clips(config: Config, data_dir, part: str) -> pipeline.Source:
  """Returns the clips of a part at random access: as `scenes`, or "val"."""
  if config.data == "scenes":
    arrays = scenes(config, "test" if part == "val" else part)
    return pipeline.ArraySource(arrays)
  from jaxvision.data import builder
  from jaxvision.papers.mono2binaural import fair_play

  if data_dir is None:
    raise UserError(f"{config.data} is read from --data_dir=DIR")
  split = part.removeprefix("solo_")
  examples = builder.load(fair_play.split(config.split), split, data_dir=data_dir)
  if split == "train":
    return fair_play.Half(examples, int(part == "solo_train"))
  most = {"test": config.test_clips, "solo_test": config.solo_clips}
  return data.Head(examples, most.get(part, len(examples)))


def partners(config: Config, part: str, count: int) -> list[np.ndarray]:
  """Returns for each clip those that it is mixed with."""
  if config.data != "scenes":
    return data.partners(count)
  made = scenes(config, part)
  columns = made["positions"][:, 0, 1]
  return data.partners(count, made["kinds"][:, 0], columns, config.width / 4)


def train(config: Config, run) -> None:
  """Trains both variants, then separation from what the first one predicts."""
  seen = imagenet(config)
  for name, seed in itertools.product(config.variants, config.seeds):
    state = initial_state(config, name, seed)
    if seen is not None and name != claims.AUDIO_ONLY:
      state = training.with_visual(state, seen)
    batches = pipeline.batches(
      clips(config, run.data_dir, "train"),
      batch_size=config.batch,
      seed=seed,
      transform=preparation(config),
      workers=config.workers,
    )
    check = validation(config, run, name)
    step = stages(config)[name].step
    steps = config.steps or config.epochs * config.epoch_clips // config.batch
    fit(run, f"{name}-{seed}", state, step, batches, steps, **check)
  for kind, seed in itertools.product(config.separation, config.seeds):
    train_separation(config, run, kind, seed, seen)


def train_separation(config: Config, run, kind: str, seed: int, seen) -> None:
  """Trains one kind of separation on pairs of clips of its own half."""
  name = f"separation_{kind}"
  source = clips(config, run.data_dir, "solo_train")
  state = initial_state(config, name, seed)
  if config.separation_start == "binaural":
    trained = trained_variables(config, run, claims.OURS, seed)
    seen = {collection: tree["visual"] for collection, tree in trained.items()}
  if seen is not None:
    state = training.with_visual(state, seen)
  mixing = data.Mixing(
    preparation(config),
    source,
    heard(config, run, kind, seed, "solo_train"),
    partners(config, "solo_train", len(source)),
  )
  batches = pipeline.batches(
    range(len(source)), batch_size=config.batch, seed=seed, transform=mixing
  )
  steps = config.separation_steps or config.epochs * config.epoch_clips // config.batch
  fit(run, f"{name}-{seed}", state, stages(config)[name].step, batches, steps)


def imagenet(config: Config):
  """Returns the variables that what sees starts from, or None."""
  if config.imagenet == "none":
    return None
  if not config.imagenet:
    raise UserError("give torchvision's resnet18 as --config.imagenet=FILE, or none")
  weights = checkpoints.load(config.imagenet)
  return published.imagenet(weights, network(config, claims.OURS).visual)


def validation(config: Config, run, name: str) -> dict:
  """Returns the options of `fit` that keep what is best on other clips."""
  if not config.validate_every:
    return {}
  source = clips(config, run.data_dir, "val")
  batches = pipeline.batches(
    source,
    batch_size=min(config.batch, len(source)),
    seed=0,
    transform=dataclasses.replace(preparation(config), augment=False),
  )
  kept = [next(batches) for _ in range(config.validation_batches)]
  return training.validation(stages(config)[name], kept, config.validate_every)


def trained_variables(config: Config, run, name: str, seed: int):
  """Returns the variables that a training ended with, or its best ones."""
  best = name in VARIANTS and config.validate_every > 0
  state = initial_state(config, name, seed)
  return training.variables_of(restore(run, f"{name}-{seed}", state, best=best))


def binauralizer(config: Config, run, name: str, seed: int) -> evaluation.Binauralizer:
  """Returns a trained network as a method for whole clips."""
  variables = trained_variables(config, run, name, seed)
  return for_clips(config, network(config, name), variables)


def for_clips(config: Config, network, variables) -> evaluation.Binauralizer:
  return evaluation.Binauralizer(
    network,
    variables,
    config.form,
    hop=config.hop,
    frame_rate=config.frame_rate,
    n_fft=config.n_fft,
    batch=config.windows,
  )


@functools.lru_cache(maxsize=2)
def heard(config: Config, run, kind: str, seed: int, part: str) -> Sequence[np.ndarray]:
  """Returns what separation hears of each clip of a part, [T, C]."""
  make = binauralizer(config, run, claims.OURS, seed) if kind == "binaural" else None
  source = clips(config, run.data_dir, part)
  return evaluation.heard(kind, make, source, preparation(config))


def evaluate(config: Config, run) -> None:
  """Measures all on the same clips and makes the paper's comparisons again."""
  rows, shown = {}, {}
  for seed in config.seeds:
    methods = {name: binauralizer(config, run, name, seed) for name in config.variants}
    methods[claims.FLIPPED] = methods[claims.OURS].flipped
    methods[claims.MONO_MONO] = inference.mono_mono
    source = clips(config, run.data_dir, "test")
    examples = evaluation.clips(source, preparation(config))
    measured = evaluation.measure(examples, methods, config.form)
    rows |= {(name, seed): row for name, row in measured.items()}
    shown = shown or methods
  run.table(
    "distances",
    claims.table(rows, claims.PAPER),
    "To the true binaural clips, means over clips and seeds; lower is better. The "
    "paper's numbers are FAIR-Play's.",
  )
  claims.record(run, rows, claims.PAPER, "")
  claims.claim_distances(run, rows, config.seeds)
  keep_balance(config, run, shown)
  if config.data == "scenes":
    localize(config, run)
  if config.separation:
    separate(config, run)


def keep_balance(config: Config, run, methods) -> None:
  """Shows which ear hears more, of test clips, first those of several instruments."""
  source = clips(config, run.data_dir, "test")
  examples = evaluation.clips(source, preparation(config))
  if config.data == "scenes":
    is_one = np.sum(scenes(config, "test")["kinds"] >= 0, axis=1) == 1
    order = np.argsort(is_one, kind="stable")
    examples = evaluation.clips([source[i] for i in order], preparation(config))
  some = list(itertools.islice(examples, config.pictures))
  shown = {name: methods[name] for name in (*config.variants, claims.FLIPPED)}
  run.figure(
    "ears",
    figures.rows_figure(evaluation.compared(some, shown, config.form)),
    "Spectra of both ears: blue where the left one hears more, orange where the right "
    "one does. From the sum alone nothing tells; the frame does.",
  )


def localize(config: Config, run) -> None:
  """Asks where the networks look in scenes of one instrument."""
  single = scenes(config, "single")
  found = [
    evaluation.localize(
      network(config, claims.OURS),
      trained_variables(config, run, claims.OURS, seed),
      single,
      config.form,
      config.block,
    )
    for seed in config.seeds
  ]
  hits = float(np.mean([one.hits for one in found]))
  run.result("peak of occlusion within one block of what sounds", hits)
  run.result("the same by chance", found[0].chance)
  claims.claim_localisation(run, hits, found[0].chance, config.seeds)
  frames = single["frames"][:, single["frames"].shape[1] // 2] / 255.0
  run.figure(
    "occlusion",
    figures.occlusion_figure(frames[:8], found[0].heats[:8], config.block),
    "Bright blocks are those whose hiding makes the predicted difference worse.",
  )


def separate(config: Config, run) -> None:
  """Measures how well pairs of clips are separated by their frames."""
  source = clips(config, run.data_dir, "solo_test")
  pairs = data.pairs(partners(config, "solo_test", len(source)), config.pairs)
  rows, shown = {}, {}
  for kind, seed in itertools.product(config.separation, config.seeds):
    channels = heard(config, run, kind, seed, "solo_test")
    mixtures = evaluation.mixtures(pairs, channels, source, preparation(config))
    variables = trained_variables(config, run, f"separation_{kind}", seed)
    separated = evaluation.separate(
      network(config, kind), variables, mixtures, config.form, config.filter_length
    )
    rows[kind, seed] = separated.scores
    shown.setdefault(kind, separated.estimates)
  run.table(
    "separation",
    claims.table(rows, claims.PAPER_SEPARATION),
    f"dB, {len(pairs)} pairs of clips, both compared as mono; BSS-eval with "
    f"{config.filter_length} taps.",
  )
  claims.record(run, rows, claims.PAPER_SEPARATION, "dB")
  claims.claim_separation(run, rows, config.seeds)
  some = evaluation.parted(mixtures, shown, config.form, config.pictures)
  run.figure(
    "separation",
    figures.rows_figure(some),
    "Mixtures of two sounds, and what comes from the one that the frame shows.",
  )


def predict(config: Config, run, inputs) -> None:
  """Writes binaural WAV files of mono ones, and pictures of what was heard and seen."""
  from jaxvision.papers.mono2binaural import prediction

  recordings, frames = prediction.read_inputs(
    inputs, preparation(config), mix_down=config.mix_down
  )
  if config.weights:
    make = for_clips(config, *published.load(config.weights))
  else:
    make = binauralizer(config, run, claims.OURS, config.seeds[0])
  made = [
    prediction.predict(
      make, one, frames, block=config.block, frame_rate=config.frame_rate
    )
    for one in recordings
  ]
  if run.is_main:
    for row in prediction.write(run.out, made):
      run.log("; ".join([f"{row['file']}: {row['binaural']}", *row["remarks"]]))


if __name__ == "__main__":
  launcher.main(
    "mono2binaural",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
