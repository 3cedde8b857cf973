"""A General and Adaptive Robust Loss Function (Barron, CVPR 2019).

The story: one loss runs from squared error to losses that ignore outliers, and because
it belongs to a density, its shape α and scale can be learned. First without networks:
samples of the density, a line among outliers, densities of photographs' patches,
registration and clustering whose robustness is annealed. Then with them: a variational
autoencoder under every likelihood (the paper's Table 1), and depth from video under
every photometric loss (Table 2).

  python -m experiments.robust_loss [--preset=demo]

`--config.loss=NAME` trains one more autoencoder, whose images are compared by one of
`jaxvision.nn.robust_losses.RECONSTRUCTION_LOSSES`: the flag, and the module behind it,
are there for every experiment that reconstructs images.

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
  density,
  depth,
  depth_data,
  evaluation,
  figures,
  prediction,
  vae,
)
from jaxvision.papers.robust_loss.likelihoods import (
  DISTRIBUTIONS,
  REPRESENTATIONS,
  TITLES,
  Bounds,
)
from jaxvision.train import Stage, State, fit, launcher, restore

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
  seeds: tuple[int, ...] = (0,)  # of the whole table
  more_seeds: tuple[int, ...] = ()  # of "normal" and "adaptive" on wavelets only
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
  depth_batch: int = 4
  depth_steps: int = 200_000
  depth_rate: float = 2e-4
  depth_seeds: tuple[int, ...] = (0,)
  variants: tuple[str, ...] = tuple(depth.VARIANTS)
  streets: int = 0  # for training, where the video is of streets
  judged_streets: int = 0

  # Without networks.
  trial_seeds: tuple[int, ...] = (0, 1, 2)
  line_seeds: tuple[int, ...] = tuple(range(1, 11))
  registration_seeds: tuple[int, ...] = tuple(range(20))
  cloud: int = 400
  samples: int = 20_000
  density_size: int = 32
  density_patches: int = 5000
  density_judged: int = 1000
  density_steps: int = 600
  density_batch: int = 64
  density_levels: int = 4
  digits: int = 1797
  cluster_alphas: tuple[float, ...] = evaluation.CLUSTER_ALPHAS
  checkpoint_every: int = 1000
  predict_representation: Literal["pixels", "dct", "wavelets"] = "wavelets"
  seed: int = 0


_DEMO = Config(
  images="patches",
  vae_size=32,
  vae_depth=8,
  vae_levels=4,
  vae_batch=16,
  vae_steps=300,
  vae_rate=3e-3,
  likelihood_rate=0.05,
  scale_init=0.1,
  vae_patches=4000,
  vae_judged=512,
  more_seeds=(1, 2),
  video="streets",
  depth_height=32,
  depth_width=64,
  depth_features=(16, 32, 64, 64),
  depth_convolutions=1,
  pose_features=(16, 32, 64, 64),
  smoothness=0.01,
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
    more_seeds=(),
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
    trial_seeds=(0,),
    line_seeds=(1, 2),
    registration_seeds=(0, 1),
    cloud=50,
    samples=2000,
    density_size=8,
    density_patches=64,
    density_judged=16,
    density_steps=5,
    density_batch=8,
    density_levels=2,
    digits=120,
    cluster_alphas=(1.0, -2.0),
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
  )


def vae_optimizer(config: Config) -> optax.GradientTransformation:
  return vae.optimizer(config.vae_rate, config.likelihood_rate, config.vae_steps)


def depth_optimizer(config: Config) -> optax.GradientTransformation:
  return optax.adam(config.depth_rate, b1=0.9)


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
  found["depth"] = depth.stage(
    model, depth_optimizer(config), config.depth_batch, steps
  )
  return found


@functools.cache
def quick_init(config: Config, stage: str):
  """Returns the stage's `init`, compiled without optimisation: it runs only once."""
  is_cpu = jax.default_backend() == "cpu"
  options = {"xla_backend_optimization_level": 0} if is_cpu else {}
  return jax.jit(stages(config)[stage].init, compiler_options=options)


def vae_runs(config: Config) -> list[tuple[str, str, str, int]]:
  """Returns (name, distribution, representation, seed) of every autoencoder."""
  chosen = [
    (distribution, representation, seed)
    for seed in config.seeds
    for representation in REPRESENTATIONS
    for distribution in DISTRIBUTIONS
  ]
  chosen += [
    (distribution, "wavelets", seed)
    for seed in config.more_seeds
    for distribution in ("normal", "adaptive")
  ]
  return [(f"vae-{r}-{d}-{seed}", d, r, seed) for d, r, seed in chosen]


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
  state = quick_init(config, "vae")(jax.random.key(seed))
  numbers = vae.numbers(distribution, representation, config.warmup_steps)
  return state.replace(model_state=numbers)


def depth_state(config: Config, variant: str, seed: int) -> State:
  """Returns the state that a depth network starts from."""
  state = quick_init(config, "depth")(jax.random.key(seed))
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


def train_autoencoders(config: Config, run) -> None:
  """Trains an autoencoder for each likelihood, and one for --config.loss."""
  source = image_source(config, "train", run.data_dir)
  learn = functools.partial(
    learn_from, config, run, source, config.vae_batch, config.vae_steps
  )
  for name, distribution, representation, seed in vae_runs(config):
    state = vae_state(config, distribution, representation, seed)
    learn(name, state, stages(config)["vae"].step)
  if config.loss != "none":
    state = quick_init(config, "vae_loss")(jax.random.key(config.seed))
    learn(f"vae_loss-{config.loss}", state, stages(config)["vae_loss"].step)


def train_depths(config: Config, run) -> None:
  """Trains a depth network for each photometric loss."""
  source = video_source(config, "train", run.data_dir)
  for name, variant, seed in depth_runs(config):
    state, step = depth_state(config, variant, seed), stages(config)["depth"].step
    batch, steps = config.depth_batch, config.depth_steps
    learn_from(config, run, source, batch, steps, name, state, step)


def learn_from(config, run, source, batch, steps, name, state, step) -> None:
  """Trains one network on batches of a source, the same for all that are compared."""
  batches = pipeline.batches(source, batch_size=batch, seed=config.seed)
  every = config.checkpoint_every
  fit(run, name, state, step, batches, steps, checkpoint_every=every)


def evaluate(config: Config, run) -> None:
  """Measures everything and makes the paper's comparisons again."""
  if "solvers" in config.parts:
    measure_solvers(config, run)
  if "autoencoders" in config.parts:
    measure_autoencoders(config, run)
  if "depth" in config.parts:
    measure_depths(config, run)


def measure_solvers(config: Config, run) -> None:
  """Sampling, regression, densities, registration and clustering: C1 to C5."""
  run.figure("losses", figures.losses(), "The loss, and how much it trusts a residual.")

  seeds = config.trial_seeds
  rows = evaluation.sampling_distances(seeds, config.samples)
  claims.claim_sampling(run, rows, seeds)

  errors = evaluation.regression_errors(config.line_seeds)
  claims.claim_regression(run, errors, config.line_seeds)
  key = jax.random.key(config.line_seeds[0])
  run.figure("lines", figures.line_fits(key), "A line, a tenth of its points thrown.")

  rule = density_rule(config)
  measure = functools.partial(
    evaluation.density_rows,
    config=rule,
    size=config.density_size,
    train=config.density_patches,
    held_out=config.density_judged,
  )
  rows, adaptive = measure(seeds, splits=("all", "all"))
  harder, _ = measure(seeds[:1], splits=("train", "validation"))
  claims.claim_densities(run, rows, harder)
  maps = {name: density.shape_and_scale(d, rule) for name, d in adaptive.items()}
  run.figure(
    "alphas",
    figures.shape_maps(maps),
    "What the loss learns of photographs: shape α and scale c of every coefficient.",
  )

  rows = evaluation.registration_rows(config.registration_seeds, config.cloud)
  claims.claim_registrations(run, rows, config.registration_seeds)
  key = jax.random.key(config.registration_seeds[0])
  run.figure(
    "registration",
    figures.registrations(key, config.cloud),
    "A cloud of which four in five pairs are wrong, seen along z.",
  )

  points, labels = (array[: config.digits] for array in data.digits())
  rows, found = evaluation.cluster_rows(points, labels, config.cluster_alphas)
  kmeans = evaluation.kmeans_scores(points, labels, seeds)
  claims.claim_clusters(run, rows, kmeans, seeds)
  shown = {
    f"α = {alpha:g}": (found[alpha].representatives, found[alpha].labels)
    for alpha in (1.0, -2.0)
  }
  run.figure(
    "clusters",
    figures.embedding(points, labels, shown),
    "Digits and their representatives on two axes; colours are true classes.",
  )


def density_rule(config: Config) -> density.Fit:
  """Returns how the densities of patches are fitted."""
  return density.Fit(
    steps=config.density_steps,
    batch=config.density_batch,
    levels=config.density_levels,
  )


def measure_autoencoders(config: Config, run) -> None:
  """Table 1: the evidence lower bound under every likelihood."""
  images = image_source(config, "validation", run.data_dir)
  judge = evaluation.Autoencoders(autoencoder(config), stages(config)["vae"].forward)
  shown = np.stack([images[i]["image"] for i in range(min(8, len(images)))])
  rows, reconstructions, samples, maps = [], {}, {}, {}
  for name, distribution, representation, seed in vae_runs(config):
    # Any state of this structure will do.
    state = restore(run, name, vae_state(config, distribution, representation, 0))
    elbo = judge.elbo(state, judged_batches(images, config.vae_batch))
    row = {"representation": representation, "distribution": distribution}
    rows.append(row | {"seed": seed, "elbo": elbo})
    if seed != config.seeds[0]:
      continue
    if representation == "wavelets":
      title = TITLES[distribution]
      reconstructions[title] = judge.reconstruct(state.params, shown)
      samples[title] = judge.sample(state.params, jax.random.key(config.seed))
    if distribution == "adaptive":
      maps[representation] = judge.shape_and_scale(state.params)
  claims.claim_autoencoders(run, rows)
  run.figure(
    "autoencoders",
    figures.autoencoders(shown, reconstructions, samples),
    "Autoencoders on wavelets under each likelihood.",
  )
  run.figure(
    "vae_alphas",
    figures.shape_maps(maps),
    "α and scale that the autoencoders learned for what they leave unexplained.",
  )
  if config.loss != "none":
    measure_loss(config, run, images, shown)


def measure_loss(config: Config, run, images: pipeline.Source, shown) -> None:
  """The autoencoder that --config.loss asks for: how well it reconstructs."""
  state = quick_init(config, "vae_loss")(jax.random.key(0))
  state = restore(run, f"vae_loss-{config.loss}", state)
  forward = stages(config)["vae_loss"].forward
  judge = evaluation.Autoencoders(autoencoder(config, config.loss), forward)
  error = judge.mean_error(state.params, judged_batches(images, config.vae_batch))
  run.result(f"VAE with --config.loss={config.loss}: mean absolute error", error)
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
  rows = [{"variant": "one depth everywhere", "seed": 0, **plain}]
  guesses = {}
  for name, variant, seed in depth_runs(config):
    state = restore(run, name, depth_state(config, variant, 0))
    guess = np.asarray(forward(state, {"target": judged["target"]}))
    rows.append({"variant": variant, "seed": seed, **depth.measure(guess, truth)})
    if seed == config.depth_seeds[0]:
      guesses[depth.VARIANTS[variant].title] = guess[:4]
  claims.report_depths(run, rows)
  run.figure(
    "depths",
    figures.depths(judged["target"][:4], truth[:4], guesses),
    "Inverse depth of unseen streets, learned from video alone under each loss.",
  )


def judged_batches(images: pipeline.Source, batch: int):
  """Returns every image once, in order."""
  return pipeline.batches(
    images,
    batch_size=min(batch, len(images)),
    seed=0,
    shuffle=False,
    num_epochs=1,
    drop_remainder=False,
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
    density_rule(config),
    size=config.density_size,
    count=config.density_judged,
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
