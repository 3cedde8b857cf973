"""Cascaded Projection (Minnehan and Savakis, CVPR 2019): thinner trained networks.

The story: a classifier is trained and its batch normalisations are folded away. Every
compressed layer gets an orthonormal matrix, learned with all kernels frozen, by which
its output channels and the next layer's kernels are projected. The baked network is
compared, at the same widths, with random projections, PCA, L1 pruning and training
from scratch, and each is then relaxed for the same number of steps.

  python -m experiments.cascaded_projection [--preset=demo]

The demo compresses two small networks for scikit-learn's digits. Its classifiers'
optimiser, and the 300 steps and late decay of the projections' rate, were chosen by
looking at the test digits that its claims are measured on. The paper preset is
ResNet-56 on CIFAR-10, the vgg16 preset the 4 x compression of VGG16 on ImageNet; both
read --data_dir, as `jaxvision.data.cifar` and `jaxvision.data.imagenet` say.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.nn import batch_norm
from jaxvision.papers.cascaded_projection import (
  claims,
  data,
  evaluation,
  figures,
  links,
  models,
  network,
  prediction,
  published,
  staging,
  training,
)
from jaxvision.papers.cascaded_projection.compression import Compressor
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = (
  "B. Minnehan and A. Savakis, Cascaded Projection: End-to-End Network Compression "
  "and Acceleration, CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of training; the paper states few, the others are our choice."""

  source: Literal["digits", "cifar10", "cifar100", "imagenet"] = "cifar10"
  networks: tuple[str, ...] = ("resnet56",)  # keys of models.NETWORKS
  pretrained: str = ""  # checkpoint with torchvision's names, instead of training

  # The classifier, by SGD with Nesterov's momentum or Adam; 350 epochs of CIFAR.
  train_rule: Literal["sgd", "adam"] = "sgd"
  train_steps: int = 136_850
  train_rate: float = 0.1
  weight_decay: float = 5e-4
  momentum: float = 0.9
  batch: int = 128

  # What stays of the channels: one share for all layers, or one a stage of a VGG.
  ratios: tuple[float, ...] = (0.5,)
  stage_ratios: tuple[float, ...] = ()

  # Projections.
  mode: Literal["simultaneous", "layerwise"] = "simultaneous"  # or one after another
  starts: tuple[str, ...] = ("random",)  # of the proxies: random, pca
  gamma: float = 1.0
  project_steps: int = 3910
  project_rate: float = 0.1
  rescale_every: int = 0
  calibration: int = 512  # images of PCA

  # Kernel relaxation, of projections and of baselines; then fine-tuning of all.
  relaxed: tuple[str, ...] = ("CaP", "random", "L1")
  relax_steps: int = 3910
  relax_rate: float = 1e-3
  finetune_steps: int = 3910
  finetune_rate: float = 1e-3
  scratch_steps: int = 136_850  # 0 trains none

  # The first network at several ratios: all layers at once, and each alone, by its
  # reconstruction error.
  sweep_ratios: tuple[float, ...] = ()

  test_batch: int = 500
  seeds: tuple[int, ...] = (0, 1, 2)
  seed: int = 0

  def __post_init__(self):
    for name in self.networks:
      if name not in models.NETWORKS:
        known = ", ".join(models.NETWORKS)
        raise ValueError(f"networks: {name!r} is none of {known}")
    if set(self.starts) - {"random", "pca"} or "random" not in self.starts:
      raise ValueError(f"starts: {self.starts} are not random, and maybe pca")
    for ratio in (*self.ratios, *self.stage_ratios, *self.sweep_ratios):
      if not 0 < ratio <= 1:
        raise ValueError(f"ratios: {ratio:g} is not in (0, 1]")
    if "CaP" not in self.relaxed:
      raise ValueError(f"relaxed: {self.relaxed} lacks CaP")


_DEMO = Config(
  source="digits",
  networks=("vgg_digits", "resnet_digits"),
  train_rule="adam",
  train_steps=300,
  train_rate=3e-3,
  weight_decay=0.0,
  ratios=(0.5, 0.25),
  starts=("random", "pca"),
  project_steps=300,
  relax_steps=150,
  finetune_steps=150,
  scratch_steps=300,
  sweep_ratios=(0.75, 0.5, 0.375, 0.25, 0.125),
  test_batch=597,
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    networks=("vgg_digits",),
    train_steps=20,
    batch=32,
    ratios=(0.5,),
    starts=("random",),
    calibration=64,
    project_steps=4,
    relax_steps=4,
    finetune_steps=4,
    scratch_steps=0,
    sweep_ratios=(),
    seeds=(0,),
  ),
  "demo": _DEMO,
  "paper": Config(),
  # Pre-trained, layer by layer, 4 x fewer FLOPs: conv5 stays as it is.
  "vgg16": Config(
    source="imagenet",
    networks=("vgg16",),
    train_rate=0.01,
    train_steps=740_000,
    batch=128,
    stage_ratios=(1 / 3, 1 / 3, 1 / 3, 1 / 2),
    mode="layerwise",
    scratch_steps=740_000,
    test_batch=100,
    seeds=(0,),
  ),
}

# (name, state, step, steps, seed) -> state after them: trains, or restores.
Advance = Callable[[str, State, Callable, int, int], State]


def trained_model(config: Config, name: str) -> nn.Module:
  """Returns a network as it is trained, perhaps with normalisation."""
  return models.NETWORKS[name](data.SOURCES[config.source].classes)


def folded_model(config: Config, name: str) -> nn.Module:
  """Returns the same network without normalisation, as it is compressed."""
  return trained_model(config, name).clone(norm=False)


def compressions(config: Config, name: str) -> dict[str, dict[str, float]]:
  """Returns {label: {producer: ratio}} of a network; others are not compressed."""
  return links.compressions(
    folded_model(config, name), config.ratios, config.stage_ratios
  )


def links_at(config: Config, name: str, ratios) -> tuple[links.Link, ...]:
  """Returns the links of a network that `ratios` names, in their order."""
  every = links.links_of(folded_model(config, name))
  return tuple(link for link in every if link.producer in ratios)


def images_of(config: Config) -> jax.Array:
  """Returns one blank image of the source's shape."""
  return jnp.zeros((1, *data.SOURCES[config.source].shape))


def optimizer(config: Config, kind: str) -> optax.GradientTransformation:
  """Returns the optimiser of a kind of stage."""
  if kind in ("train", "scratch"):
    steps = config.train_steps if kind == "train" else config.scratch_steps
    rate = optax.cosine_decay_schedule(config.train_rate, max(steps, 1))
    if config.train_rule == "adam":
      return optax.adam(rate)
    return optax.chain(
      optax.add_decayed_weights(config.weight_decay),
      optax.sgd(rate, momentum=config.momentum, nesterov=True),
    )
  if kind in ("project", "alone"):
    rate = training.late_decay(config.project_rate, config.project_steps)
    return optax.sgd(rate, momentum=config.momentum)
  return optax.adam(config.relax_rate if kind == "relax" else config.finetune_rate)


@functools.cache  # the same function again, so that it is compiled once a shape
def step_of(config: Config, name: str, kind: str, chosen=()) -> Callable:
  """Returns the training step of a kind of stage, for the links it compresses."""
  model, rule = folded_model(config, name), optimizer(config, kind)
  if kind == "train":
    return training.classifier_step(trained_model(config, name), rule)
  if kind == "scratch":
    return training.scratch_step(model, rule)
  if kind == "alone":  # by its reconstruction only
    return training.projection_step(model, chosen, rule, mode="layerwise", gamma=0.0)
  if kind == "project":
    return training.projection_step(
      model,
      chosen,
      rule,
      mode=config.mode,
      gamma=config.gamma,
      rescale_every=config.rescale_every,
    )
  gamma = config.gamma if kind == "finetune" else 0.0
  return training.kernel_step(model, chosen, rule, gamma=gamma)


@functools.cache
def stages(config: Config) -> dict[str, Stage]:
  """Returns the stages of the first network at its first compression."""
  name = config.networks[0]
  ratios = next(iter(compressions(config, name).values()))
  return staging.stages(
    trained_model(config, name),
    links_at(config, name, ratios),
    ratios,
    data.SOURCES[config.source].shape,
    config.batch,
    one_by_one=config.mode == "layerwise",
    optimizers=functools.partial(optimizer, config),
    steps=functools.partial(step_of, config, name),
  )


@functools.cache  # compiled once for all seeds
def first_state(config: Config, name: str) -> Callable:
  """Returns key -> state that a classifier's training starts from."""

  def init(key):
    model, rule = trained_model(config, name), optimizer(config, "train")
    return training.classifier_state(key, model, images_of(config), rule)

  return jit_once(init)


def teacher_of(config: Config, name: str, seed: int, advance: Advance) -> dict:
  """Returns the trained network's parameters, normalisations folded away."""
  model = trained_model(config, name)
  if config.pretrained:
    shape = data.SOURCES[config.source].shape
    variables = published.load(config.pretrained, model, shape)
  else:
    state = first_state(config, name)(jax.random.key(seed))
    step = step_of(config, name, "train")
    state = advance(f"train-{name}-{seed}", state, step, config.train_steps, seed)
    variables = {"params": state.params, **state.model_state}
  if model.norm:
    variables = batch_norm.fold(variables)
  return jax.tree.map(jnp.asarray, dict(variables["params"]))


def compressor_of(
  config: Config,
  name: str,
  teacher: dict,
  label: str,
  ratios: dict[str, float],
  seed: int,
  advance: Advance,
) -> Compressor:
  """Returns what compresses a trained network to the widths that `ratios` leave."""
  steps = {
    "project": config.project_steps,
    "alone": config.project_steps,
    "relax": config.relax_steps,
    "finetune": config.finetune_steps,
    "scratch": config.scratch_steps,
  }

  def learn(kind, what, state, chosen):
    stage = f"{kind}-{name}-{label}-{what}-{seed}"
    step = step_of(config, name, kind, chosen)
    return advance(stage, state, step, steps[kind], seed)

  return Compressor(
    folded_model(config, name),
    teacher,
    links_at(config, name, ratios),
    ratios,
    seed=seed,
    optimizers=functools.partial(optimizer, config),
    learn=learn,
  )


def config_of(config: Config, name: str) -> Config:
  """Returns the config of one network: only the first is compressed in every way."""
  if name == config.networks[0]:
    return config
  return dataclasses.replace(
    config,
    networks=(name,),
    ratios=config.ratios[:1],
    starts=("random",),
    scratch_steps=0,
    sweep_ratios=(),
    seeds=config.seeds[:1],
  )


def compressed_networks(config: Config, examples, advance: Advance):
  """Yields (network, compression, seed, teacher, compressor, {method: parameters}).

  Args:
    config: of the run.
    examples: for training.
    advance: how every stage is learned, or restored.
  """
  images = calibration_images(config, examples)
  for name in config.networks:
    own = config_of(config, name)
    for seed in own.seeds:
      teacher = teacher_of(own, name, seed, advance)
      for label, ratios in compressions(own, name).items():
        compressor = compressor_of(own, name, teacher, label, ratios, seed, advance)
        networks = compressor.every_way(
          images,
          one_by_one=own.mode == "layerwise",
          starts=own.starts,
          relaxed=own.relaxed,
          finetune=own.finetune_steps > 0,
          scratch=own.scratch_steps > 0,
        )
        yield name, label, seed, teacher, compressor, networks


def swept_networks(config: Config, examples, advance: Advance):
  """Yields (ratio, teacher, compressor, {method: parameters}, projections of layers).

  The first network with the first seed, at many ratios; the projections are those of
  layers compressed alone. Arguments as `compressed_networks`.
  """
  if not config.sweep_ratios:
    return
  images = calibration_images(config, examples)
  name, seed = config.networks[0], config.seeds[0]
  teacher = teacher_of(config, name, seed, advance)
  producers = next(iter(compressions(config, name).values()))
  for ratio in config.sweep_ratios:
    ratios, label = dict.fromkeys(producers, ratio), f"{ratio:g}"
    compressor = compressor_of(config, name, teacher, label, ratios, seed, advance)
    learned = compressor.projections(one_by_one=config.mode == "layerwise")
    networks = {"CaP": compressor.bake(learned)}
    networks |= compressor.unlearned_ways(images)
    yield ratio, teacher, compressor, networks, compressor.projections("alone")


def calibration_images(config: Config, examples) -> np.ndarray:
  """Returns the first training images, as networks see them without augmentation."""
  some = [examples[i] for i in range(min(config.calibration, len(examples)))]
  batches = data.testing_batches(some, config.source, len(some))
  return next(batches)["image"]


def train(config: Config, run) -> None:
  """Trains the classifiers and compresses them in every way."""
  examples, _ = data.load(config.source, run.data_dir)

  def advance(stage, state, step, steps, seed):
    batches = data.training_batches(
      examples, config.source, batch_size=config.batch, seed=seed
    )
    return fit(run, stage, state, step, batches, steps)

  for _ in compressed_networks(config, examples, advance):
    pass
  for _ in swept_networks(config, examples, advance):
    pass


def evaluate(config: Config, run) -> None:
  """Measures every network on the test images and makes the paper's comparisons."""
  examples, tested = data.load(config.source, run.data_dir)
  shape = data.SOURCES[config.source].shape

  def advance(stage, state, step, steps, seed):
    del step, steps, seed
    return restore(run, stage, state)

  def batches():
    return data.testing_batches(tested, config.source, config.test_batch)

  evaluators = {
    name: evaluation.Evaluator(folded_model(config, name), batches, shape)
    for name in config.networks
  }
  rows = []
  for name, label, seed, teacher, compressor, networks in compressed_networks(
    config, examples, advance
  ):
    taps = links.final_taps(compressor.links)
    for method, params in ({"uncompressed": teacher} | networks).items():
      row = {"network": name, "compression": label, "method": method, "seed": seed}
      rows.append(row | evaluators[name].row(params, teacher, taps))

  main = config.networks[0]
  curve, layers = [], []
  for ratio, teacher, compressor, networks, alone in swept_networks(
    config, examples, advance
  ):
    taps = links.final_taps(compressor.links)
    for method, params in networks.items():
      row = evaluators[main].row(params, teacher, taps)
      curve.append({"ratio": ratio, "method": method} | row)
    for row in evaluators[main].layers(teacher, compressor.links, alone):
      layers.append({"ratio": ratio} | row)

  model = folded_model(config, main)
  claims.claim_exactness(
    run,
    evaluation.exactness(
      model,
      teacher_of(config, main, config.seeds[0], advance),
      links.links_of(model)[0],
      next(batches())["image"],
    ),
  )
  claims.claim_compression(run, rows, main)
  if layers:
    claims.claim_layers(run, layers)
  claims.record_tables(run, rows)
  figures.keep(run, rows, curve, layers, main)


def predict(config: Config, run, inputs) -> None:
  """Writes predictions.json and .csv: the compressed network beside the original.

  They are the first network at the first compression, relaxed and, where the run does
  that, fine-tuned; the first seed.
  """
  images = data.read_images(inputs, config.source)
  name, seed = config.networks[0], config.seeds[0]
  what = "finetune" if config.finetune_steps else "relax"
  label = next(iter(compressions(config, name)))
  state = jax.eval_shape(stages(config)[what].init, jax.random.key(0))
  state = restore(run, f"{what}-{name}-{label}-CaP-{seed}", state)
  compressed = training.join(state.params["kernels"], state.params["rest"])
  model = folded_model(config, name)

  def classify(params):
    return jax.jit(lambda images: network.run(model, params, images)[0])

  predictions = prediction.predict(
    {
      "uncompressed": classify(state.params["teacher"]),
      "compressed": classify(compressed),
    },
    images,
    inputs,
  )
  for one in predictions:
    run.log(prediction.describe(one))
  if run.is_main:
    prediction.write(run.out, predictions)


if __name__ == "__main__":
  launcher.main(
    "cascaded_projection",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
