"""SelFlow: Self-Supervised Learning of Optical Flow (Liu et al., CVPR 2019).

The story: a network learns flow from three frames without labels, because what is
visible must look alike after warping ("noc"). What is occluded teaches nothing there.
So superpixels of a frame are filled with noise, and the flow that the first network
found without the noise teaches a second one to see behind it ("occ").

  python -m experiments.selflow [--preset=demo]

The demo makes its clips: blobs of photographs before photographs. Their texture and
speed, the learning rate, sizes and steps were chosen in single trainings, looking at
the clips that the claims are measured on; it trains two levels and few layers of the
network for a thousand steps.
The paper preset reads Sintel or KITTI from --data_dir;
`jaxvision.papers.selflow.dataset` says how it must lie there.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import numpy as np

from jaxvision.data import pipeline
from jaxvision.errors import UserError
from jaxvision.ops.warp import Border
from jaxvision.papers.selflow import (
  claims,
  data,
  evaluation,
  figures,
  hallucination,
  losses,
  network,
  training,
)
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = (
  "P. Liu, M. Lyu, I. King and J. Xu, SelFlow: Self-Supervised Learning of Optical "
  "Flow, CVPR 2019"
)
COMPARISONS = ("unmasked", "continued", "rectangles", "two-frame", "brightness")
TUNED = ("fine-tuned", "supervised")


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data.
  source: Literal["clips", "Sintel", "KITTI2015", "KITTI2012"] = "Sintel"
  height: int = 320
  width: int = 896
  train_clips: int = 100  # procedural ones
  test_clips: int = 100  # at most
  speed: float = 8.0  # of procedural blobs, pixels a frame
  camera: float = 0.5  # speed of the camera, times that
  blobs: tuple[int, int] = (2, 4)
  radii: tuple[float, float] = (0.15, 0.3)  # of blobs, in heights
  gain: float = 0.1  # how far gain and gamma of procedural frames are from 1
  augment: bool = True

  # The network.
  channels: float = 1.0  # times the paper's
  pyramid: float = 1.0  # times the paper's channels of features
  coarsest: int = 6
  finest: int = 2
  radius: int = 4
  estimator_layers: int = 5
  context_layers: int = 6
  border: Border = "truncate"
  normalized: bool = False  # frames in unsupervised training
  flow_gain: float = 1.0  # of the initial weights that give flow

  # Training.
  warm_loss: losses.Photometric = "brightness"  # while occlusion is not masked yet
  census_radius: int = losses.CENSUS_RADIUS
  masked: float = 1.0  # share of an occluded pixel that the loss leaves out
  noise: hallucination.Noise = "superpixels"
  noised: tuple[int, ...] = (3,)
  window: tuple[int, int] = (256, 640)
  batch: int = 4
  rate: float = 1e-4
  halve_every: int = 50_000
  rise: int = 1  # steps of the rate's rise
  ahead: int = 0  # steps by which the rate's schedule is ahead for each stage before
  largest_norm: float | None = None  # of the gradient
  warm_steps: int = 200_000
  noc_steps: int = 500_000
  occ_steps: int = 500_000
  tune_steps: int = 1_000_000
  comparisons: tuple[str, ...] = ("fine-tuned",)
  seeds: tuple[int, ...] = (0,)

  # Prediction.
  weights: str = ""  # the authors' checkpoint, instead of a trained network
  fine_tuned: bool = False  # whether it, or the trained network, is the fine-tuned one

  def __post_init__(self):
    if not 1 <= self.finest <= self.coarsest <= 6:
      raise ValueError(f"levels {self.coarsest} to {self.finest} are not within 6 to 1")
    for name in self.comparisons:
      if name not in COMPARISONS + TUNED:
        raise ValueError(f"{name!r} is none of {', '.join(COMPARISONS + TUNED)}")
    if not (1 <= self.estimator_layers <= 5 and 1 <= self.context_layers <= 6):
      raise ValueError("estimators have 1 to 5 hidden layers, the context 1 to 6")
    if self.window[0] > self.height or self.window[1] > self.width:
      raise ValueError(f"window {self.window} is larger than a frame")


_DEMO = Config(
  source="clips",
  height=32,
  width=48,
  train_clips=200,
  test_clips=40,
  speed=3.0,
  blobs=(1, 3),
  radii=(0.2, 0.4),
  gain=0.2,
  channels=0.5,
  pyramid=1.0,
  coarsest=2,
  finest=1,
  radius=2,
  estimator_layers=2,
  context_layers=1,
  border="zero",
  normalized=True,
  flow_gain=0.1,
  warm_loss="census",
  census_radius=1,  # of frames a tenth of the paper's
  window=(24, 36),
  batch=1,
  rate=2e-3,
  halve_every=250,
  rise=60,  # with 20 a seed's flow left the images at once
  ahead=300,
  largest_norm=1.0,
  warm_steps=300,
  noc_steps=500,
  occ_steps=400,
  tune_steps=200,
  comparisons=("unmasked", "continued", "two-frame", "brightness", "fine-tuned"),
  seeds=(0, 1, 2),
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    height=16,
    width=24,
    train_clips=2,
    test_clips=2,
    channels=0.05,
    pyramid=0.1,
    coarsest=1,
    estimator_layers=1,
    context_layers=1,
    window=(12, 16),
    batch=1,
    warm_steps=2,
    noc_steps=2,
    occ_steps=2,
    comparisons=(),
    seeds=(0,),
  ),
  "demo": _DEMO,
  "paper": Config(),
}


class Program(NamedTuple):
  """What makes a step of training; equal ones are compiled once."""

  loss: losses.Photometric = "census"
  noise: hallucination.Noise | None = None
  two_frame: bool = False
  supervised: bool = False


class Training(NamedTuple):
  """One training: where it starts, what it minimises, how long."""

  name: str
  parent: str | None
  program: Program
  steps: int
  masked: bool = True
  order: int = 0  # how many came before it


def trainings(config: Config) -> list[Training]:
  """Returns all trainings of a seed, parents first."""
  census, noised = Program(), Program(noise=config.noise)
  warm, bright = Program(loss=config.warm_loss), Program(loss="brightness")
  rectangles, labels = Program(noise="rectangles"), Program(supervised=True)
  two_frame = warm._replace(two_frame=True)
  first, second, third = config.warm_steps, config.noc_steps, config.occ_steps
  last = config.tune_steps
  chosen = [
    Training("warm-up", None, warm, first, masked=False),
    Training("noc", "warm-up", census, second, order=1),
    Training("occ", "noc", noised, third, order=2),
  ]
  others = {
    "unmasked": [Training("unmasked", "warm-up", census, second, False, order=1)],
    "continued": [Training("continued", "noc", census, third, order=2)],
    "rectangles": [Training("rectangles", "noc", rectangles, third, order=2)],
    "fine-tuned": [Training("fine-tuned", "occ", labels, last, order=3)],
    "supervised": [Training("supervised", None, labels, last)],
    # Compared with the warm-up.
    "two-frame": [Training("two-frame", None, two_frame, first, masked=False)],
    # Compared with "unmasked".
    "brightness": [
      Training("brightness warm-up", None, bright, first, masked=False),
      Training("brightness", "brightness warm-up", bright, second, False, order=1),
    ],
  }
  for name in config.comparisons:
    chosen += others[name]
  return chosen


@functools.cache
def model(config: Config, program: Program) -> network.SelFlow:
  """Returns the network of a program in this run's sizes."""
  return network.scaled(
    config.channels,
    config.coarsest,
    pyramid=config.pyramid,
    estimator_layers=config.estimator_layers,
    context_layers=config.context_layers,
    finest=config.finest,
    radius=config.radius,
    border=config.border,
    two_frame=program.two_frame,
    flow_gain=config.flow_gain,
    normalized=config.normalized or program.supervised,
  )


@functools.cache
def objective(config: Config, program: Program) -> training.Objective | None:
  """Returns what a program minimises; None when it is the distance from labels."""
  if program.supervised:
    return None
  window = config.window if program.noise is not None else None
  return training.Objective(
    program.loss, program.noise, window, config.noised, config.census_radius
  )


@functools.cache
def optimizer(config: Config):
  """Returns the optimiser of every training."""
  return training.optimizer(
    config.rate,
    halve_every=config.halve_every,
    largest_norm=config.largest_norm,
    rise=config.rise,
  )


@functools.cache
def stage(config: Config, program: Program) -> Stage:
  """Returns the stage of a program."""
  shapes = training.batch_shapes(
    config.batch, config.height, config.width, supervised=program.supervised
  )
  name = "-".join(str(part) for part in program if part not in (None, False, True))
  name += "-two-frame" * program.two_frame
  return training.stage(
    "supervised" if program.supervised else name,
    model(config, program),
    objective(config, program),
    optimizer(config),
    shapes,
  )


def stages(config: Config) -> dict[str, Stage]:
  """Returns the different programs that a run trains by."""
  programs = dict.fromkeys(one.program for one in trainings(config))
  return {one.name: one for one in (stage(config, program) for program in programs)}


@functools.cache
def initial_params(config: Config, seed: int):
  """Returns the parameters from which all trainings of a seed begin."""
  init = jit_once(lambda key: stage(config, Program()).init(key).params)
  return init(jax.random.key(seed))


def initial_state(config: Config, one: Training, seed: int, params) -> State:
  """Returns the state in which a training starts from its parent's parameters."""
  return training.start(
    jax.random.key(seed),
    params,
    optimizer(config),
    objective(config, one.program),
    masked=config.masked if one.masked else 0.0,
    ahead=config.ahead * one.order,
  )


@functools.cache
def training_source(config: Config, data_dir, supervised: bool) -> pipeline.Source:
  """Returns the training examples at random access."""
  if config.source == "clips":
    clips = made_clips(config, "train")
    if not supervised:
      return pipeline.ArraySource(
        {name: clips[name] for name in ("frames", "superpixels")}
      )
    flow = clips["flow"][:, 0]
    return pipeline.ArraySource(
      {
        "frames": clips["frames"][:, data.MIDDLE - 1 : data.MIDDLE + 2],
        "flow": flow,
        "valid": np.ones(flow.shape[:-1], bool),
      }
    )
  return real_source(config, data_dir, supervised)


@functools.cache
def made_clips(config: Config, split: str):
  """Returns the procedural clips of "train" or "test", in memory."""
  seed, count = (0, config.train_clips) if split == "train" else (1, config.test_clips)
  names = ("height", "width", "speed", "camera", "gain", "blobs", "radii")
  return data.clips(seed, count, **{name: getattr(config, name) for name in names})


def real_source(config: Config, data_dir, labelled: bool):
  """Returns a real data set, with labels or without."""
  from jaxvision.papers.selflow import dataset

  if data_dir is None:
    raise UserError(f"{config.source} is read from --data_dir=DIR")
  size = config.height, config.width
  if labelled:
    split = dataset.BUILDERS[config.source][2][0]
    return dataset.labelled(config.source, data_dir, split, size)
  return dataset.clips(config.source, data_dir, size)


def train(config: Config, run) -> None:
  """Trains everything that is compared, from the same parameters and data."""
  size = (config.height, config.width) if config.augment else None
  for seed in config.seeds:
    ended = {None: initial_params(config, seed)}
    for one in trainings(config):
      batches = pipeline.batches(
        training_source(config, run.data_dir, one.program.supervised),
        batch_size=config.batch,
        seed=seed,
        transform=functools.partial(_example, size=size),
      )
      state = initial_state(config, one, seed, ended[one.parent])
      step = stage(config, one.program).step
      # Shorter trainings are saved at their end (and when a signal stops them).
      state = fit(
        run,
        f"{one.name}-{seed}",
        state,
        step,
        batches,
        one.steps,
        checkpoint_every=1000,
      )
      ended[one.name] = state.params


def _example(example, rng, size):
  example = {name: value for name, value in example.items() if name != "occluded"}
  return example if size is None else training.augment(example, rng, size)


def restore_params(config: Config, run, one: Training, seed: int):
  """Returns the parameters that a training ended with."""
  like = initial_state(config, one, seed, initial_params(config, config.seeds[0]))
  return restore(run, f"{one.name}-{seed}", like).params


def evaluate(config: Config, run) -> None:
  """Measures every training on the same frames and makes the paper's comparisons."""
  if config.source == "clips":
    evaluate_clips(config, run)
    return
  from jaxvision.papers.selflow import dataset

  for split in dataset.BUILDERS[config.source][2]:
    examples = dataset.labelled(config.source, run.data_dir, split)
    table = []
    for one in trainings(config):
      params = [restore_params(config, run, one, seed) for seed in config.seeds]
      net = model(config, one.program)
      rows = [evaluation.measure_examples(net, p, examples) for p in params]
      table.append({"training": one.name, **evaluation.mean_errors(rows)})
    run.table(
      f"{config.source} {split}",
      table,
      "End point errors in pixels, shares of outliers.",
    )


def evaluate_clips(config: Config, run) -> None:
  """Measures on procedural clips."""
  clips = made_clips(config, "test")
  truth, hidden = clips["flow"][:, 0], clips["occluded"][:, 0]
  everywhere = np.ones(hidden.shape, bool)
  still = evaluation.errors_of(np.zeros_like(truth), truth, everywhere, hidden)
  rows = {"no motion": {name: float(value) for name, value in still.items()}}
  seeds_table, shown = [], {}
  for one in trainings(config):
    net, measured = model(config, one.program), []
    for seed in config.seeds:
      params = restore_params(config, run, one, seed)
      errors, flow, occluded = evaluation.measure_clips(net, params, clips)
      measured.append(errors)
      shown.setdefault(one.name, (flow, occluded))
    rows[one.name] = evaluation.mean_errors(measured)
    by_seed = evaluation.by_seed(config.seeds, measured)
    seeds_table.append({"training": one.name, **by_seed})
  run.table(
    "errors",
    claims.beside_the_paper(rows),
    f"{len(hidden)} clips, {len(config.seeds)} seeds; end point errors in pixels, Fl "
    "as share. The paper's are of Sintel Clean.",
  )
  run.table("by seed", seeds_table, "End point error of visible and occluded pixels.")
  run.figure(
    "errors", figures.error_figure(rows), "End point errors on the test clips."
  )
  for name in ("noc", "occ"):
    run.result(f"{name}: EPE", rows[name]["EPE all"], unit="px")

  run.figure(
    "flow",
    figures.clip_figure(clips, shown["noc"], shown["occ"]),
    "Flow of test clips from many occluded pixels to few; the hue is the direction.",
  )
  noised = clips["frames"][:3, data.MIDDLE + 1], clips["superpixels"][:3]
  run.figure(
    "noise",
    figures.noise_figure(*noised),
    "Occlusion made up: regions of frame t + 1 filled with noise.",
  )

  claims.claim_self_supervision(run, rows, config.seeds)
  claims.claim_masking(run, rows, config.seeds)
  claims.claim_three_frames(run, rows, config.seeds)
  claims.claim_census(run, rows, config.seeds)
  size, count = (64, 128), 12 if len(config.seeds) > 1 else 2
  large = data.clips(2, count, *size, speed=8.0, gain=0.0)
  claims.claim_invariance(run, large["frames"][:, data.MIDDLE])
  claims.claim_consistency(run, evaluation.true_occlusion_f1(large), size)


def predict(config: Config, run, inputs) -> None:
  """Writes flow (.flo and colours) and occlusion of the user's own frames.

  The inputs are at least three images of one size in the order of time, or folders of
  such.
  """
  from jaxvision.papers.selflow import prediction, published

  names, frames = prediction.read_inputs(inputs)
  if config.weights:
    net, variables = published.load(config.weights)
    net, params = net.clone(normalized=config.fine_tuned), variables["params"]
  else:
    wanted = "fine-tuned" if config.fine_tuned else "occ"
    found = [one for one in trainings(config) if one.name == wanted]
    if not found:
      raise UserError(f"the run has no training {wanted!r}: see --config.comparisons")
    net = model(config, found[0].program)
    params = restore_params(config, run, found[0], config.seeds[0])
  if run.is_main:
    for line in prediction.write(run.out, net, params, names, frames):
      run.log(line)


if __name__ == "__main__":
  launcher.main(
    "selflow",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
