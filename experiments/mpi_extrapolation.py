"""View extrapolation with multiplane images (Srinivasan et al., CVPR 2019).

The story: two views a little apart become planes of colour and opacity. How far outside
they can be seen follows from the number of planes (C1), so the network is convolutional
in depth too and is trained at many sizes, to be asked for more planes than it was
trained with (C2). What a new view uncovers no input has seen: a second network may only
move visible colours of a plane or of what is behind it there (C3, C4).

  python -m experiments.mpi_extrapolation [--preset=demo]

The demo renders its scenes: textured cards before a background, so that the truth of
what was hidden is known. Its networks have three levels instead of five and learn from
pixels and their structural similarity, as VGG-19's weights do not come with the
repository. A thousand steps do not teach them to compare views and to pass colours on,
so they begin with kernels that do, roughly, see `starting`: the table "before training"
says what these alone are worth. The flat network of the comparison begins from random
kernels, and has the reference's colours by its form; it learns by the same loss for as
many steps. Test scenes have other photographs on them. Rates and sizes were chosen for
time, looking at the test scenes.

The paper preset reads RealEstate10K from --data_dir;
`jaxvision.papers.mpi_extrapolation.realestate` says how it must lie there, and
--config.vgg names MatConvNet's imagenet-vgg-verydeep-19.mat.
"""

import dataclasses
import functools
from typing import Literal

import jax
import numpy as np
import optax

from jaxvision.data import layered_scenes
from jaxvision.errors import UserError
from jaxvision.papers.mpi_extrapolation import (
  baselines,
  claims,
  data,
  evaluation,
  figures,
  model,
  networks,
  prediction,
  starting,
  training,
)
from jaxvision.train import Stage, fit, jit_once, launcher, restore

CITATION = (
  "P. P. Srinivasan, R. Tucker, J. T. Barron, R. Ramamoorthi, R. Ng and N. Snavely, "
  "Pushing the Boundaries of View Extrapolation with Multiplane Images, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data.
  source: Literal["scenes", "realestate"] = "realestate"
  height: int = 576
  width: int = 1024
  near: float = 1.0
  far: float = 100.0
  pose_scale: float = 1.0  # of RealEstate10K's translations
  scenes: tuple[int, int] = (0, 6800)  # procedural for training; triplets for testing
  cards: int = 5
  baseline: float = 0.25  # of procedural pairs
  reach: tuple[float, float] = (1.0, 4.0)  # of procedural targets, in baselines
  test_reach: float = 3.0
  data_seed: int = 0

  # Networks.
  methods: tuple[str, ...] = ("extrapolator", "original")
  features: tuple[int, ...] = networks.FEATURES
  dilations: tuple[int, ...] = networks.DILATIONS
  alpha_bias: float = 0.0
  start: Literal["glorot", "matching"] = "glorot"  # kernels, see `starting`
  original_features: int = 64
  original_planes: int = 32
  judge_features: int = 64  # of the adversary; not the paper's, which are not to be had
  adversary: float = 5.0  # weight beside pixels of 0 to 255

  # Training; the paper's text does not say how long, Stereo Magnification took 600,000.
  resolutions: tuple[str, ...] = tuple(f"{d}x{n}" for d, n in data.RESOLUTIONS)
  loss: Literal["vgg", "pixels"] = "vgg"
  vgg: str = ""  # imagenet-vgg-verydeep-19.mat
  structure: float = 0.0  # weight of 1 - SSIM beside pixels of 0 to 255
  batch: int = 1
  steps: int = 600_000
  rate: float = 2e-4
  original_rate: float = 2e-4
  final_rate: float = 1.0  # share of the rate that a cosine reaches at the end
  seeds: tuple[int, ...] = (0,)

  # Evaluation and prediction.
  planes: tuple[int, int] = (64, 128)  # as in training, and more, compared in C2
  shown_planes: int = 128  # of all other measures and of predictions
  oracle_planes: tuple[int, ...] = (16, 32, 64)
  weights: str = ""  # the authors' checkpoint, for predictions
  patch: tuple[int, int] = (576, 384)
  kept: tuple[int, int] = (576, 128)
  frames: int = 128
  disparity: float = 64.0  # of the path, at depth 1, pixels
  crop: int = 20

  def __post_init__(self):
    if not 0 < self.near < self.far:
      raise ValueError(f"near {self.near} and far {self.far}: 0 < near < far")
    coarsest = 2 ** (len(self.features) - 1)
    numbers = [planes for _, planes in pairs(self)]
    for planes in (*self.planes, self.shown_planes, *numbers):
      if planes % coarsest:
        raise ValueError(f"{planes} planes: must be multiples of {coarsest}")


def pairs(config: "Config") -> tuple[tuple[int, int], ...]:
  """Returns (divisor, planes) of every resolution."""
  found = []
  for text in config.resolutions:
    divisor, _, planes = text.partition("x")
    if not (divisor.isdigit() and planes.isdigit() and int(divisor) and int(planes)):
      raise ValueError(f"resolution {text!r} is not DIVISORxPLANES")
    found.append((int(divisor), int(planes)))
  return tuple(found)


_DEMO = Config(
  source="scenes",
  height=24,
  width=40,
  near=2.0,
  far=20.0,
  scenes=(160, 24),
  cards=4,
  reach=(2.0, 4.0),
  features=(12, 16, 32),
  dilations=(2, 1),
  start="matching",
  original_features=16,
  original_planes=16,
  resolutions=("1x8", "2x16"),
  loss="pixels",
  structure=75.0,
  steps=900,
  rate=1e-3,
  original_rate=5e-3,  # of 2e-3 and this the better one
  final_rate=0.05,
  seeds=(0, 1, 2),
  planes=(8, 16),
  shown_planes=8,
  frames=32,
  disparity=20.0,
  crop=1,
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    height=16,
    width=24,
    scenes=(1, 1),
    methods=("extrapolator",),
    features=(4,),
    dilations=(),
    start="glorot",
    resolutions=("1x4",),
    structure=0.0,
    steps=2,
    seeds=(0,),
    planes=(4, 4),
    shown_planes=4,
    oracle_planes=(8, 16),
    frames=4,
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def rig(config: Config) -> data.Rig:
  """Returns the cameras of procedural scenes."""
  return data.Rig(config.height, config.width, config.near, config.far, config.baseline)


def network_of(config: Config, method: str):
  """Returns the network of "extrapolator", "original" or "adversarial"."""
  if method == "extrapolator":
    return model.Extrapolator(config.features, config.dilations, config.alpha_bias)
  if method == "original":
    return baselines.StereoMagnification(config.original_features)
  if method == "adversarial":
    return baselines.DirectExtrapolator(
      config.features, config.dilations, config.alpha_bias
    )
  raise UserError(
    f"--config.methods: {method!r} is none of extrapolator, original, adversarial"
  )


def resolutions_of(config: Config, method: str) -> tuple[tuple[int, int], ...]:
  """Returns what a method is trained at; the flat network has a fixed number."""
  if method == "original":
    return ((1, config.original_planes),)
  return pairs(config)


def vgg_of(config: Config):
  """Returns key -> parameters of the loss's network, or None."""
  if config.loss == "pixels":
    return None
  if config.vgg:
    from jaxvision.papers.mpi_extrapolation import published

    params = published.load_vgg19(config.vgg)["params"]
    return lambda key: params
  from jaxvision.nn.vgg import VGG, VGG19

  shape = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
  # Shapes for planning: without its file `train` refuses to begin.
  network = VGG(num_classes=0, stages=VGG19)
  return lambda key: training.initial_params(network, key, shape)


@functools.cache  # the same step again, so that it is compiled only once
def stage(config: Config, method: str) -> Stage:
  """Returns the stage of a method, whatever the seed."""
  divisor, planes = resolutions_of(config, method)[0]
  rate = config.original_rate if method == "original" else config.rate
  schedule = optax.cosine_decay_schedule(rate, config.steps, config.final_rate)
  optimizer = optax.flatten(optax.adam(schedule))
  network = network_of(config, method)
  size = config.height // divisor, config.width // divisor
  shapes = data.batch_shapes(config.batch, *size, planes)
  if method == "adversarial":
    judge = baselines.PatchDiscriminator(config.judge_features)
    return training.adversarial_stage(
      method, network, judge, optimizer, shapes, weight=config.adversary
    )
  begin = None
  if method == "extrapolator" and config.start == "matching":
    begin = starting.matching
  return training.stage(
    method,
    network,
    optimizer,
    shapes,
    vgg_of(config),
    start=begin,
    structure=config.structure,
  )


def stages(config: Config) -> dict[str, Stage]:
  """Returns the stages of all methods."""
  return {method: stage(config, method) for method in config.methods}


@functools.cache  # compiled once for all seeds
def first_state(config: Config, method: str):
  """Returns key -> state that a training starts from."""
  return jit_once(stage(config, method).init)


def training_reader(config: Config, data_dir):
  """Returns what reads triplets for training."""
  if config.source == "scenes":
    return data.reader(
      data.render_examples(
        config.data_seed,
        config.scenes[0],
        rig(config),
        layered_scenes.TRAINING_PHOTOGRAPHS,
        reach=config.reach,
        cards=config.cards,
      )
    )
  return clips(config, data_dir, "train")


def clips(config: Config, data_dir, split: str):
  """Returns the reader of a split of RealEstate10K."""
  from jaxvision.papers.mpi_extrapolation import realestate

  if data_dir is None:
    raise UserError("RealEstate10K is read from --data_dir=DIR")
  size = config.height, config.width
  return realestate.Clips(data_dir, split, *size, config.pose_scale)


@functools.cache
def test_examples(config: Config, data_dir, reach: float) -> data.Batch:
  """Returns the triplets that everything is measured on."""
  if config.source == "scenes":
    return data.render_examples(
      config.data_seed + 1,
      config.scenes[1],
      rig(config),
      layered_scenes.TEST_PHOTOGRAPHS,
      reach=(reach, reach),
      cards=config.cards,
    )
  read = clips(config, data_dir, "test")
  return read(np.random.default_rng(config.data_seed), config.scenes[1])


def train(config: Config, run) -> None:
  """Trains every method with every seed, all by the same number of updates."""
  if config.loss == "vgg" and not config.vgg:
    raise UserError("--config.vgg=FILE names imagenet-vgg-verydeep-19.mat of the loss")
  read = training_reader(config, run.data_dir)
  for method in config.methods:
    for seed in config.seeds:
      batches = data.training_batches(
        read,
        batch_size=config.batch,
        seed=seed,
        resolutions=resolutions_of(config, method),
        near=config.near,
        far=config.far,
      )
      state = first_state(config, method)(jax.random.key(seed))
      name = f"{method}-{seed}"
      fit(run, name, state, stage(config, method).step, batches, config.steps)


def restored(config: Config, run, method: str, seed: int):
  """Returns the parameters that a training ended with."""
  shapes = jax.eval_shape(stage(config, method).init, jax.random.key(0))
  return restore(run, f"{method}-{seed}", shapes).params


def evaluate(config: Config, run) -> None:
  """Measures all methods on the same targets and makes the comparisons again."""
  curves = evaluation.oracle_range(config.oracle_planes, config.near, config.far)
  claims.claim_range(run, curves)
  run.figure(
    "range",
    figures.range_figure(curves),
    "Exact MPIs of a slanted surface: twice the planes, twice the range.",
  )
  claims.claim_constraint(run, evaluation.leak())

  measure = evaluation.Evaluator(
    network_of(config, "extrapolator"),
    *(
      network_of(config, method) if method in config.methods else None
      for method in ("original", "adversarial")
    ),
  )
  trained = [
    {method: restored(config, run, method, seed) for method in config.methods}
    for seed in config.seeds
  ]

  def views(reach, planes, trained=trained):
    """Returns what every seed shows of the targets."""
    tested = test_examples(config, run.data_dir, reach)
    limits = config.near, config.far
    shown = data.at_resolution(tested, 1, planes, *limits)
    fixed = data.at_resolution(tested, 1, config.original_planes, *limits)
    return [measure.views(params, shown, fixed) for params in trained]

  shown = views(config.test_reach, config.shown_planes)
  rows = [evaluation.means(one) for one in shown]
  claims.record_table(run, rows)
  start = {
    method: first_state(config, method)(jax.random.key(config.seeds[0])).params
    for method in config.methods
  }
  (untrained,) = views(config.test_reach, config.shown_planes, [start])
  before = evaluation.means(untrained)
  claims.record_start(run, before)
  claims.claim_refinement(run, rows, config.seeds)
  claims.claim_original(run, rows, config.seeds, before)
  farthest = config.reach[1]
  claims.claim_planes(
    run,
    *([evaluation.means(one) for one in views(farthest, n)] for n in config.planes),
    config.planes,
    config.seeds,
  )
  keep_views(config, run, shown[0])
  keep_motorcycle(config, run, trained[0]["extrapolator"])


def keep_views(config: Config, run, shown) -> None:
  """Keeps a figure of the first test scenes."""
  tested = test_examples(config, run.data_dir, config.test_reach)
  rows = []
  for index in range(min(5, len(tested["reference"]))):
    row = {"reference": tested["reference"][index], "truth": tested["target"][index]}
    for method in (evaluation.ORIGINAL, evaluation.INITIAL, evaluation.REFINED):
      if method in shown:
        row[method] = shown[method][index]
    row["disoccluded"] = shown["hidden"][index][..., 0]
    row["all planes seen"] = shown["fov"][index][..., 0].astype(float)
    rows.append(row)
  run.figure(
    "views",
    figures.view_figure(rows),
    f"Test scenes from {config.test_reach:g} baselines away, first seed.",
  )


def path_of(config: Config) -> prediction.Path:
  """Returns the path of views that are rendered."""
  return prediction.Path(config.frames, config.disparity, config.crop)


def planes_of(config: Config) -> np.ndarray:
  """Returns the depths of the planes that are shown."""
  return 1 / np.linspace(1 / config.far, 1 / config.near, config.shown_planes)


def keep_motorcycle(config: Config, run, params) -> None:
  """Keeps views along a path beside a real pair, which nothing was trained on."""
  views = prediction.motorcycle(config.width)
  depths = planes_of(config).astype(np.float32)
  network = network_of(config, "extrapolator")
  layers = prediction.predict(network, params, views, depths, **patching(config, views))
  frames = prediction.render_path(
    layers, depths, views["intrinsics"][0], path_of(config)
  )
  run.picture(
    "motorcycle",
    figures.enlarged(prediction.sample(frames), max(1, 192 // config.width)),
    "The Middlebury motorcycle from a swaying camera; trained on scenes only.",
  )


def patching(config: Config, views) -> dict:
  """Returns how an MPI is predicted: whole, or in patches where it is larger."""
  height, width = views["reference"].shape[1:3]
  if height <= config.patch[0] and width <= config.patch[1]:
    return {}
  return {"patch": config.patch, "kept": config.kept}


def predict(config: Config, run, inputs) -> None:
  """Writes the MPI of the user's posed images, and views along a swaying path.

  The inputs are two or more images and a camera file of RealEstate10K's format, or one
  .npz of the authors' examples; see `prediction.read_views`.
  """
  views = prediction.read_views(inputs)
  network = network_of(config, "extrapolator")
  height, width = views["reference"].shape[1:3]
  if config.weights:
    from jaxvision.papers.mpi_extrapolation import published

    network = model.Extrapolator()
    params = published.load_extrapolator(config.weights)["params"]
  else:
    params = restored(config, run, "extrapolator", config.seeds[0])
  if height > config.height:
    views = prediction.resized(
      views, config.height, round(width * config.height / height)
    )
  depths = planes_of(config).astype(np.float32)
  layers = prediction.predict(network, params, views, depths, **patching(config, views))
  if not np.all(np.isfinite(layers)):
    raise UserError("the predicted planes are not finite: nothing is written")
  frames = prediction.render_path(
    layers, depths, views["intrinsics"][0], path_of(config)
  )
  run.log(f"{len(depths)} planes of {layers.shape[1]} x {layers.shape[0]} pixels")
  if run.is_main:
    prediction.write(run.out, layers, depths, views["intrinsics"][0], frames)


if __name__ == "__main__":
  launcher.main(
    "mpi_extrapolation",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
