"""Convolutional Mesh Regression (Kolotouros et al., CVPR 2019).

The story: from a picture of one person, a network gives the places of all vertices of a
body's mesh, by graph convolutions over the mesh, instead of the few parameters of a
body model. That is easier to learn than parameters, and smoother than a fully connected
layer's vertices; the parameters are then read off the mesh, at little cost.

  python -m experiments.graph_cmr [--preset=demo]

The demo renders stand-in bodies, procedural ones of SMPL's format. Their colour tells
the place on the template, as DensePose does, one of the paper's inputs, under a light.
They face the camera within 60 degrees. A small encoder that was trained to find joints
stands for ImageNet's. Because 500 updates are few, the graph network's linear layers
start in a usual range (from the authors' tiny one single trainings of 64 channels came
to 162 mm, not 118), what reads parameters with whitened meshes, and cameras with a
scale of 1; the graph network's camera, whose ReLUs larger steps switch off for good,
learns at a tenth of the rate. Sizes, steps and rate were chosen on single trainings;
all that is compared has the same number of updates and begins with the same encoder.
The paper preset reads from --data_dir: SMPL and its meshes in body/, the data sets as
`dataset` of jaxvision.papers.graph_cmr says.
"""

import dataclasses
import functools
from typing import Literal

import jax
import numpy as np
import optax

from jaxvision.data import pipeline
from jaxvision.errors import UserError
from jaxvision.papers.graph_cmr import (
  augmentation,
  body,
  claims,
  data,
  dataset,
  evaluation,
  figures,
  losses,
  published,
  readout,
  training,
  variants,
)
from jaxvision.papers.graph_cmr.augmentation import Augmentation
from jaxvision.papers.graph_cmr.data import Variation
from jaxvision.papers.graph_cmr.evaluation import Predictor
from jaxvision.papers.graph_cmr.variants import VARIANTS, Sizes
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = (
  "N. Kolotouros, G. Pavlakos and K. Daniilidis, Convolutional Mesh Regression for "
  "Single-Image Human Shape Reconstruction, CVPR 2019"
)
BODY_FOLDER = "body"  # of --data_dir
ENCODER = "encoder"
_WHITENED_POSES = 2000


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data.
  source: Literal["rendered", "files"] = "files"
  mixture: str = "all"  # of data sets, see `dataset.MIXTURES`
  train_people: int = 1000  # rendered ones
  test_people: int = 100_000  # at most
  size: int = 224
  inputs: data.Inputs = "rgb"  # of rendered people
  variation: Variation = dataclasses.field(default_factory=Variation)
  augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
  workers: int = 8  # processes that read
  hops: int = 1  # of the graph's neighbourhoods

  # What is trained.
  variants: tuple[str, ...] = ("graph",)
  readouts: tuple[str, ...] = ()  # alone: of "true" meshes, or the frozen "graph"'s
  sizes: Sizes = dataclasses.field(default_factory=Sizes)
  imagenet: str = ""  # torchvision's weights of the encoder, a file
  pretraining_steps: int = 0  # of the encoder, instead of these weights
  batch: int = 16
  epochs: int = 50
  steps: int | None = None  # instead of the epochs
  readout_steps: int | None = None
  readout_batch: int = 16
  whitened: bool = False  # the readout's first layer at the start
  rate: float = 3e-4
  final_rate: float = 1.0  # share of the rate that a cosine reaches at the end
  camera_rate: float = 1.0  # share of the rate for the cameras of graph networks
  keypoint_error: losses.KeypointError = "square"  # the paper prints "absolute"
  seeds: tuple[int, ...] = (0,)
  once: tuple[str, ...] = ()  # variants trained with the first seed only
  data_seed: int = 0

  # Evaluation and prediction.
  pictures: int = 6
  weights: str = ""  # an authors' checkpoint for predict, instead of a trained network

  def __post_init__(self):
    unknown = [name for name in self.variants if name not in VARIANTS]
    if unknown:
      raise ValueError(f"variants {unknown}: there are {', '.join(VARIANTS)}")
    unknown = [name for name in self.readouts if name not in ("true", "graph")]
    if unknown or ("graph" in self.readouts and "graph" not in self.variants):
      raise ValueError("readouts are of 'true' meshes, or of a trained 'graph'")
    if self.whitened and self.source != "rendered":
      raise ValueError("whitened readouts are of rendered people")
    if self.mixture not in dataset.MIXTURES:
      raise ValueError(f"mixture {self.mixture!r}: {', '.join(dataset.MIXTURES)}")


_DEMO = Config(
  source="rendered",
  variation=Variation(yaw=np.pi / 3, spread=0.05, active=0.3),
  inputs="textured",
  train_people=2000,
  test_people=160,
  size=48,
  augmentation=augmentation.NO_AUGMENTATION,
  workers=0,
  variants=("graph", "fc", "parameters", "no_neighbours", "no_norm"),
  readouts=("true",),
  sizes=Sizes(
    encoder=0,
    encoder_widths=(16, 32),
    code=64,
    channels=96,
    layers=0,
    initial="fan_in",
    scale=1.0,
    hidden=(256, 256),
    readout=512,
    rule="nearest",
  ),
  batch=16,
  pretraining_steps=1500,
  steps=500,
  readout_steps=1000,
  readout_batch=64,
  whitened=True,
  rate=2e-3,
  final_rate=0.02,
  camera_rate=0.1,
  seeds=(0, 1, 2),
  once=("no_neighbours", "no_norm", "readout_true"),
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    train_people=8,
    test_people=4,
    size=32,
    variants=("no_norm",),  # of those with a graph the fastest to compile
    readouts=(),
    sizes=Sizes(
      encoder=0, encoder_widths=(8,), channels=16, layers=0, hidden=(16,), readout=16
    ),
    batch=4,
    steps=2,
    pretraining_steps=0,
    seeds=(0,),
    pictures=2,
  ),
  "demo": _DEMO,
  "paper": Config(),
}


@functools.cache
def _stand_in(hops: int):
  return body.stand_in(hops)


@functools.cache
def bodies(config: Config, data_dir):
  """Returns the body and its surface: the stand-in, or of --data_dir."""
  if config.source == "rendered":
    return _stand_in(config.hops)
  return body.read(_needed(data_dir) / BODY_FOLDER, config.hops)


@functools.cache
def body_shapes(config: Config):
  """Returns a body of the right sizes, for stages that are only looked at."""
  if config.source == "rendered":
    return _stand_in(config.hops)[0]
  return jax.tree.map(
    lambda leaf: np.zeros(leaf.shape, leaf.dtype),
    jax.eval_shape(lambda: body.zeros(body.Sizes())),
  )


def steps_of(config: Config, examples: int = 100_000) -> int:
  """Returns how many updates a variant has on so many examples."""
  return config.steps or config.epochs * (examples // config.batch)


@functools.cache
def network(config: Config, name: str):
  """Returns the network of a variant."""
  sizes = body.sizes_of(body_shapes(config))
  return variants.network(VARIANTS[name], config.sizes, sizes)


@functools.cache  # the same transformation again, so that steps are the same
def optimizer(config: Config, steps: int) -> optax.GradientTransformation:
  return training.optimizer(config.rate, steps, config.final_rate, config.camera_rate)


@functools.cache  # the same step again, so that it is compiled only once
def stages(config: Config) -> dict[str, Stage]:
  """Returns the training of every variant, and of readouts alone."""
  shapes = data.batch_shapes(config.batch, config.size)
  own = body_shapes(config)
  made = {}
  if config.pretraining_steps:
    made[ENCODER] = training.pretraining_stage(
      ENCODER,
      variants.encoder(config.sizes),
      optimizer(config, config.pretraining_steps),
      shapes,
    )
  for name in config.variants:
    made[name] = training.stage(
      name,
      network(config, name),
      optimizer(config, steps_of(config)),
      shapes,
      own,
      config.keypoint_error,
    )
  for kind in config.readouts:
    of_graph = kind == "graph"
    made[f"readout_{kind}"] = training.readout_stage(
      f"readout_{kind}",
      network(config, "graph") if of_graph else None,
      config.sizes,
      optimizer(config, readout_steps(config)),
      shapes if of_graph else data.pose_shapes(config.readout_batch),
      own,
      config.keypoint_error,
    )
  return made


def readout_steps(config: Config) -> int:
  return config.readout_steps or steps_of(config)


def initial_state(config: Config, run, name: str, seed: int) -> State:
  """Returns the state that a training begins with."""
  same = "graph" if name == "no_neighbours" and "graph" in config.variants else name
  state = _initializer(config, same)(jax.random.key(seed))
  if name == ENCODER:
    return state
  own = bodies(config, run.data_dir)[0]
  if name in VARIANTS and not VARIANTS[name].neighbours:
    own = body.without_neighbours(own)
  state = training.with_body(state, own)
  if config.pretraining_steps and name in VARIANTS:
    # One encoder for all, as all would begin with ImageNet's.
    trained = restore_state(config, run, ENCODER, config.seeds[0])
    state = training.with_encoder(state, training.encoder_of(trained))
  if config.imagenet and name in VARIANTS:
    statistics = state.model_state["batch_stats"]["encoder"]
    shapes = {"params": state.params["encoder"], "batch_stats": statistics}
    found = published.imagenet_encoder(config.imagenet, shapes)
    state = training.with_encoder(state, found)
  if config.whitened and training.has_readout(state):
    state = training.with_readout_kernel(state, _readout_kernel(config))
  if name == "readout_graph":
    state = training.with_frozen(state, restore_state(config, run, "graph", seed))
  return state


@functools.cache
def _readout_kernel(config: Config) -> np.ndarray:
  own, _ = _stand_in(config.hops)
  some = data.poses(_WHITENED_POSES, 3000 + config.data_seed, config.variation)
  meshes = data.posed(own, some["pose"], some["shape"])
  return readout.whitening_kernel(body.coarse(own, meshes), config.sizes.readout)


@functools.cache
def _initializer(config: Config, name: str):
  return jit_once(stages(config)[name].init)


def restore_state(config: Config, run, name: str, seed: int) -> State:
  """Returns the state that a training ended with."""
  return restore(run, f"{name}-{seed}", initial_state(config, run, name, seed))


@functools.cache
def rendered(config: Config, split: str) -> pipeline.ArraySource:
  """Returns rendered people."""
  return data.stand_ins(
    *_stand_in(config.hops),
    config.train_people if split == "train" else config.test_people,
    2 * config.data_seed + (split != "train"),
    size=config.size,
    inputs=config.inputs,
    variation=config.variation,
  )


def training_source(config: Config, data_dir):
  """Returns (source, transform) of the pictures that are learned from."""
  if config.source == "rendered":
    return rendered(config, "train"), data.to_batch
  prepare = dataset.Preparation(config.size, config.augmentation)
  mixed = dataset.mixture(config.mixture, _needed(data_dir), prepare)
  return mixed, mixed.transform


def trainings(config: Config) -> list[tuple[str, int]]:
  """Returns (stage, seed) of every training, in its order."""
  names = (*config.variants, *(f"readout_{kind}" for kind in config.readouts))
  first = [(ENCODER, config.seeds[0])] if config.pretraining_steps else []
  return first + [(name, seed) for name in names for seed in seeds_of(config, name)]


def seeds_of(config: Config, name: str) -> tuple[int, ...]:
  return config.seeds[:1] if name in config.once else config.seeds


def train(config: Config, run) -> None:
  """Trains the encoder where it must be, every variant, and the readouts."""
  for name, seed in trainings(config):
    steps, size = readout_steps(config), config.readout_batch
    if name == "readout_true" and config.source == "rendered":
      # Poses cost nothing, so that none is seen twice.
      source = pipeline.ArraySource(
        data.poses(steps * size, 1000 + config.data_seed, config.variation)
      )
      transform = None
    else:
      source, transform = training_source(config, run.data_dir)
      if not name.startswith("readout"):
        steps, size = steps_of(config, len(source)), config.batch
      if name == ENCODER:
        steps = config.pretraining_steps
    batches = pipeline.batches(
      source, batch_size=size, seed=seed, transform=transform, workers=config.workers
    )
    state = initial_state(config, run, name, seed)
    step = stages(config)[name].step
    fit(
      run,
      f"{name}-{seed}",
      state,
      step,
      batches,
      steps,
      checkpoint_every=1000,
      log_every=min(100, -(-steps // 20)),  # each metric written costs milliseconds
    )


def predictor(config: Config, run, name: str, seed: int) -> Predictor:
  """Returns a trained network."""
  return Predictor.of(network(config, name), restore_state(config, run, name, seed))


def evaluate(config: Config, run) -> None:
  """Measures all variants on the same people and compares as the paper does."""
  if config.source == "files":
    evaluate_files(config, run)
    return
  own, surface = bodies(config, run.data_dir)
  rows, losses = {}, {}
  for name in config.variants:
    for seed in seeds_of(config, name):
      found = predictor(config, run, name, seed)

      def measure(split, found=found):
        return evaluation.measure(
          found,
          surface,
          rendered(config, split),
          data.to_batch,
          config.test_people,
          config.batch,
        )

      rows[name, seed] = measure("test")
      losses[name, seed] = measure("train")["loss"]
  run.table("errors on new people", claims.means(rows), "In millimetres.")
  read = {}
  if "true" in config.readouts:
    unseen = data.poses(config.test_people, 2000 + config.data_seed, config.variation)
    reads = variants.readout(config.sizes, body.sizes_of(own))
    table = []
    for seed in seeds_of(config, "readout_true"):
      state = restore_state(config, run, "readout_true", seed)
      measured = evaluation.measure_readout(
        reads, training.readout_of(state), own, unseen
      )
      read[seed] = measured
      table.append({"seed": seed, **measured})
    run.table("parameters read off true meshes", table, "Angles in degrees.")
  claims.claim_all(run, rows, losses, read, config.seeds)
  if "graph" in config.variants:
    found = predictor(config, run, "graph", config.seeds[0])
    segmented = evaluation.measure_segmentation(
      found,
      surface,
      rendered(config, "test"),
      data.to_batch,
      data.labels,
      config.test_people,
      config.batch,
    )
    for name, value in segmented.items():
      run.result(name, value, note="graph, read, first seed")
  keep_pictures(config, run)


def evaluate_files(config: Config, run) -> None:
  """Measures on the paper's test sets: Human3.6M, UP-3D and LSP."""
  _, surface = bodies(config, run.data_dir)
  load = functools.partial(dataset.load, data_dir=run.data_dir)
  prepare = dataset.Preparation(config.size)
  for name in config.variants:
    found = predictor(config, run, name, config.seeds[0])
    claims.record_test_sets(
      run, name, found, surface, load, prepare, config.test_people, config.batch
    )


def keep_pictures(config: Config, run) -> None:
  """Shows what each variant makes of the same test pictures."""
  source = rendered(config, "test")
  predictors = {n: predictor(config, run, n, config.seeds[0]) for n in config.variants}
  count = min(config.pictures, len(source), config.batch)
  _, batch = next(evaluation.batches(source, data.to_batch, count, config.batch))
  cameras = [source[i]["camera"] for i in range(count)]
  own, surface = bodies(config, run.data_dir)
  over, side = figures.compared(own, surface, batch, cameras, predictors)
  run.figure("meshes", over, "Meshes over what the networks saw.")
  run.figure("from the side", side, "The same meshes, from the side.")


def predict(config: Config, run, inputs) -> None:
  """Writes a mesh, its parameters' mesh and a picture for each picture of a person."""
  from jaxvision.papers.graph_cmr import prediction

  paths = [path for path in inputs if path.suffix.lower() != ".json"]
  if not paths:
    raise UserError("--inputs names no picture; boxes are found beside pictures")
  stretch = config.source == "files"
  people = [prediction.read(path, config.size, stretch=stretch) for path in paths]
  own, surface = bodies(config, run.data_dir)
  if config.weights:
    found = published_predictor(config, own)
  elif config.variants:
    name = "graph" if "graph" in config.variants else config.variants[0]
    found = predictor(config, run, name, config.seeds[0])
  else:
    raise UserError("no variant was trained")
  made = [(person, prediction.predict(found, surface, person)) for person in people]
  for row in prediction.write(run.out, surface, made):
    run.log(f"{row['file']}: {row['mesh']}")


def published_predictor(config: Config, own) -> Predictor:
  """Returns the authors' network of --config.weights."""
  loaded = published.load(config.weights)
  coarse = loaded.variables["params"]["decoder"]["camera"]["kernel"].shape[0]
  if coarse != len(own.reference):
    raise UserError(
      f"{config.weights}: is for a mesh of {coarse} vertices, not {len(own.reference)}"
    )
  state = {**loaded.variables, training.BODY: jax.tree.map(jax.numpy.asarray, own)}
  return Predictor(loaded.network, state.pop("params"), state)


def _needed(data_dir):
  if data_dir is None:
    raise UserError(
      "the data sets are read from --data_dir=DIR, SMPL and its meshes from DIR/body"
    )
  return data_dir


if __name__ == "__main__":
  launcher.main(
    "graph_cmr",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
