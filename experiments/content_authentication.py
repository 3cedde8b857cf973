"""Content Authentication for Neural Imaging Pipelines (Korus and Memon, CVPR 2019).

The story: a network develops RAW images (stage I). A second one must tell, after
down-sampling and JPEG, how a photograph was manipulated, and mostly cannot (stage II,
mode F). Trained together through a differentiable JPEG, the pipeline learns to leave
traces that survive (mode F+N), and λ says how much fidelity that may cost.

  python -m experiments.content_authentication [--preset=demo]

The demo takes photographs through a simulated camera. Its sizes, rates, steps, λ's,
lens blur and split of the photographs were chosen by looking at the same validation
photographs that its claims are measured on; the seeds show training noise only. The
paper preset reads RAW data from --data_dir;
`jaxvision.papers.content_authentication.dataset` says which. `--config.loss=NAME` puts
another loss on what stage I develops, one of `jaxvision.nn.robust_losses`.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.errors import UserError
from jaxvision.nn.robust_losses import RECONSTRUCTION_LOSSES, reconstruction_loss
from jaxvision.papers.content_authentication import (
  camera,
  claims,
  data,
  evaluation,
  figures,
  pipelines,
  prediction,
  training,
)
from jaxvision.papers.content_authentication.forensics import FAN
from jaxvision.papers.content_authentication.workflow import Workflow
from jaxvision.train import Stage, State, fit, launcher, restore

CITATION = (
  "P. Korus and N. Memon, Content Authentication for Neural Imaging Pipelines: "
  "End-to-end Optimization of Photo Provenance in Complex Distribution Channels, "
  "CVPR 2019"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Every number of the paper's section on training; sizes are of RAW patches."""

  # Data: "photographs" go through a simulated camera, "raw" is read from --data_dir.
  source: Literal["photographs", "raw"] = "raw"
  camera: str = "D90"
  low_pass: float = 0.7  # pixels; of the simulated camera's lens
  reject_flat: bool = False  # training patches too, not only those for validation
  validation_patches: int = 100  # of each photograph, for accuracy
  fidelity_patches: int = 2  # of each photograph, for PSNR and SSIM

  # The networks.
  pipeline: Literal["UNet", "INet", "DNet"] = "UNet"
  unet_features: tuple[int, ...] = (32, 64, 128, 256, 512)
  fan_filters: tuple[int, ...] = (32, 64, 128, 256)
  fan_dense: tuple[int, ...] = (512, 128)

  # What lies between them.
  age: Literal["cvpr", "tf2"] = "cvpr"
  downsample: Literal["pool", "bilinear"] = "pool"
  quality: float = 50.0
  rounding: Literal["round", "sin", "soft", "harmonic"] = "sin"
  stop_hsv_gradient: bool = True
  straight_through: bool = False

  # Stage I: the pipeline alone, at most 50,000 epochs of 6 batches.
  loss: Literal[("fidelity", *RECONSTRUCTION_LOSSES)] = "fidelity"  # the paper's is L2
  develop_steps: int = 300_000
  develop_batch: int = 20
  develop_size: int = 64
  develop_rate: float = 1e-4
  develop_final_rate: float = 1.0  # share of the rate that a cosine reaches at the end
  develop_validate_every: int = 600
  develop_validation_size: int = 256
  develop_validation_patches: int = 1  # of each photograph
  develop_tolerance: float = 1e-3

  # Stage II: 1,001 epochs of 6 batches.
  steps: int = 6006
  batch: int = 20
  size: int = 128
  rate: float = 1e-4
  decay: float = 0.85
  decay_epochs: int = 100
  epoch_steps: int = 6
  joint_learning: Literal["sum", "turns"] = "sum"
  classification: Literal["proper", "clipped", "double_softmax"] = "proper"
  weights: tuple[float, ...] = (0.1,)  # λ; the first is the main one
  without_channel: bool = True  # also train mode F without a channel
  seeds: tuple[int, ...] = tuple(range(10))
  seed: int = 0
  figure_size: int = 128  # of the photograph in the figures


_DEMO = Config(
  source="photographs",
  reject_flat=True,
  validation_patches=40,
  fidelity_patches=20,
  unet_features=(16, 32, 64),
  fan_filters=(16, 32, 64),
  fan_dense=(64,),
  develop_steps=4000,
  develop_batch=8,
  develop_size=16,
  develop_rate=3e-3,
  develop_final_rate=0.02,
  develop_validate_every=4000,
  develop_validation_size=32,
  develop_validation_patches=20,
  steps=150,
  batch=8,
  size=32,
  rate=2e-3,
  decay=1.0,
  weights=(0.001, 0.003, 0.01),
  seeds=(0, 1, 2),
  figure_size=96,
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    validation_patches=1,
    fidelity_patches=1,
    unet_features=(4, 8),
    fan_filters=(4,),
    fan_dense=(),
    develop_steps=3,
    develop_batch=2,
    develop_validate_every=3,
    develop_validation_size=16,
    develop_validation_patches=1,
    steps=2,
    batch=2,
    size=16,
    weights=(0.01,),
    without_channel=False,
    seeds=(0,),
    figure_size=16,
  ),
  "demo": _DEMO,
  "paper": Config(),
}


@functools.cache  # its compiled functions are kept with it
def workflow(config: Config, mode: str = "fixed") -> Workflow:
  """Returns both networks and what lies between them in a mode of stage II.

  Args:
    config: of the run.
    mode: "fixed" (F), "joint" (F+N), or "no_channel": F without a channel.
  """
  device = camera_of(config)
  nip = {
    "UNet": lambda: pipelines.UNet(config.unet_features, keras=config.age == "tf2"),
    "INet": lambda: pipelines.INet(device.pattern, device.color_matrix),
    "DNet": lambda: pipelines.DNet(device.pattern),
  }[config.pipeline]()
  return Workflow(
    nip=nip,
    fan=FAN(5, config.fan_filters, config.fan_dense),
    age=config.age,
    downsample=None if mode == "no_channel" else config.downsample,
    quality=config.quality,
    rounding=config.rounding,
    stop_hsv_gradient=config.stop_hsv_gradient,
    straight_through=config.straight_through,
  )


def camera_of(config: Config) -> camera.Camera:
  if config.camera not in camera.CAMERAS:
    raise UserError(
      f"--config.camera={config.camera}: known are {', '.join(camera.CAMERAS)}"
    )
  return camera.CAMERAS[config.camera]


def patch_size(config: Config, mode: str) -> int:
  """Without a channel the patches are half as wide: the network sees as many pixels."""
  return config.size // 2 if mode == "no_channel" else config.size


def development_loss(config: Config):
  """Returns the loss of --config.loss, a module, or None for the paper's."""
  if config.loss == "fidelity":
    return None
  return reconstruction_loss(config.loss, (*[2 * config.develop_size] * 2, 3))


def develop_optimizer(config: Config) -> optax.GradientTransformation:
  rate = optax.cosine_decay_schedule(
    config.develop_rate, config.develop_steps, config.develop_final_rate
  )
  return optax.adam(rate)


def authentication_optimizer(config: Config) -> optax.GradientTransformation:
  rate = training.decayed_rate(
    config.rate,
    factor=config.decay,
    every=config.decay_epochs,
    epoch_steps=config.epoch_steps,
  )
  return optax.adam(rate)


@functools.cache  # the same steps again, so that they are compiled only once
def stages(config: Config) -> dict[str, Stage]:
  """Returns the stages: "develop", then the modes "fixed", "joint", "no_channel"."""
  develop = training.development_stage(
    workflow(config).nip,
    develop_optimizer(config),
    data.batch_shapes(config.develop_batch, config.develop_size),
    development_loss(config),
  )
  modes = {
    mode: training.authentication_stage(
      mode,
      workflow(config, mode),
      authentication_optimizer(config),
      data.batch_shapes(config.batch, patch_size(config, mode)),
      learning=config.joint_learning if mode == "joint" else "fan",
      classification=config.classification,
    )
    for mode in ("fixed", "joint", "no_channel")
  }
  return {"develop": develop} | modes


@functools.cache
def initial_networks(config: Config, seed: int) -> tuple[dict, dict]:
  """Returns random {"nip", "fan"} parameters and the pipeline's constants."""
  raw = jnp.zeros((1, config.size, config.size, 4))
  return workflow(config).quick_init(jax.random.key(seed), raw)


def initial_state(config: Config, mode: str, weight: float, seed: int) -> State:
  """Returns the state that a training of stage II starts from."""
  return training.authentication_state(
    jax.random.key(seed),
    *initial_networks(config, seed),
    authentication_optimizer(config),
    learning=config.joint_learning if mode == "joint" else "fan",
    weight=weight,
  )


@functools.cache  # evaluation needs them again
def load_pairs(config: Config, data_dir) -> dict[str, list[data.Pair]]:
  """Returns the photographs by split, RAW and developed."""
  if config.source == "raw":
    from jaxvision.papers.content_authentication import dataset

    if data_dir is None:
      raise UserError("the RAW photographs are read from --data_dir=DIR")
    splits = ("train", "validation")
    return {s: dataset.load_pairs(config.camera, s, data_dir) for s in splits}
  key = jax.random.key(config.seed)
  return data.simulate_splits(camera_of(config), key, low_pass=config.low_pass)


def authentication_runs(config: Config) -> list[tuple[str, str, float, int]]:
  """Returns (name, mode, λ, seed) of every training of stage II."""
  runs = []
  for seed in config.seeds:
    if config.without_channel:
      runs.append((f"no_channel-{seed}", "no_channel", 0.0, seed))
    runs.append((f"fixed-{seed}", "fixed", 0.0, seed))
    for weight in config.weights:
      runs.append((f"joint-{weight:g}-{seed}", "joint", weight, seed))
  return runs


def train(config: Config, run) -> None:
  """Trains the pipeline once, then every forensic network on top of it."""
  pairs = load_pairs(config, run.data_dir)
  developed = develop(config, run, pairs)
  for name, mode, weight, seed in authentication_runs(config):
    state = initial_state(config, mode, weight, seed)
    state = state.replace(params={**state.params, "nip": developed.params["nip"]})
    batches = data.training_batches(
      pairs["train"],
      batch_size=config.batch,
      size=patch_size(config, mode),
      seed=seed,
      reject_flat=config.reject_flat,
    )
    fit(run, name, state, stages(config)[mode].step, batches, config.steps)


def develop(config: Config, run, pairs: dict[str, list[data.Pair]]) -> State:
  """Trains stage I until it converges."""
  patches = data.validation_patches(
    pairs["validation"],
    per_image=config.develop_validation_patches,
    size=config.develop_validation_size,
    seed=0,
  )
  batches = data.training_batches(
    pairs["train"],
    batch_size=config.develop_batch,
    size=config.develop_size,
    seed=config.seed,
    reject_flat=config.reject_flat,
  )
  history = training.History(run.workdir / "develop.json", run.is_main)

  def validate(state: State) -> dict[str, float]:
    networks = state.params, state.model_state
    measures = evaluator(workflow(config)).fidelity(*networks, patches)
    history.add(int(state.step), measures["loss"])
    return measures

  stage = stages(config)["develop"]
  params, constants = initial_networks(config, config.seed)
  state = training.development_state(
    jax.random.key(config.seed),
    params["nip"],
    constants,
    develop_optimizer(config),
    stage.batch,
    development_loss(config),
  )
  every = config.develop_validate_every
  for end in range(every, config.develop_steps + 1, every):
    state = fit(run, "develop", state, stage.step, batches, end, evaluate=validate)
    if training.has_converged(history.until(end), config.develop_tolerance):
      run.log(f"develop: converged after {end} steps")
      break
  return state


# Compiled once for all the trainings that share networks and channel.
evaluator = functools.cache(evaluation.Evaluator)


def restore_networks(config: Config, run, name: str, mode: str) -> tuple[dict, dict]:
  """Returns the parameters and constants that a training of stage II ended with."""
  state = restore(run, name, initial_state(config, mode, 0.0, 0))
  return state.params, {"constants": state.model_state["constants"]}


def evaluate(config: Config, run) -> None:
  """Measures what was trained and makes the paper's comparisons again."""
  pairs = load_pairs(config, run.data_dir)["validation"]
  patches = functools.partial(data.validation_patches, pairs)

  pictures = patches(per_image=1, size=config.size, seed=0)["target"]
  if config.source == "photographs":
    pictures = data.crop_photographs(data.VALIDATION_PHOTOGRAPHS, (288, 384)) / 255
  claims.claim_jpegs(run, evaluation.compare_jpegs(pictures))

  developed = patches(per_image=config.fidelity_patches, size=config.size, seed=1)
  flow = workflow(config)
  claims.claim_initial_pipelines(
    run, *evaluation.initial_inets(flow, camera_of(config), developed)
  )

  rows = []
  for name, mode, weight, seed in authentication_runs(config):
    size, count = patch_size(config, mode), config.validation_patches
    judged = patches(per_image=count, size=size, seed=2)
    networks = restore_networks(config, run, name, mode)
    measure = evaluator(workflow(config, mode))
    codecs = evaluation.CODECS if mode != "no_channel" else (evaluation.DJPEG,)
    confusion = {codec: measure.confusion(*networks, judged, codec) for codec in codecs}
    row = {"mode": mode, "weight": weight, "seed": seed, "confusion": confusion}
    row["accuracy"] = {c: evaluation.accuracy(n) for c, n in confusion.items()}
    rows.append(row | measure.fidelity(*networks, developed))
  fixed = next(row for row in rows if row["mode"] == "fixed")
  claims.claim_authentication(run, rows, config.weights, fixed)

  main, seed = config.weights[0], config.seeds[0]
  titles = {
    "no_channel": "F, no channel",
    "fixed": "F: pipeline fixed",
    "joint": f"F+N: joint, λ = {main:g}",
  }
  figures.keep_statistics(run, rows, titles, main, flow.classes)

  photograph = patches(per_image=1, size=config.figure_size, seed=3)
  seen = {}
  for mode, name in (("fixed", f"fixed-{seed}"), ("joint", f"joint-{main:g}-{seed}")):
    networks = restore_networks(config, run, name, mode)
    photographs = evaluator(flow).examine(
      *networks, photograph["raw"], tile=config.size
    )
    seen[titles[mode]] = photographs[0]
  figures.keep_photograph(run, seen, photograph["target"][0], flow.classes)


def predict(config: Config, run, inputs) -> None:
  """Writes predictions.json and predictions.csv: what was done to each photograph.

  The photographs are judged as they are: as received, small and compressed. The
  network is that of mode F+N, the first λ and the first seed.
  """
  photographs = prediction.read_photographs(inputs, config.size)
  name = f"joint-{config.weights[0]:g}-{config.seeds[0]}"
  params, _ = restore_networks(config, run, name, "joint")
  judge = functools.partial(evaluator(workflow(config)).judge, params)
  classes = workflow(config).classes
  predictions = []
  for path, photograph in zip(inputs, photographs, strict=True):
    probabilities = prediction.judge_photograph(judge, photograph, config.size)
    verdict = classes[int(np.argmax(probabilities))]
    run.log(f"{path}: {verdict} ({max(probabilities):.0%})")
    by_class = dict(zip(classes, map(float, probabilities), strict=True))
    predictions.append(
      {"file": str(path), "verdict": verdict, "probabilities": by_class}
    )
  if run.is_main:
    prediction.write(run.out, predictions)


if __name__ == "__main__":
  launcher.main(
    "content_authentication",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
