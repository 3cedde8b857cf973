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
from jaxvision.nn.vgg import VGG
from jaxvision.papers.cascaded_projection import (
  baselines,
  claims,
  data,
  evaluation,
  figures,
  links,
  models,
  network,
  prediction,
  projection,
  published,
  training,
)
from jaxvision.train import Stage, State, fit, launcher, restore

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
  mode: Literal["simultaneous", "layerwise"] = "simultaneous"
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

  steps_per_call: int = 1
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
  """Returns {label: {producer: ratio}} of a network; others are not compressed.

  A VGG's last convolution keeps its width, as the outputs of residual blocks do.
  """
  model = folded_model(config, name)
  every = links.links_of(model)
  if not isinstance(model, VGG):
    return {f"{r:g}": {li.producer: r for li in every} for r in config.ratios}
  if config.stage_ratios:
    shares = {f"conv{n}": r for n, r in enumerate(config.stage_ratios, start=1)}
    chosen = {
      li.producer: shares[li.producer.split("_")[0]]
      for li in every
      if li.producer.split("_")[0] in shares
    }
    return {"by stage": chosen}
  return {f"{r:g}": {li.producer: r for li in every[:-1]} for r in config.ratios}


def links_at(config: Config, name: str, ratios) -> tuple[links.Link, ...]:
  """Returns the links of a network that `ratios` names, in their order."""
  every = links.links_of(folded_model(config, name))
  return tuple(link for link in every if link.producer in ratios)


def images_of(config: Config) -> jax.Array:
  """Returns one blank image of the source's shape."""
  return jnp.zeros((1, *data.SOURCES[config.source].shape))


def optimizer(config: Config, what: str) -> optax.GradientTransformation:
  """Returns the optimiser of the classifier, projections, relaxation or fine-tuning."""
  if what in ("train", "scratch"):
    steps = config.train_steps if what == "train" else config.scratch_steps
    rate = optax.cosine_decay_schedule(config.train_rate, max(steps, 1))
    if config.train_rule == "adam":
      return optax.adam(rate)
    return optax.chain(
      optax.add_decayed_weights(config.weight_decay),
      optax.sgd(rate, momentum=config.momentum, nesterov=True),
    )
  if what == "project":
    rate = training.late_decay(config.project_rate, config.project_steps)
    return optax.sgd(rate, momentum=config.momentum)
  return optax.adam(config.relax_rate if what == "relax" else config.finetune_rate)


@functools.cache  # the same function again, so that it is compiled once a shape
def step_of(config: Config, name: str, what: str, chosen=(), mode=None) -> Callable:
  """Returns the training step of a stage: see `optimizer` for the names."""
  model, rule = folded_model(config, name), optimizer(config, what)
  if what == "train":
    return training.classifier_step(trained_model(config, name), rule)
  if what == "scratch":
    return training.scratch_step(model, rule)
  if what == "project":
    return training.projection_step(
      model,
      chosen,
      rule,
      mode="layerwise" if mode == "alone" else config.mode,
      gamma=0.0 if mode == "alone" else config.gamma,
      rescale_every=config.rescale_every,
    )
  gamma = config.gamma if what == "finetune" else 0.0
  return training.kernel_step(model, chosen, rule, gamma=gamma)


@functools.cache
def stages(config: Config) -> dict[str, Stage]:
  """Returns the stages of the first network at its first compression."""
  name = config.networks[0]
  source = data.SOURCES[config.source]
  batch = {
    "image": jax.ShapeDtypeStruct((config.batch, *source.shape), jnp.float32),
    "label": jax.ShapeDtypeStruct((config.batch,), jnp.int32),
  }
  model, plain = trained_model(config, name), folded_model(config, name)
  ratios = next(iter(compressions(config, name).values()))
  every = links_at(config, name, ratios)
  first = tuple(link for link in every if link.round == 0)

  def train_init(key):
    return training.classifier_state(key, model, images_of(config), rule["train"])

  def networks_of(key):
    teacher = plain.init(key, images_of(config))["params"]
    widths = links.widths_of(teacher, every)
    ranks = links.ranks(every, widths, ratios)
    proxies = projection.random_proxies(key, widths, ranks)
    student = projection.project_kernels(teacher, every, proxies)
    return teacher, proxies, student

  def project_init(key):
    teacher, proxies, _ = networks_of(key)
    proxies = {link.producer: proxies[link.producer] for link in first}
    return training.projection_state(key, proxies, teacher, teacher, rule["project"])

  def kernel_init(what):
    def init(key):
      teacher, _, student = networks_of(key)
      layers = projection.compressed_layers(every) if what == "relax" else None
      return training.kernel_state(key, student, teacher, rule[what], layers=layers)

    return init

  def scratch_init(key):
    return State.create(key, networks_of(key)[2], rule["scratch"])

  def classify(state, batch):
    return model.apply({"params": state.params, **state.model_state}, batch["image"])

  def classify_projected(state, batch):
    projections = projection.project(state.params["proxies"])
    student = state.params["student"]
    return network.run(
      plain, student, batch["image"], links=first, projections=projections
    )[0]

  def classify_compressed(state, batch):
    student = training.join(state.params["kernels"], state.params["rest"])
    return network.run(plain, student, batch["image"])[0]

  def classify_scratch(state, batch):
    return network.run(plain, state.params, batch["image"])[0]

  kinds = {
    "train": (train_init, (), classify),
    "project": (project_init, first, classify_projected),
    "relax": (kernel_init("relax"), every, classify_compressed),
    "finetune": (kernel_init("finetune"), every, classify_compressed),
    "scratch": (scratch_init, (), classify_scratch),
  }
  rule = {what: optimizer(config, what) for what in kinds}
  return {
    what: Stage(what, init, step_of(config, name, what, chosen), batch, forward)
    for what, (init, chosen, forward) in kinds.items()
  }


def teacher_of(config: Config, name: str, seed: int, advance: Advance) -> dict:
  """Returns the trained network's parameters, normalisations folded away."""
  model = trained_model(config, name)
  if config.pretrained:
    shape = data.SOURCES[config.source].shape
    variables = published.load(config.pretrained, model, shape)
  else:
    state = training.classifier_state(
      jax.random.key(seed), model, images_of(config), optimizer(config, "train")
    )
    step = step_of(config, name, "train")
    state = advance(f"train-{name}-{seed}", state, step, config.train_steps, seed)
    variables = {"params": state.params, **state.model_state}
  if model.norm:
    variables = batch_norm.fold(variables)
  return jax.tree.map(jnp.asarray, dict(variables["params"]))


def learn_projections(
  config: Config,
  name: str,
  teacher: dict,
  ratios: dict[str, float],
  seed: int,
  advance: Advance,
  label: str,
  *,
  start: str = "random",
  mode: str | None = None,
  images=None,
) -> tuple[dict, dict]:
  """Returns the learned projections of a network and those that they started from.

  A bottleneck's second projections are learned after its first ones, baked.

  Args:
    config, name, seed: of the run, the network, the training.
    teacher: the trained network.
    ratios: by producer.
    advance: how a stage is learned.
    label: of the compression.
    start: "random", or "pca" of the outputs.
    mode: "alone" for each layer alone and by its reconstruction error only.
    images: that PCA is taken over.
  """
  every = links_at(config, name, ratios)
  widths = links.widths_of(teacher, every)
  ranks = links.ranks(every, widths, ratios)
  model, rule = folded_model(config, name), optimizer(config, "project")
  starts = projection.random_proxies(jax.random.key(100 + seed), widths, ranks)
  learned, student = {}, teacher
  for turn in sorted({link.round for link in every}):
    mine = tuple(link for link in every if link.round == turn)
    mine_ranks = {link.producer: ranks[link.producer] for link in mine}
    if start == "pca":
      starts |= baselines.principal_projections(model, student, images, mine_ranks)
    proxies = {name: starts[name] for name in mine_ranks}
    state = training.projection_state(
      jax.random.key(seed), proxies, student, teacher, rule
    )
    stage = f"project-{name}-{label}-{start}-{seed}"
    state = advance(
      stage + (f"-{mode}" if mode else "") + (f"-round{turn}" if turn else ""),
      state,
      step_of(config, name, "project", mine, mode),
      config.project_steps,
      seed,
    )
    found = projection.project(state.params["proxies"])
    student = projection.bake(student, mine, found)
    learned |= found
  return learned, starts


def compress(
  config: Config,
  name: str,
  teacher: dict,
  label: str,
  ratios: dict[str, float],
  seed: int,
  advance: Advance,
  images,
) -> dict[str, dict]:
  """Returns the compressed networks, {method: parameters}, each by its own way.

  Args:
    config, name, seed: of the run, the network, the training.
    teacher: the trained network.
    label: of the compression.
    ratios: by producer.
    advance: how a stage is learned.
    images: that PCA is taken over.
  """
  every = links_at(config, name, ratios)
  ranks = links.ranks(every, links.widths_of(teacher, every), ratios)
  model = folded_model(config, name)
  found = {}
  for start in config.starts:
    learned, starts = learn_projections(
      config,
      name,
      teacher,
      ratios,
      seed,
      advance,
      label,
      start=start,
      images=images,
    )
    if start == "random":
      found |= {"CaP": learned, "random": starts}
    else:
      found["CaP, PCA start"] = learned
  found["L1"] = baselines.l1_filters(teacher, ranks)
  found["PCA"] = baselines.principal_projections(model, teacher, images, ranks)
  networks = {way: projection.bake(teacher, every, p) for way, p in found.items()}
  networks["PCA, re-projected"] = baselines.factorise(teacher, every, found["PCA"])

  def go_on(way, what, steps, layers):
    state = training.kernel_state(
      jax.random.key(seed),
      networks[way],
      teacher,
      optimizer(config, what),
      layers=layers,
    )
    step = step_of(config, name, what, every)
    stage = f"{what}-{name}-{label}-{way.split()[0]}-{seed}"
    state = advance(stage, state, step, steps, seed)
    return training.join(state.params["kernels"], state.params["rest"])

  changed = projection.compressed_layers(every)
  for way in config.relaxed:
    networks[f"{way} + relaxation"] = go_on(way, "relax", config.relax_steps, changed)
  if config.finetune_steps:
    relaxed = "CaP + relaxation"
    networks["CaP + relaxation + FT"] = go_on(
      relaxed, "finetune", config.finetune_steps, None
    )
  if config.scratch_steps:
    fresh = baselines.fresh(jax.random.key(200 + seed), networks["CaP"])
    state = State.create(jax.random.key(seed), fresh, optimizer(config, "scratch"))
    step = step_of(config, name, "scratch")
    stage = f"scratch-{name}-{label}-{seed}"
    state = advance(stage, state, step, config.scratch_steps, seed)
    networks["scratch"] = state.params
  return networks


def sweep(
  config: Config, teacher: dict, advance: Advance
) -> dict[float, tuple[dict, dict]]:
  """Returns {ratio: (projections of the config's mode, of layers alone)}."""
  name, seed = config.networks[0], config.seeds[0]
  producers = next(iter(compressions(config, name).values()))
  found = {}
  for ratio in config.sweep_ratios:
    ratios = dict.fromkeys(producers, ratio)
    learn = functools.partial(
      learn_projections, config, name, teacher, ratios, seed, advance, f"{ratio:g}"
    )
    found[ratio] = learn()[0], learn(mode="alone")[0]
  return found


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


def calibration_images(config: Config, examples) -> np.ndarray:
  some = [examples[i] for i in range(min(config.calibration, len(examples)))]
  batches = data.testing_batches(some, config.source, len(some))
  return next(batches)["image"]


def train(config: Config, run) -> None:
  """Trains the classifiers and compresses them in every way."""
  examples, _ = data.load(config.source, run.data_dir)
  images = calibration_images(config, examples)

  def advance(stage, state, step, steps, seed):
    batches = data.training_batches(
      examples, config.source, batch_size=config.batch, seed=seed
    )
    return fit(
      run, stage, state, step, batches, steps, steps_per_call=config.steps_per_call
    )

  for name in config.networks:
    own = config_of(config, name)
    for seed in own.seeds:
      teacher = teacher_of(own, name, seed, advance)
      for label, ratios in compressions(own, name).items():
        compress(own, name, teacher, label, ratios, seed, advance, images)
      if seed == own.seeds[0]:
        sweep(own, teacher, advance)


def evaluate(config: Config, run) -> None:
  """Measures every network on the test images and makes the paper's comparisons."""
  examples, tested = data.load(config.source, run.data_dir)
  images = calibration_images(config, examples)
  batches = list(data.testing_batches(tested, config.source, config.test_batch))
  shape = data.SOURCES[config.source].shape

  def advance(stage, state, step, steps, seed):
    del step, steps, seed
    return restore(run, stage, state)

  rows, layer_rows, curve_rows = [], [], []
  for name in config.networks:
    own, model = config_of(config, name), folded_model(config, name)
    evaluator = evaluation.Evaluator(model, batches)
    for seed in own.seeds:
      teacher = teacher_of(own, name, seed, advance)
      full = evaluation.cost(model, teacher, shape)
      for label, ratios in compressions(own, name).items():
        every = links_at(own, name, ratios)
        taps = links.final_taps(every)
        networks = {"uncompressed": teacher} | compress(
          own, name, teacher, label, ratios, seed, advance, images
        )
        for way, params in networks.items():
          measured = evaluator.measure(params, teacher, taps)
          rows.append(
            {"network": name, "compression": label, "method": way, "seed": seed}
            | claims.measures(measured, evaluation.cost(model, params, shape), full)
          )
      if name == config.networks[0] and seed == config.seeds[0]:
        for ratio, found in sweep(config, teacher, advance).items():
          curve, layers = measure_ratio(
            config, evaluator, teacher, images, ratio, found
          )
          curve_rows += curve
          layer_rows += layers
        claim_exactness(run, model, teacher, batches[0]["image"])

  claims.record_tables(run, rows)
  claims.claim_compression(run, rows, config.networks[0])
  if layer_rows:
    claims.claim_layers(run, layer_rows)
  figures.keep(run, rows, curve_rows, layer_rows, config.networks[0])


def measure_ratio(
  config: Config, evaluator, teacher: dict, images, ratio: float, found
) -> tuple[list[dict], list[dict]]:
  """Returns the rows of one ratio of `sweep`: of the network, and of each layer."""
  name, shape = config.networks[0], data.SOURCES[config.source].shape
  simultaneous, layerwise = found
  model = folded_model(config, name)
  every = links_at(config, name, simultaneous)
  ranks = {producer: p.shape[1] for producer, p in simultaneous.items()}
  widths = links.widths_of(teacher, every)
  key = jax.random.key(100 + config.seeds[0])
  principal = baselines.principal_projections(model, teacher, images, ranks)
  ways = {
    "CaP": simultaneous,
    "random": projection.random_proxies(key, widths, ranks),
    "L1": baselines.l1_filters(teacher, ranks),
    "PCA": principal,
  }
  networks = {way: projection.bake(teacher, every, p) for way, p in ways.items()}
  networks["PCA, re-projected"] = baselines.factorise(teacher, every, principal)
  full = evaluation.cost(model, teacher, shape)
  curve = []
  for way, params in networks.items():
    measured = evaluator.measure(params, teacher, links.final_taps(every))
    costs = evaluation.cost(model, params, shape)
    row = claims.measures(measured, costs, full)
    curve.append({"ratio": ratio, "method": way} | row)
  layers = []
  for link in every:
    own = {link.producer: layerwise[link.producer]}
    measured = evaluator.measure(
      teacher, teacher, (link.tap,), links=(link,), projections=own
    )
    layers.append(
      {
        "layer": link.producer,
        "ratio": ratio,
        "error": measured["errors"][link.tap.path],
        "accuracy": measured["accuracy"],
      }
    )
  return curve, layers


def claim_exactness(run, model, teacher: dict, images) -> None:
  """Claim 1: a network of identical channels is compressed without loss."""
  copies = 2
  link = links.links_of(model)[0]
  wide = evaluation.duplicate_channels(teacher, link, copies)
  width = evaluation.params_width(teacher, link.producer)
  pruned = baselines.l1_filters(wide, {link.producer: width})[link.producer]
  claims.claim_exactness(
    run, evaluation.exactness(model, teacher, link, images, pruned, copies)
  )


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
    verdicts = (
      f"{kind} {one[kind]['class']} ({max(one[kind]['probabilities']):.0%})"
      for kind in ("uncompressed", "compressed")
    )
    run.log(f"{one['file']}: {', '.join(verdicts)}")
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
