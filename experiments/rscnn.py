"""RS-CNN (Liu, Fan, Xiang and Pan, CVPR 2019): convolution by geometric relations.

The story: a network on points whose convolution weights are made from the geometric
relation of each neighbour to its centroid is trained to classify shapes, beside a
PointNet. Moved, turned and thinned clouds show what each has learned; a variant in
local frames does not see rotations at all. The same operator labels parts and estimates
normals.

  python -m experiments.rscnn [--preset=demo]

The demo's shapes are procedural. Its sizes, rate, steps and weight of a new batch's
statistics, and how thick a mug's handle is, were chosen by looking at the test shapes
that its claims are measured on.
The paper preset reads ModelNet40 and ShapeNet-Part from --data_dir, as
`jaxvision.data.modelnet` and `jaxvision.data.shapenet_part` say.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.papers.rscnn import (
  augmentation,
  claims,
  data,
  evaluation,
  figures,
  metrics,
  prediction,
  real_meshes,
  training,
)
from jaxvision.papers.rscnn.variants import (
  SIZES,
  VARIANTS,
  Variant,
  largest_drop,
  model,
)
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = (
  "Y. Liu, B. Fan, S. Xiang and C. Pan, Relation-Shape Convolutional Neural Network "
  "for Point Cloud Analysis, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data: "shapes" and "part_shapes" are procedural, the others read from --data_dir.
  source: Literal["shapes", "modelnet40"] = "modelnet40"
  label_source: Literal["part_shapes", "shapes", "shapenet_part"] = "shapenet_part"
  normal_source: Literal["shapes", "shapenet_part"] = "shapenet_part"
  shapes: tuple[int, int] = (100, 40)  # procedural ones a class, to train and to test
  noise: float = 0.0  # of their coordinates

  # Networks; see `variants`. The first ones have every seed, the ablations the first.
  size: Literal["paper", "small", "tiny"] = "paper"
  variants: tuple[str, ...] = ("rscnn", "parts", "normals")
  ablations: tuple[str, ...] = ()

  # Classification. Epochs count as many steps as ModelNet40 has batches.
  stored: int = 2048  # points of a cloud as it is stored
  candidates: int = 1200  # the farthest ones, of which random ones are seen; 0 for all
  points: int = 1024
  augment: bool = True
  scale: tuple[float, float] = augmentation.SCALES
  shift: float = augmentation.SHIFT
  steps: int = 61_500
  batch: int = 32
  epoch_steps: int = 308
  rate: float = 1e-3
  decay: float = 0.7  # of the rate
  decay_epochs: int = 21
  momentum: float = 0.0  # weight of a new batch's statistics; 0 follows the schedule
  votes: int = 10

  # Parts and normals.
  label_stored: int = 2048
  label_points: int = 2048
  normal_points: int = 1024
  label_steps: int = 100_000
  label_batch: int = 28
  label_epoch_steps: int = 500
  label_decay: float = 0.5

  farthest_test: bool = True  # test on the points farthest from each other
  test_batch: int = 32
  seeds: tuple[int, ...] = (0,)
  seed: int = 0

  def __post_init__(self):
    for name in (*self.variants, *self.ablations):
      if name not in VARIANTS:
        raise ValueError(f"variants: {name!r} is none of {', '.join(VARIANTS)}")
    pool = self.candidates or self.stored
    if not 1 <= self.points <= pool <= self.stored:
      raise ValueError(f"points: {self.points} of {pool} of {self.stored} stored ones")
    if not 0 <= self.momentum <= 1:
      raise ValueError(f"momentum: {self.momentum} is not in [0, 1]")
    if not self.seeds:
      raise ValueError("seeds: none")


_DEMO = Config(
  source="shapes",
  label_source="part_shapes",
  normal_source="shapes",
  shapes=(100, 40),
  noise=0.01,
  size="small",
  variants=(
    "rscnn",
    "pointnet",
    "frames",
    "point_dropout",
    "normals",
    "normals_pointnet",
  ),
  ablations=("no_relation", "average", "parts", "parts_pointnet"),
  stored=512,
  candidates=0,
  points=256,
  augment=False,
  steps=320,
  batch=16,
  epoch_steps=40,
  rate=4e-3,
  decay=0.5,
  decay_epochs=2,
  momentum=0.1,
  votes=10,
  label_stored=512,
  label_points=256,
  normal_points=256,
  label_steps=300,
  label_batch=16,
  label_epoch_steps=62,
  label_decay=0.7,
  farthest_test=False,
  test_batch=100,
  seeds=(0, 1, 2),
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    shapes=(4, 2),
    size="tiny",
    variants=("rscnn",),
    ablations=("normals_pointnet",),
    stored=64,
    points=48,
    steps=4,
    batch=8,
    epoch_steps=2,
    votes=1,
    label_stored=64,
    label_points=48,
    normal_points=48,
    label_steps=2,
    label_batch=4,
    test_batch=20,
    seeds=(0,),
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def source_of(config: Config, variant: Variant) -> tuple[str, int, int]:
  """Returns a variant's data set, its stored points, and those that it sees."""
  if variant.task == "classification":
    return config.source, config.stored, config.points
  if variant.task == "parts":
    return config.label_source, config.label_stored, config.label_points
  return config.normal_source, config.label_stored, config.normal_points


@functools.cache  # its compiled functions are kept with it
def model_of(config: Config, name: str) -> training.Model:
  """Returns the network of a variant."""
  variant = VARIANTS[name]
  source, points, _ = source_of(config, variant)
  about = data.source(source, points)
  if variant.task == "parts" and not about.num_parts:
    raise ValueError(f"{source} has no parts")
  return model(variant, SIZES[config.size], len(about.classes), about.num_parts)


def preparation_of(config: Config, variant: Variant) -> training.Preparation:
  """Returns how a variant's batches are made of stored clouds."""
  _, _, count = source_of(config, variant)
  return training.Preparation(
    count,
    config.candidates if variant.task == "classification" else 0,
    config.augment,
    config.scale,
    config.shift,
    largest_drop(variant),
  )


def optimizer_of(config: Config, variant: Variant) -> optax.GradientTransformation:
  """Returns Adam with the rate of a variant's task."""
  classifies = variant.task == "classification"
  rate = training.step_decay(
    config.rate,
    config.epoch_steps if classifies else config.label_epoch_steps,
    decay=config.decay if classifies else config.label_decay,
    every=config.decay_epochs,
  )
  # One vector of all parameters: the step compiles in three quarters of the time.
  return optax.flatten(optax.adam(rate))


def batch_of(config: Config, variant: Variant) -> tuple[int, int]:
  """Returns a variant's batch size and number of steps."""
  if variant.task == "classification":
    return config.batch, config.steps
  return config.label_batch, config.label_steps


@functools.cache  # the same step again, so that it is compiled only once
def stage(config: Config, name: str) -> Stage:
  """Returns the stage of a variant, whatever the seed."""
  variant, network = VARIANTS[name], model_of(config, name)
  source, stored, _ = source_of(config, variant)
  size, _ = batch_of(config, variant)
  shapes = data.batch_shapes(source, size, stored)
  preparation = preparation_of(config, variant)
  optimizer = optimizer_of(config, variant)
  if config.momentum:
    momentum = training.fixed_momentum(config.momentum)
  else:
    classifies = variant.task == "classification"
    epoch = config.epoch_steps if classifies else config.label_epoch_steps
    momentum = training.momentum_decay(epoch, config.decay_epochs)

  def forward(state, batch):
    seen = preparation(jax.random.key(0), batch)
    return network.apply(training.variables_of(state), seen)

  return Stage(
    name=name,
    init=lambda key: training.state(key, network, preparation, optimizer, shapes),
    step=training.step(network, preparation, optimizer, momentum),
    batch=shapes,
    forward=forward,
  )


def stages(config: Config) -> dict[str, Stage]:
  """Returns the stages of all variants."""
  return {name: stage(config, name) for name in (*config.variants, *config.ablations)}


@functools.cache  # compiled once for all seeds
def first_state(config: Config, name: str):
  """Returns key -> state that a variant's training starts from."""
  return jit_once(stage(config, name).init)


def trainings(config: Config) -> list[tuple[str, int]]:
  """Returns (variant, seed) of every training."""
  runs = [(name, seed) for seed in config.seeds for name in config.variants]
  return runs + [(name, config.seeds[0]) for name in config.ablations]


@functools.cache  # evaluation needs them again
def examples_of(config: Config, name: str, data_dir):
  """Returns a source's examples for training and for testing."""
  stored = config.stored if name == config.source else config.label_stored
  return data.load(
    name, data_dir, points=stored, each=config.shapes, noise=config.noise
  )


def train(config: Config, run) -> None:
  """Trains every variant with every seed."""
  for name, _ in trainings(config):  # what is missing is told before anything starts
    examples_of(config, source_of(config, VARIANTS[name])[0], run.data_dir)
  for name, seed in trainings(config):
    variant = VARIANTS[name]
    source, stored, _ = source_of(config, variant)
    size, steps = batch_of(config, variant)
    batches = data.training_batches(
      examples_of(config, source, run.data_dir)[0],
      source,
      batch_size=size,
      points=stored,
      seed=seed,
    )
    state = first_state(config, name)(jax.random.key(seed))
    fit(run, f"{name}-{seed}", state, stage(config, name).step, batches, steps)


@functools.cache  # compiled once for all seeds
def evaluator_of(config: Config, name: str) -> evaluation.Evaluator:
  """Returns what measures a variant."""
  _, _, count = source_of(config, VARIANTS[name])
  return evaluation.Evaluator(
    model_of(config, name), count, farthest=config.farthest_test
  )


def restored(config: Config, run, name: str, seed: int) -> dict:
  """Returns the variables that a training ended with."""
  state: State = jax.eval_shape(stage(config, name).init, jax.random.key(0))
  return training.variables_of(restore(run, f"{name}-{seed}", state))


def batches_of(config: Config, run, variant: Variant):
  """Returns a variant's test batches."""
  source, stored, _ = source_of(config, variant)
  _, tested = examples_of(config, source, run.data_dir)
  return data.testing_batches(
    tested, source, batch_size=config.test_batch, points=stored
  )


def evaluate(config: Config, run) -> None:
  """Measures every network and makes the paper's comparisons again."""
  classified, labelled, estimated = [], [], []
  for name, seed in trainings(config):
    variant, measure = VARIANTS[name], evaluator_of(config, name)
    variables = restored(config, run, name, seed)
    row = {"variant": name, "seed": seed}
    if variant.task == "classification":
      for condition, disturb in evaluation.CONDITIONS.items():
        tested = batches_of(config, run, variant)
        row[condition] = measure.accuracy(variables, tested, disturb)
      if name == "rscnn" and config.votes > 1 and seed == config.seeds[0]:
        row["voted"] = measure.voted_accuracy(
          variables,
          batches_of(config, run, variant),
          jax.random.key(seed),
          votes=config.votes,
          candidates=config.candidates,
        )
      classified.append(row)
    elif variant.task == "parts":
      labelled.append(row | measure_parts(config, run, name, variables))
    else:
      cosine, unsigned = measure.normal_errors(
        variables, batches_of(config, run, variant)
      )
      estimated.append(row | {"cosine": cosine, "unsigned": unsigned})

  if classified:
    claims.record_classification(run, classified, list(evaluation.CONDITIONS))
    claims.claim_robustness(run, classified)
    shown = [n for n in config.variants if VARIANTS[n].task == "classification"]
    if shown:
      run.figure(
        "robustness",
        figures.robustness_figure(classified, list(evaluation.CONDITIONS), shown),
        "Accuracy on test shapes; lines reach from the worst to the best seed.",
      )
  if "rscnn" in (*config.variants, *config.ablations):
    claims.claim_invariance(run, invariances(config, run))
  claims.claim_normals(run, estimated)
  claims.record_parts(run, labelled)
  claims.record_real_normals(run, real_normals(config, run))
  keep_clouds(config, run)


def invariances(config: Config, run) -> dict[str, float]:
  """Returns what moving and permuting clouds does to an untrained network."""
  network = model_of(config, "rscnn")
  batch = next(iter(batches_of(config, run, VARIANTS["rscnn"])))
  points = jnp.asarray(batch["points"][:2, : config.points])
  variables = training.variables_of(first_state(config, "rscnn")(jax.random.key(0)))
  return evaluation.invariances(network, variables, points, jax.random.key(1))


def real_normals(config: Config, run) -> list[dict]:
  """Returns errors of normals on the meshes of installed packages, if there are any."""
  names = (*config.variants, *config.ablations)
  titles = {n: t for n, t in evaluation.NORMAL_ESTIMATORS.items() if n in names}
  meshes = real_meshes.read_installed() if titles else {}
  if not meshes:
    return []

  def estimator(name):
    apply = jax.jit(model_of(config, name).apply)
    variables = restored(config, run, name, config.seeds[0])
    return lambda points: apply(variables, {"points": points})

  estimators = {title: estimator(name) for name, title in titles.items()}
  return real_meshes.errors(meshes, estimators, config.normal_points)


def measure_parts(config: Config, run, name: str, variables: dict) -> dict:
  """Returns IoUs of parts, with and without voting."""
  variant, measure = VARIANTS[name], evaluator_of(config, name)
  source, stored, _ = source_of(config, variant)
  parts = data.source(source, stored).parts
  ious, right = measure.part_ious(variables, batches_of(config, run, variant), parts)
  instance, by_class = metrics.mean_ious(ious)
  categories = {n: float(np.mean(values)) for n, values in ious.items() if values}
  row = {
    "instance": instance,
    "class": by_class,
    "points": right,
    "categories": categories,
  }
  if config.votes > 1 and name == "parts":
    ious, _ = measure.part_ious(
      variables,
      batches_of(config, run, variant),
      parts,
      key=jax.random.key(config.seed),
      votes=config.votes,
    )
    row["voted"], _ = metrics.mean_ious(ious)
  return row


def keep_clouds(config: Config, run) -> None:
  """Keeps pictures of labelled parts and of normals, the truth beside ours."""
  names, seed = (*config.variants, *config.ablations), config.seeds[0]
  if "parts" in names:
    figure = figures.parts_figure(*shown(config, run, "parts", seed))
    run.figure("parts", figure, "Parts of test shapes.")
  estimates = {
    title: shown(config, run, name, seed)
    for name, title in evaluation.NORMAL_ESTIMATORS.items()
    if name in names
  }
  if estimates:
    _, seen, about = next(iter(estimates.values()))
    run.figure(
      "normals",
      figures.normals_figure(
        {t: found[0] for t, found in estimates.items()}, seen, about
      ),
      "Normals as colours; errors from grey (none) to red (a right angle and more).",
    )


def shown(config: Config, run, name: str, seed: int):
  """Returns a variant's outputs, the test examples that it saw, and their source."""
  source, stored, _ = source_of(config, VARIANTS[name])
  output, seen = evaluator_of(config, name).outputs(
    restored(config, run, name, seed), batches_of(config, run, VARIANTS[name])
  )
  return output, seen, data.source(source, stored)


def predict(config: Config, run, inputs) -> None:
  """Writes predictions.json and, of each file, a coloured picture and a PLY cloud.

  Whatever the run has trained is asked: "rscnn" for the class, "parts" for the parts
  (of the class that was found, if it has any, else of the most likely category),
  "normals" for the normals; the first seed.
  """
  names = [
    name
    for name in ("rscnn", "parts", "normals")
    if name in (*config.variants, *config.ablations)
  ]
  clouds = [prediction.read_points(path, prediction.FEWEST) for path in inputs]
  asked = {name: restored(config, run, name, config.seeds[0]) for name in names}
  predictions = []
  for path, points in zip(inputs, clouds, strict=True):
    one = prediction.predict(
      str(path),
      points,
      {name: (model_of(config, name), asked[name]) for name in names},
      {name: source_of(config, VARIANTS[name]) for name in names},
    )
    run.log(one.line())
    predictions.append(one)
  if run.is_main:
    prediction.write(run.out, predictions)


if __name__ == "__main__":
  launcher.main(
    "rscnn",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
