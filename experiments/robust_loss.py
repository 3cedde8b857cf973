"""A General and Adaptive Robust Loss Function (Barron, CVPR 2019).

The story: one loss runs from squared error to losses that ignore outliers, and because
it belongs to a density, its shape α and scale can be learned. First without networks:
samples of the density, a line among outliers, densities of photographs' patches,
registration and clustering whose robustness is annealed. Then with them: a variational
autoencoder under every likelihood (the paper's Table 1), and depth from video under
every photometric loss (Table 2).

  python -m experiments.robust_loss [--preset=demo]

`--config.loss=NAME` trains one more autoencoder (with `--config.parts=()`: it alone),
whose images are compared by one of `jaxvision.nn.robust_losses.RECONSTRUCTION_LOSSES`.
Other experiments that reconstruct images have the same flag.

The demo trains for seconds. Its autoencoders hardly use their codes on DCT and wavelets
(see the table's rate). Its weights of smoothness, one for the L1 norm and one for ρ,
were chosen by the errors of depth on the streets that judge.

`--mode=predict` needs no training; see `jaxvision.papers.robust_loss.prediction`. The
demo's photographs and digits come with packages, its streets are rendered; the paper
preset reads CelebA and KITTI (`celeba`, `kitti`) from --data_dir.
"""

import dataclasses
import functools
from typing import Literal

import jax
import numpy as np
import optax

from jaxvision.data import pipeline
from jaxvision.errors import UserError
from jaxvision.nn.robust_losses import RECONSTRUCTION_LOSSES
from jaxvision.papers.robust_loss import (
  claims,
  data,
  depth,
  depth_data,
  evaluation,
  figures,
  prediction,
  studies,
  vae,
)
from jaxvision.papers.robust_loss.likelihoods import (
  DISTRIBUTIONS,
  REPRESENTATIONS,
  TITLES,
  Bounds,
)
from jaxvision.train import Stage, State, fit, jit_once, launcher, restore

CITATION = "J. T. Barron, A General and Adaptive Robust Loss Function, CVPR 2019"


PARTS = ("solvers", "autoencoders", "depth")


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's experiments and of those that stand in for them."""

  parts: tuple[str, ...] = PARTS  # which are trained and measured

  # Autoencoders (Section 3.1).
  images: Literal["patches", "celeba"] = "celeba"
  vae_size: int = 64
  vae_depth: int = 32
  vae_latents: int = 16
  vae_components: int = 100
  vae_levels: int = 5
  vae_batch: int = 32
  vae_steps: int = 50_000
  vae_rate: float = 1e-3
  likelihood_rate: float = 1e-3
  warmup_steps: int = 0  # of the rate's weight; the paper has none
  scale_init: float = 0.01
  vae_patches: int = 0  # for training, where the images are patches
  vae_judged: int = 0  # images that judge; all when 0
  seeds: tuple[int, ...] = (0,)
  loss: Literal[("none", *RECONSTRUCTION_LOSSES)] = "none"

  # Depth (Section 3.2), as in SfMLearner.
  video: Literal["streets", "kitti"] = "kitti"
  depth_height: int = 128
  depth_width: int = 416
  depth_features: tuple[int, ...] = (32, 64, 128, 256, 512, 512, 512)
  depth_convolutions: int = 2
  depth_scales: int = 4
  pose_features: tuple[int, ...] = (16, 32, 64, 128, 256, 256, 256)
  pose_factor: float = 0.01
  smoothness: float = 0.5
  baseline_smoothness: float = 0.5
  depth_batch: int = 4
  depth_steps: int = 200_000
  depth_rate: float = 2e-4
  depth_seeds: tuple[int, ...] = (0,)
  variants: tuple[str, ...] = tuple(depth.VARIANTS)
  streets: int = 0  # for training, where the video is of streets
  judged_streets: int = 0

  solvers: studies.Solvers = studies.FULL  # what needs no network
  checkpoint_every: int = 1000
  predict_representation: Literal["pixels", "dct", "wavelets"] = "wavelets"
  seed: int = 0


_DEMO = Config(
  images="patches",
  vae_size=32,
  vae_depth=8,
  vae_levels=4,
  vae_batch=16,
  vae_steps=200,
  vae_rate=3e-3,
  likelihood_rate=0.25,  # times the steps what the paper's are
  scale_init=0.1,
  vae_patches=4000,
  vae_judged=512,
  seeds=(0, 1, 2),
  video="streets",
  depth_height=32,
  depth_width=64,
  depth_features=(16, 32, 64, 64),
  depth_convolutions=1,
  pose_features=(16, 32, 64, 64),
  smoothness=0.0005,
  baseline_smoothness=0.01,
  depth_steps=400,
  depth_rate=1e-3,
  streets=256,
  judged_streets=48,
  checkpoint_every=0,
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    parts=("autoencoders",),
    vae_size=4,
    vae_depth=2,
    vae_latents=2,
    vae_components=3,
    vae_levels=2,
    vae_batch=2,
    vae_steps=2,
    vae_patches=8,
    vae_judged=4,
    seeds=(0,),
    depth_height=16,
    depth_width=16,
    depth_features=(2, 2),
    depth_scales=1,
    pose_features=(2,),
    depth_batch=1,
    depth_steps=2,
    variants=("adaptive",),
    streets=2,
    judged_streets=2,
    solvers=studies.SMALL,
  ),
  "demo": _DEMO,
  "paper": Config(),
}


def autoencoder(config: Config, loss: str = "none") -> vae.VAE:
  """Returns the autoencoder with all likelihoods, or with one reconstruction loss."""
  return vae.VAE(
    size=config.vae_size,
    depth=config.vae_depth,
    latents=config.vae_latents,
    components=config.vae_components,
    levels=config.vae_levels,
    bounds=Bounds(scale_init=config.scale_init),
    loss=loss,
  )


def depth_model(config: Config) -> depth.DepthModel:
  return depth.DepthModel(
    height=config.depth_height,
    width=config.depth_width,
    depth_features=config.depth_features,
    convolutions=config.depth_convolutions,
    scales=config.depth_scales,
    pose_features=config.pose_features,
    pose_factor=config.pose_factor,
    smoothness=config.smoothness,
    baseline_smoothness=config.baseline_smoothness,
  )


def vae_optimizer(config: Config) -> optax.GradientTransformation:
  return vae.optimizer(config.vae_rate, config.likelihood_rate, config.vae_steps)


@functools.cache  # the same steps again, so that they are compiled only once
def stages(config: Config) -> dict[str, Stage]:
  """Returns the stages "vae" and "depth", each for all its rows, and "vae_loss"."""
  found = {
    "vae": vae.stage(autoencoder(config), vae_optimizer(config), config.vae_batch)
  }
  if config.loss != "none":
    network = autoencoder(config, config.loss)
    found["vae_loss"] = vae.stage(network, vae_optimizer(config), config.vae_batch)
  model, steps = depth_model(config), config.depth_steps
  optimizer = optax.adam(config.depth_rate, b1=0.9)
  found["depth"] = depth.stage(model, optimizer, config.depth_batch, steps)
  return found


@functools.cache  # compiled once for all rows and seeds
def initializer(config: Config, stage: str):
  return jit_once(stages(config)[stage].init)


def vae_runs(config: Config) -> list[tuple[str, str, str, int]]:
  """Returns (name, distribution, representation, seed) of every autoencoder."""
  return [
    (f"vae-{representation}-{distribution}-{seed}", distribution, representation, seed)
    for seed in config.seeds
    for representation in REPRESENTATIONS
    for distribution in DISTRIBUTIONS
  ]


def depth_runs(config: Config) -> list[tuple[str, str, int]]:
  """Returns (name, variant, seed) of every depth network."""
  for variant in config.variants:
    if variant not in depth.VARIANTS:
      raise UserError(
        f"--config.variants: {variant!r} is none of {', '.join(depth.VARIANTS)}"
      )
  return [
    (f"depth-{variant}-{seed}", variant, seed)
    for seed in config.depth_seeds
    for variant in config.variants
  ]


def vae_state(config: Config, distribution: str, representation: str, seed: int):
  """Returns the state that an autoencoder starts from."""
  state = initializer(config, "vae")(jax.random.key(seed))
  numbers = vae.numbers(distribution, representation, config.warmup_steps)
  return state.replace(model_state=numbers)


def depth_state(config: Config, variant: str, seed: int) -> State:
  """Returns the state that a depth network starts from."""
  state = initializer(config, "depth")(jax.random.key(seed))
  return state.replace(model_state=depth.numbers(variant, config.depth_steps))


@functools.cache
def image_source(config: Config, split: str, data_dir) -> pipeline.Source:
  """Returns the autoencoder's images: "train", or "validation" which judges."""
  if config.images == "celeba":
    from jaxvision.papers.robust_loss import celeba

    if data_dir is None:
      raise UserError("CelebA is read from --data_dir=DIR")
    return celeba.Faces(split, config.vae_size, data_dir=data_dir)
  count = config.vae_patches if split == "train" else config.vae_judged
  patches = data.patches(config.seed, count, config.vae_size, split)
  return pipeline.ArraySource({"image": patches})


@functools.cache
def video_source(config: Config, split: str, data_dir) -> pipeline.Source:
  """Returns the depth network's snippets: "train", or "validation" which judges."""
  size = config.depth_height, config.depth_width
  if config.video == "kitti":
    from jaxvision.papers.robust_loss import kitti

    if data_dir is None:
      raise UserError("KITTI is read from --data_dir=DIR")
    return kitti.Snippets(split, *size, data_dir=data_dir)
  is_train = split == "train"
  count = config.streets if is_train else config.judged_streets
  found = depth_data.snippets(2 * config.seed + (not is_train), count, *size)
  if is_train:
    del found["depth"]  # nothing learns from it
  return pipeline.ArraySource(found)


def train(config: Config, run) -> None:
  """Trains every autoencoder and every depth network."""
  for part in config.parts:
    if part not in PARTS:
      raise UserError(f"--config.parts: {part!r} is none of {', '.join(PARTS)}")
  if "autoencoders" in config.parts:
    train_autoencoders(config, run)
  if "depth" in config.parts:
    train_depths(config, run)
  if config.loss != "none":
    train_loss(config, run)


def train_autoencoders(config: Config, run) -> None:
  """Trains an autoencoder for each likelihood."""
  source = image_source(config, "train", run.data_dir)
  for name, distribution, representation, seed in vae_runs(config):
    state = vae_state(config, distribution, representation, seed)
    learn(config, run, source, "vae", name, state, config.vae_steps, seed)


def train_loss(config: Config, run) -> None:
  """Trains the autoencoder whose images are compared by --config.loss."""
  source = image_source(config, "train", run.data_dir)
  state = initializer(config, "vae_loss")(jax.random.key(config.seed))
  name = f"vae_loss-{config.loss}"
  learn(config, run, source, "vae_loss", name, state, config.vae_steps, config.seed)


def train_depths(config: Config, run) -> None:
  """Trains a depth network for each photometric loss."""
  source = video_source(config, "train", run.data_dir)
  for name, variant, seed in depth_runs(config):
    state = depth_state(config, variant, seed)
    learn(config, run, source, "depth", name, state, config.depth_steps, seed)


def learn(config, run, source, stage: str, name: str, state: State, steps: int, seed):
  """Trains one network on batches of a source, those that all have with this seed."""
  step, batch = stages(config)[stage].step, stages(config)[stage].batch
  size = jax.tree.leaves(batch)[0].shape[0]
  batches = pipeline.batches(source, batch_size=size, seed=seed)
  fit(run, name, state, step, batches, steps, checkpoint_every=config.checkpoint_every)


def evaluate(config: Config, run) -> None:
  """Measures everything and makes the paper's comparisons again."""
  if "solvers" in config.parts:
    studies.measure_solvers(config.solvers, run)
  if "autoencoders" in config.parts:
    measure_autoencoders(config, run)
  if "depth" in config.parts:
    measure_depths(config, run)
  if config.loss != "none":
    measure_loss(config, run)


def measure_autoencoders(config: Config, run) -> None:
  """Table 1: the evidence lower bound under every likelihood."""
  images = image_source(config, "validation", run.data_dir)
  judge = evaluation.Autoencoders(autoencoder(config), stages(config)["vae"].forward)
  shown = evaluation.first_images(images)
  rows, reconstructions, samples, maps = [], {}, {}, {}
  for name, distribution, representation, seed in vae_runs(config):
    state = restore(run, name, vae_state(config, distribution, representation, 0))
    row = {"representation": representation, "distribution": distribution, "seed": seed}
    batches = evaluation.in_order(images, config.vae_batch)
    rows.append(row | judge.bound(state, batches))
    if seed != config.seeds[0]:
      continue
    if representation == "pixels":  # on wavelets the small codes stay unused
      title = TITLES[distribution]
      reconstructions[title] = judge.reconstruct(state.params, shown)
      samples[title] = judge.sample(state.params, jax.random.key(config.seed))
    if distribution == "adaptive":
      maps[representation] = judge.shape_and_scale(state.params)
  claims.claim_autoencoders(run, rows)
  run.figure(
    "autoencoders",
    figures.autoencoders(shown, reconstructions, samples),
    "Autoencoders on pixels under each likelihood.",
  )
  run.figure(
    "vae_alphas",
    figures.shape_maps(maps),
    "α and scale that the autoencoders learned for what they leave unexplained.",
  )


def measure_loss(config: Config, run) -> None:
  """The autoencoder that --config.loss asks for: how well it reconstructs."""
  images = image_source(config, "validation", run.data_dir)
  stage, network = stages(config)["vae_loss"], autoencoder(config, config.loss)
  first = jax.eval_shape(stage.init, jax.random.key(0))
  state = restore(run, f"vae_loss-{config.loss}", first)
  judge = evaluation.Autoencoders(network, stage.forward)
  error = judge.mean_error(state.params, evaluation.in_order(images, config.vae_batch))
  run.result(f"VAE with --config.loss={config.loss}: mean absolute error", error)
  shown = evaluation.first_images(images)
  found = judge.reconstruct(state.params, shown)
  rows = [np.concatenate([*row], axis=1) for row in (shown, found)]
  run.picture("loss", np.concatenate(rows), f"Images, and what {config.loss} makes.")


def measure_depths(config: Config, run) -> None:
  """Table 2: the errors of depth under every photometric loss."""
  video = video_source(config, "validation", run.data_dir)
  if config.video == "kitti":
    run.log("depth: KITTI's snippets have no true depth, nothing is measured")
    return
  judged = next(pipeline.batches(video, batch_size=len(video), seed=0, shuffle=False))
  forward = jax.jit(stages(config)["depth"].forward)
  truth = judged["depth"]
  plain = depth.measure(np.ones_like(truth), truth)
  rows, guesses = [{"variant": "one depth everywhere", "seed": 0, **plain}], {}
  for name, variant, seed in depth_runs(config):
    state = restore(run, name, depth_state(config, variant, 0))
    guess = np.asarray(forward(state, {"target": judged["target"]}))
    rows.append({"variant": variant, "seed": seed, **depth.measure(guess, truth)})
    if seed == config.depth_seeds[0]:
      guesses[depth.VARIANTS[variant].title] = guess[:4]
  claims.claim_depths(run, rows)
  run.figure(
    "depths",
    figures.depths(judged["target"][:4], truth[:4], guesses),
    "Inverse depth of unseen streets, learned from video alone under each loss.",
  )


def predict(config: Config, run, inputs) -> None:
  """Fits the user's own files; needs no training.

  Two clouds (.ply, .obj, .off, .pcd, .npy, .csv, .txt, .xyz; row i belongs to row i,
  most may be wrong): registration.json and registered.csv, the moved points and each
  pair's weight. One table of two columns: line.json. Photographs: for each NAME.json
  with log-likelihoods, and NAME_alpha.png and NAME_scale.png, the learned shape and
  scale of every coefficient of its patches (black 0, white 3, or the largest scale).
  """
  prediction.predict(
    run,
    inputs,
    config.predict_representation,
    config.solvers.density_rule,
    size=config.solvers.density_size,
    count=config.solvers.density_judged,
  )


if __name__ == "__main__":
  launcher.main(
    "robust_loss",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
