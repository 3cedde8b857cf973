"""GA-Net: guided aggregation for stereo matching (Zhang et al., CVPR 2019).

The story: a network compares the two views at every disparity, and the volume of these
comparisons must be aggregated: where there is no texture, a disparity follows from far
away only. Most 3-D convolutions that do this give way to a semi-global aggregation
(SGA) whose weights are read from the left image, and a local one (LGA) near edges.

  python -m experiments.ganet [--preset=demo]

The demo renders slanted planes, half of them without texture but for a rim, and trains
the same small network without guided layers, with SGA, and with both, by equal updates.
All start as differences of the views, guided layers as averages (`papers.ganet.starts`
says why). The paper preset trains GANet-deep on Scene Flow from --data_dir;
jaxvision.papers.ganet.dataset says how it, or KITTI, must lie there.
"""

import dataclasses
import functools
from typing import Literal

import jax
import numpy as np

from jaxvision.data import pipeline, stereo_scenes
from jaxvision.errors import UserError
from jaxvision.papers.ganet import (
  claims,
  evaluation,
  figures,
  model,
  stereo_data,
  training,
  training_free,
)
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = (
  "F. Zhang, V. Prisacariu, R. Yang and P. H. S. Torr, GA-Net: Guided Aggregation Net "
  "for End-to-End Stereo Matching, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data.
  source: Literal["scenes", "SceneFlow", "KITTI2012", "KITTI2015"] = "SceneFlow"
  height: int = 240  # of training crops, or of the scenes
  width: int = 576
  shift: int = 0  # largest random shift of one view; 3 for KITTI
  train_pairs: int = 400  # of the scenes
  test_pairs: int = 4370  # at most
  # Of the scenes, see `stereo_scenes.random_pairs`.
  half_axes: tuple[float, float] = (15.0, 45.0)
  textureless: tuple[float, float] = (0.25, 0.4)
  rim: float = 0.0
  slant: float = 0.12

  # Networks that are compared, and their sizes.
  systems: tuple[str, ...] = (claims.LGA,)
  variant: Literal["deep", "15", "11", "7", "4", "3", "2", "1"] = "deep"
  max_disp: int = 192
  channels: int = 32
  trunk: Literal[0, 1, 2] = 2  # hourglasses of the features

  # Training.
  batch: int = 16
  epochs: int = 10
  steps: int | None = None  # instead of the epochs
  plain_start: bool = False  # whether to start as `papers.ganet.starts` has it
  lean: float = 0.0  # likewise, of the guided layers
  rate: float = 1e-3
  decay_epochs: tuple[float, ...] = ()  # (400,) of 800 epochs for KITTI
  decay: float = 0.1
  last_loss: Literal["smooth_l1", "threshold", "authors_threshold"] = "smooth_l1"
  seeds: tuple[int, ...] = (0,)
  data_seed: int = 0
  weights: str = ""  # the authors' checkpoint: where training starts, or what predicts

  def __post_init__(self):
    unknown = set(self.systems) - set(_SYSTEMS)
    if unknown:
      raise ValueError(f"systems are some of {', '.join(_SYSTEMS)}, not {unknown}")
    if self.height % model.SIDE or self.width % model.SIDE:
      raise ValueError(f"height and width are multiples of {model.SIDE}")
    if self.max_disp < 1 or self.max_disp % model.DISPARITY_STEP:
      raise ValueError(f"max_disp is a multiple of {model.DISPARITY_STEP}")
    if self.weights and self.variant not in ("deep", "11"):
      raise ValueError("the authors' weights are of the variants deep and 11")


_SYSTEMS = {
  claims.SGA: {"sga": True, "lga": False},
  claims.NO_SGA: {"sga": False, "lga": False},
  claims.LGA: {"sga": True, "lga": True},
}

_DEMO = Config(
  source="scenes",
  height=96,
  width=96,
  train_pairs=360,
  test_pairs=40,
  half_axes=(20.0, 55.0),
  textureless=(0.4, 0.6),
  rim=6.0,
  slant=0.04,
  systems=(claims.SGA, claims.NO_SGA, claims.LGA),
  variant="2",
  max_disp=12,
  channels=8,
  trunk=0,
  batch=1,
  steps=360,
  plain_start=True,
  lean=3.0,
  rate=3e-3,
  decay_epochs=(0.8,),
  seeds=(0, 1, 2),
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    height=48,
    width=48,
    train_pairs=4,
    test_pairs=2,
    systems=(claims.SGA,),
    variant="1",
    channels=4,
    steps=2,
    seeds=(0,),
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def network(config: Config, system: str) -> model.GANet:
  """Returns the network of a system in this run's sizes."""
  return model.GANet(
    config.variant,
    config.max_disp,
    config.channels,
    config.trunk,
    lean=config.lean,
    plain_start=config.plain_start,
    **_SYSTEMS[system],
  )


def stages(config: Config) -> dict[str, Stage]:
  """Returns the training of every system; their epochs count 1000 steps here."""
  return {name: stage(config, name, 1000) for name in config.systems}


@functools.cache
def stage(config: Config, system: str, epoch_steps: int) -> Stage:
  """Returns the training of a system, given the steps of an epoch."""
  return training.stage(
    system,
    network(config, system),
    training.optimizer(
      config.rate,
      tuple(round(epoch * epoch_steps) for epoch in config.decay_epochs),
      config.decay,
    ),
    stereo_data.batch_shapes(config.batch, config.height, config.width),
    config.last_loss,
  )


@functools.cache
def initial_state(config: Config, system: str, seed: int) -> State:
  """Returns the state that a training starts from."""
  state = jit_once(stage(config, system, 1000).init)(jax.random.key(seed))
  if config.weights:
    from jaxvision.papers.ganet import published

    theirs, variables = published.load(config.weights, config.max_disp)
    if theirs.variant != config.variant or not network(config, system).lga:
      raise UserError(f"{config.weights}: its network is GANet {theirs.variant}")
    state = training.start_from(state, variables)
  return state


@functools.cache
def forward(config: Config, system: str):
  """Returns (state, left, right) -> disparity, compiled."""
  inference = stage(config, system, 1000).forward

  @jax.jit
  def run(state, left, right):
    return inference(state, {"left": left, "right": right})

  return run


def pairs_of(config: Config, data_dir, split: str) -> pipeline.Source:
  """Returns the normalised pairs of a real data set."""
  from jaxvision.papers.ganet import dataset

  if data_dir is None:
    raise UserError(f"{config.source} is read from --data_dir=DIR")
  return dataset.pairs(config.source, split, data_dir)


@functools.cache
def scenes(config: Config, split: str) -> dict[str, np.ndarray]:
  """Returns the rendered pairs of a split."""
  is_test = split == "test"
  return stereo_scenes.random_pairs(
    2 * config.data_seed + is_test,
    config.test_pairs if is_test else config.train_pairs,
    config.height,
    config.width,
    config.max_disp,
    slant=config.slant,
    rim=config.rim,
    textureless=config.textureless,
    half_axes=config.half_axes,
  )


def training_source(config: Config, data_dir) -> pipeline.Source:
  """Returns the training pairs at random access."""
  if config.source != "scenes":
    return pairs_of(config, data_dir, "train")
  rendered = scenes(config, "train")
  views = {name: stereo_data.normalize(rendered[name]) for name in ("left", "right")}
  return pipeline.ArraySource({**views, "disparity": rendered["disparity"]})


def train(config: Config, run) -> None:
  """Trains every system with every seed, all by the same number of updates."""
  source = training_source(config, run.data_dir)
  epoch_steps = max(len(source) // config.batch, 1)

  def cut(example, rng):
    return stereo_data.crop(example, rng, (config.height, config.width), config.shift)

  for system in config.systems:
    for seed in config.seeds:
      batches = pipeline.batches(
        source,
        batch_size=config.batch,
        seed=seed,
        transform=None if config.source == "scenes" else cut,
      )
      fit(
        run,
        training_name(system, seed),
        initial_state(config, system, seed),
        stage(config, system, epoch_steps).step,
        batches,
        config.steps or config.epochs * epoch_steps,
      )


def training_name(system: str, seed: int) -> str:
  """Returns what a training's checkpoints are called."""
  return f"{system.replace(' + ', '-').replace(' ', '-')}-{seed}"


def restored(config: Config, run, system: str, seed: int) -> State:
  """Returns the state that a training ended with."""
  return restore(run, training_name(system, seed), initial_state(config, system, seed))


def evaluate(config: Config, run) -> None:
  """Measures all systems on the same pairs and makes the paper's comparisons again."""
  if config.source != "scenes":
    evaluate_real(config, run)
    return
  pairs = scenes(config, "test")
  rows, found = {}, {}
  for system in config.systems:
    rows[system] = []
    for seed in config.seeds:
      infer = functools.partial(
        forward(config, system), restored(config, run, system, seed)
      )
      found[system, seed] = evaluation.predict_all(infer, pairs, config.batch)
      rows[system].append(
        evaluation.measure(found[system, seed], pairs, config.max_disp)
      )
  classical = evaluation.classical(pairs, config.max_disp)
  record(config, run, rows, evaluation.measure(classical, pairs, config.max_disp))

  claims.claim_guided_layers(run, rows, config.seeds)
  whole = claims.LGA if claims.LGA in config.systems else config.systems[0]
  errors = [
    evaluation.fractional_errors(found[whole, seed], classical, pairs)
    for seed in config.seeds
  ]
  claims.claim_fractions(run, whole, errors, config.seeds)
  claims.claim_properties(run)

  # The first scenes, not the best ones.
  shown = [
    {"left view": pairs["left"][k], "truth": pairs["disparity"][k]}
    | {"classical SGM": classical[k]}
    | {system: found[system, config.seeds[0]][k] for system in config.systems}
    for k in range(min(4, len(pairs["left"])))
  ]
  run.figure(
    "disparities",
    figures.disparity_figure(shown, config.max_disp),
    "The first test scenes; first seed.",
  )
  if run.preset != "smoke":
    compare_without_learning(run)


def record(config: Config, run, rows, classical) -> None:
  """Records the errors of every system and seed."""
  table = [{"system": "classical SGM", "seed": "", **classical}]
  for system, measured in rows.items():
    for seed, row in zip(config.seeds, measured, strict=True):
      table.append({"system": system, "seed": seed, **row})
    run.result(
      f"{system}: EPE",
      float(np.mean([row["EPE"] for row in measured])),
      unit="px",
    )
  run.table(
    "errors",
    table,
    f"{config.test_pairs} scenes; EPE in pixels, shares of valid pixels. The paper "
    "has EPE 0.84 px on Scene Flow (GA-Net-15), and 0.95 with guided layers, 1.54 "
    "without, in GA-Net-11.",
  )


def compare_without_learning(run) -> None:
  """Aggregates hand-made costs of a real pair by hand-made weights."""
  pair = training_free.motorcycle()
  rows = training_free.compare(pair)
  run.table(
    "without learning",
    [
      {"aggregation": name, "all": row["all"], "textureless": row["textureless"]}
      for name, row in rows.items()
    ],
    "Shares of errors above 1 pixel of Middlebury's motorcycle at a third of its size.",
  )
  claims.claim_training_free(run, rows)
  shown = {"left view": pair["left"], "measured": pair["disparity"]}
  shown |= {name: row["disparity"] for name, row in rows.items()}
  run.figure(
    "motorcycle",
    figures.disparity_figure([shown], training_free.CANDIDATES),
    "A real pair without any learning; white: not measured.",
  )


def evaluate_real(config: Config, run) -> None:
  """Measures the last system on a real test set, pair by pair at its full size."""
  from jaxvision.papers.ganet import prediction

  source = pairs_of(config, run.data_dir, "test")
  for system in config.systems:
    infer = functools.partial(
      forward(config, system), restored(config, run, system, config.seeds[0])
    )
    rows = []
    for index in range(min(len(source), config.test_pairs)):
      pair = source[index]
      disparity = prediction.disparity_of(infer, pair["left"], pair["right"])
      truth = {
        name: pair[name][None] for name in ("disparity", "visible") if name in pair
      }
      rows.append(evaluation.measure(disparity[None], truth, config.max_disp))
    for name in rows[0]:
      paper = 0.78 if (config.source, name) == ("SceneFlow", "EPE") else None
      run.result(
        f"{system}: {name}", evaluation.mean_of_known([r[name] for r in rows]), paper
      )


def predict(config: Config, run, inputs) -> None:
  """Writes the disparities of the user's pairs, left and right views in turn."""
  from jaxvision.papers.ganet import prediction

  pairs = prediction.read_pairs(inputs)
  if config.weights:
    from jaxvision.papers.ganet import published

    net, variables = published.load(config.weights, config.max_disp)
    infer = jax.jit(lambda left, right: net.apply(variables, left, right)[-1])
  else:
    system = claims.LGA if claims.LGA in config.systems else config.systems[0]
    state = restored(config, run, system, config.seeds[0])
    infer = functools.partial(forward(config, system), state)
  for name, views in pairs:
    disparity = prediction.disparity_of(infer, *views)
    run.log(
      f"{name}: disparity {disparity.min():.2f} to {disparity.max():.2f} pixels, "
      f"mean {disparity.mean():.2f}"
    )
    if run.is_main:
      prediction.write(run.out, name, disparity, config.max_disp)


if __name__ == "__main__":
  launcher.main(
    "ganet",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
