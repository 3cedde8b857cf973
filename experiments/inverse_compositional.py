"""Taking a Deeper Look at the Inverse Compositional Algorithm (Lv et al., CVPR 2019).

The story: two RGB-D views are aligned by warping one onto the other, coarse to fine.
Without learning, changes of light and things that move by themselves lead the alignment
astray. Three small networks inside the algorithm, trained through its iterations, mend
that: (A) features of both views, (B) weights of pixels, (C) damping of the steps.

  python -m experiments.inverse_compositional [--preset=demo]

The demo renders its views. Its sizes and number of levels were chosen for time before
anything was compared; all networks have the same number of updates. The paper preset
reads TUM RGB-D (or MovingObjects3D) from --data_dir; `dataset` and `moving_objects` in
jaxvision.papers.inverse_compositional say how it must lie there.
"""

import dataclasses
import functools
from typing import Literal

import jax
import numpy as np

from jaxvision.data import pipeline, rgbd_scenes
from jaxvision.errors import UserError
from jaxvision.papers.inverse_compositional import (
  claims,
  encoders,
  evaluation,
  figures,
  losses,
  training,
  variants,
)
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = (
  "Z. Lv, F. Dellaert, J. M. Rehg and A. Geiger, Taking a Deeper Look at the Inverse "
  "Compositional Algorithm, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data.
  source: Literal["rendered", "TUM", "MovingObjects3D"] = "TUM"
  height: int = 120
  width: int = 160
  depth_range: tuple[float, float] | None = None  # metres; by the source when None
  keyframes: tuple[int, ...] = (1, 2, 4, 8)  # frames between the two views
  train_pairs: int = 200  # rendered ones
  test_pairs: int = 2000  # at most
  augment: bool = False

  # What is compared, and the algorithm.
  baselines: tuple[str, ...] = (*variants.CLASSICAL, *variants.ICP)
  variants: tuple[str, ...] = variants.LEARNED
  levels: int = 4
  iterations: int = 3  # on each level

  # Training: 30 epochs.
  batch: int = 64
  epochs: int = 30
  steps: int | None = None  # instead of the epochs
  rate: float = 5e-4
  weight_decay: float = 4e-4
  decay_epochs: tuple[int, ...] = (5, 10, 20)
  decay: float = 0.5
  largest_norm: float | None = None  # of the gradient
  loss_size: tuple[int, int] = losses.TRAINING_SIZE
  seeds: tuple[int, ...] = (0,)
  data_seed: int = 0

  # Prediction.
  weights: str = ""  # the authors' checkpoint, instead of a trained network
  intrinsics: tuple[float, ...] = (525.0, 525.0, 319.5, 239.5)  # of the files
  depth_scale: float = 5000.0  # of the depth files: 1 metre

  def __post_init__(self):
    if not 1 <= self.levels <= encoders.LEVELS:
      raise ValueError(f"levels is {self.levels}, not 1 to {encoders.LEVELS}")
    if len(self.intrinsics) != 4:
      raise ValueError("intrinsics are four numbers: fx, fy, cx, cy")


_DEMO = Config(
  source="rendered",
  height=48,
  width=64,
  test_pairs=40,
  variants=("DeepLK", "A", "A+B+C"),  # A+B would take it beyond five minutes
  levels=3,
  batch=4,
  steps=100,
  largest_norm=10.0,
  loss_size=(48, 64),
  seeds=(0, 1, 2),
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    height=16,
    width=24,
    train_pairs=8,
    test_pairs=4,
    variants=("A",),  # the trust region takes too long to compile
    baselines=(),
    levels=1,
    iterations=2,
    batch=2,
    steps=3,
    loss_size=(16, 24),
    seeds=(0,),
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def depth_range(config: Config) -> tuple[float, float]:
  """Returns the metres between which depth counts."""
  default = (0.1, 100.0) if config.source == "MovingObjects3D" else (0.5, 5.0)
  return config.depth_range or default


@functools.cache
def tracker(config: Config, name: str):
  """Returns the tracker of a variant in this run's sizes."""
  return variants.make(
    name,
    depth_range=depth_range(config),
    iterations=config.iterations,
    scales=encoders.PYRAMID[: config.levels],
  )


def stages(config: Config) -> dict[str, Stage]:
  """Returns the training of every variant; their epochs count 1000 steps here."""
  return {name: stage(config, name, 1000) for name in config.variants}


@functools.cache  # the same step again, so that it is compiled only once
def stage(config: Config, name: str, epoch_steps: int) -> Stage:
  """Returns the training of a variant, given the steps of an epoch."""
  optimizer = training.optimizer(
    config.rate,
    weight_decay=config.weight_decay,
    decay_steps=tuple(epoch * epoch_steps for epoch in config.decay_epochs),
    decay=config.decay,
    largest_norm=config.largest_norm,
  )
  shapes = training.batch_shapes(
    config.batch,
    config.height,
    config.width,
    mask=config.source == "MovingObjects3D",
  )
  return training.stage(
    name, tracker(config, name), optimizer, shapes, size=config.loss_size
  )


@functools.cache
def initial_state(config: Config, name: str, seed: int) -> State:
  """Returns the state that a training starts from."""
  return _initializer(config, name)(jax.random.key(seed))


@functools.cache
def _initializer(config: Config, name: str):
  return jit_once(stage(config, name, 1000).init)


def training_source(config: Config, data_dir) -> pipeline.Source:
  """Returns the training pairs at random access."""
  if config.source == "rendered":
    arrays = rgbd_scenes.random_pairs(
      2 * config.data_seed, config.train_pairs, config.height, config.width
    )
    return pipeline.ArraySource(arrays)
  return real_source(config, data_dir, "train", config.keyframes)


@functools.cache
def test_pairs(
  config: Config, data_dir, *, disturbed: bool = True, keyframes: tuple[int, ...] = ()
):
  """Returns the pairs on which everything is compared, in memory.

  Args:
    config: of the run.
    data_dir: where real data are.
    disturbed: whether light changes and things move by themselves in rendered ones.
    keyframes: distances between the frames of real ones, if others than the config's.
  """
  if config.source == "rendered":
    return rgbd_scenes.random_pairs(
      2 * config.data_seed + 1,
      config.test_pairs,
      config.height,
      config.width,
      moving=disturbed,
      lighting=disturbed,
    )
  source = real_source(config, data_dir, "test", keyframes or config.keyframes)
  picked = np.linspace(0, len(source) - 1, min(len(source), config.test_pairs))
  examples = [source[int(index)] for index in picked]
  return {name: np.stack([one[name] for one in examples]) for name in examples[0]}


def real_source(
  config: Config, data_dir, split: str, keyframes: tuple[int, ...]
) -> pipeline.Source:
  """Returns the pairs of a real data set."""
  from jaxvision.papers.inverse_compositional import dataset, moving_objects

  if data_dir is None:
    raise UserError(f"{config.source} is read from --data_dir=DIR")
  if config.source == "TUM":
    return dataset.pairs(data_dir, split, keyframes, depth_range(config), config.height)
  return moving_objects.pairs(data_dir, split, keyframes, config.height)


def trainings(config: Config) -> list[tuple[str, str, int]]:
  """Returns (name of the training, variant, seed) of every one."""
  return [
    (f"{variant}-{seed}", variant, seed)
    for variant in config.variants
    for seed in config.seeds
  ]


def train(config: Config, run) -> None:
  """Trains every variant with every seed, all by the same number of updates."""
  source = training_source(config, run.data_dir)
  epoch_steps = max(len(source) // config.batch, 1)
  for name, variant, seed in trainings(config):
    batches = pipeline.batches(
      source,
      batch_size=config.batch,
      seed=seed,
      transform=training.augment if config.augment else None,
    )
    steps = config.steps or config.epochs * epoch_steps
    state = initial_state(config, variant, seed)
    step = stage(config, variant, epoch_steps).step
    fit(run, name, state, step, batches, steps)


def restore_variables(config: Config, run, name: str, variant: str):
  """Returns the parameters and statistics that a training ended with."""
  state = restore(run, name, initial_state(config, variant, config.seeds[0]))
  return state.params, state.model_state


def evaluate(config: Config, run) -> None:
  """Measures all variants on the same pairs and makes the paper's comparisons again."""
  pairs = test_pairs(config, run.data_dir)
  networks = {
    variant: [
      restore_variables(config, run, name, variant)
      for name, other, _ in trainings(config)
      if other == variant
    ]
    for variant in config.variants
  }

  def measure(variant, pairs, **options):
    """Returns the errors of a variant, over all seeds if it learns."""
    if variant in variants.ICP:
      plane = variant == "ICP point-plane"
      return evaluation.measure_icp(pairs, depth_range(config), point_to_plane=plane)
    one = tracker(config, variant)
    runs = [
      evaluation.measure(one, variables, pairs, **options)
      for variables in networks.get(variant, [({}, {})])
    ]
    return evaluation.pooled(runs)

  still = np.broadcast_to(np.eye(4, dtype=np.float32), pairs["pose"].shape)
  rows = {"zero motion": evaluation.errors(still, pairs, depth_range(config))}
  for variant in (*config.baselines, *config.variants):
    rows[variant] = measure(variant, pairs)
  table = [{"variant": name, **evaluation.summary(row)} for name, row in rows.items()]
  paper = "paper, MovingObjects3D, cm"
  for row in table:
    row[paper] = claims.PAPER.get(row["variant"], "")
  run.table("errors", table, f"{len(pairs['pose'])} pairs, {len(config.seeds)} seeds.")
  for row in table:
    run.result(
      f"{row['variant']}: 3-D EPE",
      row["EPE mean, cm"],
      paper=row[paper] or None,
      unit="cm",
    )
  run.table("by seed", by_seed(config, rows, len(pairs["pose"])), "3-D EPE, cm.")
  run.figure("errors", figures.error_figure(rows), "Errors on the test pairs.")

  if config.source != "rendered":
    table = []
    for distance in config.keyframes:
      some = test_pairs(config, run.data_dir, keyframes=(distance,))
      for variant in (*config.baselines, *config.variants):
        row = {"frames apart": distance, "variant": variant}
        table.append(row | evaluation.summary(measure(variant, some)))
    run.table("by distance of frames", table, claims.PAPER_TUM)

  if config.variants:
    keep_residuals(config, run, pairs, rows)
  seeds = config.seeds
  claims.claim_learning(run, rows, seeds)
  claims.claim_parts(run, rows, seeds)
  if claims.FULL in rows:
    once = measure(claims.FULL, pairs, iterations=1)
    claims.claim_iterations(run, once, rows[claims.FULL], seeds)
    if config.source == "rendered" and claims.NO_LEARNING in rows:
      easy = test_pairs(config, run.data_dir, disturbed=False)
      names = (claims.NO_LEARNING, claims.FULL)
      claims.claim_robustness(
        run, rows, {name: measure(name, easy) for name in names}, seeds
      )


def by_seed(config: Config, rows, count: int) -> list[dict]:
  """Returns the mean error of every training."""
  table = []
  for variant in config.variants:
    means = rows[variant]["epe"].reshape(-1, count).mean(axis=1)
    named = {f"seed {s}": float(m) for s, m in zip(config.seeds, means, strict=True)}
    table.append({"variant": variant, **named})
  return table


def keep_residuals(config: Config, run, pairs, rows) -> None:
  """Keeps a figure of what is left between the views of a few pairs."""
  ours = claims.FULL if claims.FULL in rows else config.variants[-1]
  # Typical pairs of the first seed, not the best: from low errors to high ones.
  order = np.argsort(rows[ours]["epe"][: len(pairs["pose"])])
  picked = order[np.linspace(0, len(order) - 1, 6).astype(int)[1:-1]]
  some = {name: array[picked] for name, array in pairs.items()}
  poses = {"before": np.broadcast_to(np.eye(4, dtype=np.float32), (len(picked), 4, 4))}
  if claims.NO_LEARNING in rows:
    poses["no learning"] = rows[claims.NO_LEARNING]["pose"][picked]
  poses[ours] = rows[ours]["pose"][picked]
  poses["true motion"] = some["pose"]
  shown = []
  for number in range(len(picked)):
    pair = {name: array[number] for name, array in some.items()}
    residuals, _ = figures.warped_residual(
      pair, np.stack([one[number] for one in poses.values()]), depth_range(config)
    )
    shown.append(
      {"first view": pair["image0"], "second view": pair["image1"]}
      | dict(zip(poses, residuals, strict=True))
    )
  weights = rows[ours]["weights"][picked] if "weights" in rows[ours] else ()
  run.figure(
    "residuals",
    figures.residual_figure(shown, weights),
    "Difference of luminance after alignment; grey: hidden, or depth unknown. Light "
    "changes between the views, so that the true motion leaves some too.",
  )


def predict(config: Config, run, inputs) -> None:
  """Writes the poses between consecutive frames, a trajectory, and residual pictures.

  The inputs are colour and depth files in turn, or folders that hold `color` (or
  `rgb`) and `depth`.
  """
  from jaxvision.papers.inverse_compositional import prediction, published

  frames = prediction.read_frames(inputs, config.depth_scale)
  if config.weights:
    model, *variables = published.load(config.weights)
    model = dataclasses.replace(model, depth_range=depth_range(config))
  else:
    variant = claims.FULL if claims.FULL in config.variants else config.variants[0]
    name = f"{variant}-{config.seeds[0]}"
    model = tracker(config, variant)
    variables = restore_variables(config, run, name, variant)
  predictions = prediction.align(
    model, variables, frames, config.intrinsics, (config.height, config.width)
  )
  for one in predictions:
    run.log(one.line())
  if run.is_main:
    prediction.write(run.out, predictions)


if __name__ == "__main__":
  launcher.main(
    "inverse_compositional",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
