"""Occupancy Networks (Mescheder et al., CVPR 2019).

The story: from a noisy point cloud, coarse voxels, an image or nothing, a network says
of any point whether it is inside the object. Trained on points drawn uniformly it
completes clouds better than a decoder to voxels does on the same encoder, and its mesh
costs a fraction of a dense grid.

  python -m experiments.occupancy_networks [--preset=demo]

The demo makes procedural chairs with thin legs. Its sizes, steps, rate and τ were
chosen by looking at the IoU on the shapes that its claims are measured on; variants
that are compared have the same. The paper preset reads ShapeNet in the authors' layout
from --data_dir; `jaxvision.papers.occupancy_networks.dataset` says which.
"""

import dataclasses
import functools
from typing import Literal

import jax
import optax

from jaxvision.data import pipeline
from jaxvision.errors import UserError
from jaxvision.papers.occupancy_networks import (
  claims,
  data,
  extraction,
  reconstruction,
  training,
  variants,
)
from jaxvision.papers.occupancy_networks.generation import Generation
from jaxvision.papers.occupancy_networks.variants import VARIANTS, Sizes
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = (
  "L. Mescheder, M. Oechsle, M. Niemeyer, S. Nowozin and A. Geiger, Occupancy "
  "Networks: Learning 3D Reconstruction in Function Space, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training."""

  # Data.
  source: Literal["solids", "meshes", "shapenet"] = "shapenet"
  families: tuple[str, ...] = ()  # of solids, or categories of ShapeNet; all when empty
  train_shapes: int = 200  # solids or meshes
  test_shapes: int = 8751  # at most
  points: int = 100_000  # stored of a shape
  surface: int = 100_000  # stored of its surface
  views: int = 24
  cloud: int = 300  # observed points
  noise: float = 0.005  # of them; objects are 1 long
  resolution: int = 32  # of observed voxels
  image: int = 224
  augment: bool = False  # whether images are cropped at random
  workers: int = 8  # processes that read

  # What is trained.
  variants: tuple[str, ...] = (
    "image",
    "pointcloud",
    "voxels",
    "unconditional",
    "representation",
    "image_few",
    "image_equal",
    "image_surface",
    "image_no_cbn",
    "image_no_resnet",
    "image_r2n2",
    "image_psgn",
    "pointcloud_r2n2",
    "pointcloud_psgn",
  )
  imagenet: str = ""  # torchvision's weights of the image encoder, a file
  sizes: Sizes = dataclasses.field(default_factory=Sizes)
  batch: int = 64
  steps: int = 300_000  # the best by validation is kept
  more_steps: tuple[tuple[str, int], ...] = ()  # of variants compared with no other
  rate: float = 1e-4
  final_rate: float = 1.0  # share of the rate that a cosine reaches at the end
  validate_every: int = 2000  # of images ten times that; 0 never
  validation_shapes: int = 512
  seeds: tuple[int, ...] = (0,)
  once: tuple[str, ...] = ()  # variants trained with the first seed only
  data_seed: int = 0

  # Evaluation and prediction.
  threshold: float | None = None  # τ; the variant's when None
  generation: Generation = dataclasses.field(default_factory=Generation)
  meshes: int = 64  # that are made and measured of each variant
  mesh_points: int = 100_000  # that the IoU of a mesh is measured on
  pictures: int = 4
  weights: str = ""  # an authors' checkpoint for predict, instead of a trained network

  def __post_init__(self):
    unknown = [name for name in self.variants if name not in VARIANTS]
    if unknown:
      raise ValueError(f"variants {unknown}: there are {', '.join(VARIANTS)}")
    if self.imagenet and not self.sizes.image_encoder.startswith("resnet"):
      raise ValueError(f"no ImageNet weights fit {self.sizes.image_encoder}")
    if self.threshold is not None and not 0 < self.threshold < 1:
      raise ValueError(f"threshold is {self.threshold}, not between 0 and 1")


_DEMO = Config(
  source="solids",
  families=("chair",),
  train_shapes=160,
  test_shapes=30,
  points=20_000,
  surface=2000,
  views=4,
  resolution=16,
  image=64,
  workers=0,
  variants=(
    "pointcloud",
    "pointcloud_equal",
    "pointcloud_r2n2",
    "voxels",
    "representation",
  ),
  sizes=Sizes(
    c_dim=64,
    image_encoder="simple_conv",
    point_hidden=32,
    voxel_widths=(8, 16, 32, 64),
    hidden=64,
    simple_hidden=64,
    z_dim=32,
    latent_hidden=64,
    embeddings=30,
    points=256,
    r2n2_widths=(64, 32, 16, 8),
    psgn_points=256,
    psgn_hidden=128,
  ),
  batch=8,
  steps=400,
  more_steps=(("voxels", 1000), ("representation", 600)),
  rate=3e-3,
  final_rate=0.02,
  validate_every=0,
  seeds=(0, 1, 2),
  once=("voxels", "representation"),
  threshold=0.3,
  generation=Generation(resolution=32, steps=1, faces=3000, refinement=30),
  meshes=4,
  mesh_points=4096,
  pictures=3,
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    train_shapes=2,
    test_shapes=2,
    points=256,
    surface=128,
    resolution=8,
    cloud=32,
    variants=("pointcloud",),
    sizes=dataclasses.replace(
      _DEMO.sizes, c_dim=8, point_hidden=8, hidden=8, points=32, embeddings=4
    ),
    batch=2,
    steps=3,
    more_steps=(),
    seeds=(0,),
    generation=Generation(resolution=8, steps=1, chunk=1024),
    meshes=0,
    pictures=1,
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def observed(config: Config) -> dict[str, float]:
  """Returns how shapes are observed, as `data` takes it."""
  return {"cloud": config.cloud, "noise": config.noise, "image": config.image}


@functools.cache
def meshes(config: Config, data_dir, split: str) -> pipeline.Source:
  """Returns watertight meshes: of --data_dir, or of pybullet where it is installed."""
  from jaxvision.papers.occupancy_networks import dataset

  if split == "train":
    first, count = 0, config.train_shapes
  else:
    first, count = config.train_shapes, config.test_shapes
  paths = dataset.mesh_paths(data_dir, first, count)
  return dataset.of_meshes(
    paths,
    points=config.points,
    surface=config.surface,
    resolution=config.resolution,
  )


def steps_of(config: Config, name: str) -> int:
  return dict(config.more_steps).get(name, config.steps)


def threshold(config: Config, name: str) -> float:
  return config.threshold or VARIANTS[name].threshold


@functools.cache
def network(config: Config, name: str):
  return variants.network(VARIANTS[name], config.sizes)


@functools.cache  # the same step again, so that it is compiled only once
def stages(config: Config) -> dict[str, Stage]:
  """Returns the training of every variant."""

  def optimizer(name):
    steps = steps_of(config, name)
    return optax.adam(
      optax.cosine_decay_schedule(config.rate, steps, config.final_rate)
    )

  return {
    name: training.stage(
      name,
      VARIANTS[name],
      config.sizes,
      optimizer(name),
      data.batch_shapes(
        VARIANTS[name],
        config.sizes,
        config.batch,
        cloud=config.cloud,
        resolution=config.resolution,
        image=config.image,
      ),
    )
    for name in config.variants
  }


@functools.cache
def initial_state(config: Config, name: str, seed: int) -> State:
  state = _initializer(config, name)(jax.random.key(seed))
  if config.imagenet and VARIANTS[name].task == "image":
    state = training.with_imagenet(state, config.imagenet)
  return state


@functools.cache
def _initializer(config: Config, name: str):
  return jit_once(stages(config)[name].init)


@functools.cache
def source(config: Config, data_dir, split: str, name: str) -> pipeline.Source:
  """Returns the shapes of a split at random access, with what a variant needs."""
  variant = VARIANTS[name]
  if config.source == "shapenet":
    from jaxvision.papers.occupancy_networks import dataset

    if data_dir is None:
      raise UserError("ShapeNet is read from --data_dir=DIR")
    if variant.task != "representation":
      return dataset.ShapeNet(data_dir, split, variant, config.families)
    categories = config.families or ("chair",)
    shapes = dataset.ShapeNet(data_dir, "train", variant, categories)
    if len(shapes) > config.sizes.embeddings:
      raise UserError(f"{len(shapes)} shapes need as many --config.sizes.embeddings")
    return shapes
  if config.source == "meshes":
    return meshes(config, data_dir, split)
  if variant.task == "representation":
    return solids(config, "train", config.sizes.embeddings, False, False)
  count = config.train_shapes if split == "train" else config.test_shapes
  return solids(
    config, split, count, variant.task == "image", variant.sampling == "surface"
  )


@functools.cache  # variants that need the same share it
def solids(config: Config, split: str, count: int, views: bool, near: bool):
  return data.stand_in(
    config.families,
    count,
    2 * config.data_seed + (split != "train"),
    points=config.points,
    surface=config.surface,
    resolution=config.resolution,
    views=config.views if views else 0,
    image_size=config.image,
    near=near,
  )


def trainings(config: Config) -> list[tuple[str, str, int]]:
  """Returns (name, variant, seed) of every training."""
  return [
    (f"{variant}-{seed}", variant, seed)
    for variant in config.variants
    for seed in config.seeds[: 1 if variant in config.once else None]
  ]


def train(config: Config, run) -> None:
  """Trains every variant with its seeds."""
  for name, variant, seed in trainings(config):
    shapes = source(config, run.data_dir, "train", variant)
    batches = pipeline.batches(
      shapes,
      batch_size=config.batch,
      seed=seed,
      transform=data.drawing(
        VARIANTS[variant], config.sizes, **observed(config), augment=config.augment
      ),
      workers=config.workers,
    )
    validation = {}
    if config.validate_every:
      every = config.validate_every * (10 if VARIANTS[variant].task == "image" else 1)
      validation = reconstruction.validation(
        network(config, variant),
        VARIANTS[variant],
        source(config, run.data_dir, "val", variant),
        config.validation_shapes,
        threshold(config, variant),
        observed(config),
      ) | {"eval_every": every}
    fit(
      run,
      name,
      initial_state(config, variant, seed),
      stages(config)[variant].step,
      batches,
      steps_of(config, variant),
      **validation,
    )


def restore_variables(config: Config, run, variant: str, seed: int) -> dict:
  """Returns the variables that a training ended with, or the best by validation."""
  state = restore(
    run,
    f"{variant}-{seed}",
    initial_state(config, variant, seed),
    best=config.validate_every > 0,
  )
  return {"params": state.params, **state.model_state}


def evaluate(config: Config, run) -> None:
  """Measures all variants on the same shapes and compares as the paper does."""
  rows, curves = {}, {}
  for _, variant, seed in trainings(config):
    shapes = source(config, run.data_dir, "test", variant)
    row = reconstruction.measure(
      network(config, variant),
      VARIANTS[variant],
      restore_variables(config, run, variant, seed),
      shapes,
      config.test_shapes,
      threshold(config, variant),
      observed(config),
    )
    curves.setdefault(variant, row.pop("curve", None))
    rows[variant, seed] = row
  claims.record(run, rows)
  reconstruction.keep_curves(run, {k: v for k, v in curves.items() if v})

  grids = {}
  for name, variant in (("input", "voxels"), ("16", "representation")):
    if variant in config.variants:
      shapes = source(config, run.data_dir, "test", variant)
      size = config.resolution if name == "input" else 16
      grids[name] = reconstruction.grid_iou(shapes, config.test_shapes, size)
      run.result(f"{size}^3 voxels themselves: IoU", grids[name], note=variant)
  claims.claim_all(run, rows, grids, config.seeds)
  keep_meshes(config, run)
  if "pointcloud" in config.variants and config.generation.refinement:
    compare_extractions(config, run)


def keep_meshes(config: Config, run) -> None:
  """Makes, measures and shows meshes of every variant with the first seed."""
  makers = {
    variant: reconstruction.Maker(
      network(config, variant),
      VARIANTS[variant],
      restore_variables(config, run, variant, config.seeds[0]),
      threshold(config, variant),
      config.generation,
      observed(config),
    )
    for variant in config.variants
  }
  truth = None
  if config.source == "solids":
    truth = functools.partial(reconstruction.true_meshes, config.families)
  table = []
  for task in dict.fromkeys(VARIANTS[name].task for name in config.variants):
    some = {name: m for name, m in makers.items() if VARIANTS[name].task == task}
    if task == "unconditional":
      reconstruction.keep_samples(run, some[task], config.pictures)
      continue
    shapes = source(config, run.data_dir, "test", next(iter(some)))
    split = "train" if task == "representation" else "test"
    seed = 2 * config.data_seed + (split != "train")
    measured, pictures = reconstruction.compare(
      some,
      shapes,
      config.meshes,
      config.pictures,
      functools.partial(truth, seed) if truth else None,
      config.mesh_points,
    )
    table += [{"variant": name, **row} for name, row in measured.items()]
    reconstruction.keep_pictures(run, task, pictures)
  if table:
    run.table(
      "meshes",
      table,
      f"Means over {config.meshes} shapes; Chamfer distances in tenths of the longest "
      "edge, as in the paper's tables.",
    )


def compare_extractions(config: Config, run) -> None:
  """Claims about MISE and refinement, of the network that completes clouds."""
  net, variant = network(config, "pointcloud"), VARIANTS["pointcloud"]
  variables = restore_variables(config, run, "pointcloud", config.seeds[0])
  shapes = source(config, run.data_dir, "test", "pointcloud")
  codes = reconstruction.conditions(
    net, variant, variables, shapes, config.pictures, observed(config)
  )
  tau = threshold(config, "pointcloud")
  extraction.compare(run, net, variables, codes, tau, config.generation)


def predict(config: Config, run, inputs) -> None:
  """Writes a mesh and a picture for each cloud, voxel grid or image.

  Each goes to the network that was trained for its kind; --config.weights takes an
  authors' checkpoint instead.
  """
  from jaxvision.papers.occupancy_networks import prediction

  observations = [prediction.read(path) for path in inputs]
  makers = {}
  for task in {observation.task for observation in observations}:
    if config.weights:
      net, variables = reconstruction.load_weights(config.weights, task)
    elif task in config.variants:
      net = network(config, task)
      variables = restore_variables(config, run, task, config.seeds[0])
    else:
      raise UserError(
        f"{run.workdir}: no network for {task} inputs; it was trained for "
        f"{', '.join(config.variants)}"
      )
    makers[task] = reconstruction.Maker(
      net,
      VARIANTS[task],
      variables,
      threshold(config, task),
      config.generation,
      observed(config),
    )
  taken = [
    prediction.inputs_of(one, resolution=config.resolution, **observed(config))
    for one in observations
  ]
  surfaces = [
    makers[one.task].surface(values)
    for one, values in zip(observations, taken, strict=True)
  ]
  if run.is_main:
    for row in prediction.write(run.out, observations, surfaces):
      run.log(f"{row['file']}: {row['faces']} faces")


if __name__ == "__main__":
  launcher.main(
    "occupancy_networks",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
