"""The stages: photometric, with occlusion, self-supervised, fine-tuned (M7 to M14)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.papers.selflow import hallucination, losses
from jaxvision.papers.selflow.network import SelFlow
from jaxvision.train import Stage, State, gradient_step

# What the model state keeps, which training does not change: how much of an occluded
# pixel is left out of the photometric loss (so that all shares compile to one program),
# and the frozen network.
MASK, TEACHER = "mask", "teacher"
Batch = Mapping[str, chex.Array]


@dataclasses.dataclass(frozen=True)
class Objective:
  """What a stage minimises.

  Attributes:
    loss: photometric loss of visible pixels.
    noise: regions of noise; where it is not None, the frozen network of the model
      state teaches what the noise and the crop hide (L_o).
    window: (height, width) of the student's crop; the whole when None.
    noised: numbers of the frames that get noise.
    census_radius: of the census's window.
  """

  loss: losses.Photometric = "census"
  noise: hallucination.Noise | None = None
  window: tuple[int, int] | None = None
  noised: tuple[int, ...] = (3,)
  census_radius: int = losses.CENSUS_RADIUS


def optimizer(
  rate: float,
  *,
  halve_every: int,
  largest_norm: float | None = None,
  rise: int = 1,
) -> optax.GradientTransformation:
  """Returns Adam whose rate is halved every so many steps.

  Args:
    rate: learning rate at first.
    halve_every: steps.
    rise: steps in which the rate rises to this from 0; 1 for none, as the authors.
    largest_norm: to which gradients are clipped; None for no clipping, as the authors.
  """
  halved = optax.exponential_decay(rate, halve_every, 0.5, staircase=True)

  def schedule(step):
    return halved(step) * jnp.minimum((step + 1) / rise, 1.0)

  clip = [] if largest_norm is None else [optax.clip_by_global_norm(largest_norm)]
  return optax.chain(*clip, optax.adam(schedule))


def unsupervised_objective(
  network: SelFlow,
  objective: Objective,
  params: Any,
  model_state: Any,
  batch: Batch,
  key: chex.PRNGKey,
) -> tuple[chex.Array, tuple[dict[str, chex.Array], Any]]:
  """Returns L_p, plus L_o where the objective has noise, with its parts.

  Args:
    network: what is trained.
    objective: the losses.
    params: of the network.
    model_state: {"mask": 1.0 where occluded pixels do not count in L_p, 0.0 where all
      do, see `start`} and, where there is noise, {"teacher": params of the frozen
      network}.
    batch: "frames" [B, 5, H, W, 3] in [0, 1] and, for noise, "superpixels" [B, H, W].
    key: of noise and crop.
  """
  frames = jnp.moveaxis(batch["frames"], 1, 0)
  border = network.border
  if objective.noise is not None:
    window_key, noise_key = jax.random.split(key)
    taught = network.apply({"params": model_state[TEACHER]}, frames).full
    taught = jax.lax.stop_gradient(taught)
    there, _ = losses.pair_flows(taught)
    hidden = losses.pair_occlusion(taught, border)
    labels = batch["superpixels"]
    if objective.window is not None:
      window = objective.window
      start = hallucination.random_window(window_key, labels.shape[1:], window)
      frames, there, hidden, labels = (
        hallucination.crop(x, start, window)
        for x in (frames, there, hidden, labels[..., None])
      )
      labels = labels[..., 0]
    frames = hallucination.hallucinate(
      noise_key, frames, labels, objective.noise, objective.noised
    )

  flow = network.apply({"params": params}, frames).full
  occluded = losses.pair_occlusion(flow, border)
  photometric = losses.unsupervised_loss(
    frames,
    flow,
    model_state[MASK] * occluded,
    objective.loss,
    border,
    objective.census_radius,
  )
  metrics = {"photometric": photometric, "occluded": jnp.mean(occluded)}
  loss = photometric
  if objective.noise is not None:
    student, _ = losses.pair_flows(flow)
    taught_loss = losses.self_supervised_loss(there, student, hidden, occluded)
    metrics["self_supervised"] = taught_loss
    loss += taught_loss
  return loss, (metrics, model_state)


def supervised_objective(network, params, model_state, batch, key):
  """Returns L_s of the middle frame's forward flow (M14).

  Args:
    network: what is trained; the authors fine-tune with `normalized`.
    params: of the network.
    model_state: passed on.
    batch: "frames" [B, 3, H, W, 3] in [0, 1], "flow" [B, H, W, 2], "valid" [B, H, W].
    key: not used.
  """
  del key
  frames = jnp.moveaxis(batch["frames"], 1, 0)
  flow = network.apply({"params": params}, frames).full[0, 0]
  loss = losses.supervised_loss(flow, batch["flow"], batch["valid"])
  return loss, ({}, model_state)


def stage(
  name: str,
  network: SelFlow,
  objective: Objective | None,
  optimizer: optax.GradientTransformation,
  batch: Batch,
) -> Stage:
  """Returns a stage of training.

  Args:
    name: of the stage.
    network: what is trained.
    objective: of unsupervised training; None for supervised fine-tuning.
    optimizer: of all parameters.
    batch: shapes of the global batch, see `batch_shapes`.
  """

  def loss_fn(params, model_state, batch, key):
    if objective is None:
      return supervised_objective(network, params, model_state, batch, key)
    return unsupervised_objective(network, objective, params, model_state, batch, key)

  def init(key):
    frames = jnp.zeros((3, 1, *batch["frames"].shape[2:]))
    params = network.init(key, frames)["params"]
    return start(key, params, optimizer, objective)

  def forward(state, batch):
    return network.apply({"params": state.params}, jnp.moveaxis(batch["frames"], 1, 0))

  return Stage(name, init, gradient_step(loss_fn, optimizer), batch, forward)


def start(
  key: chex.PRNGKey,
  params: Any,
  optimizer: optax.GradientTransformation,
  objective: Objective | None,
  *,
  masked: float = 1.0,
  ahead: int = 0,
) -> State:
  """Returns the state in which a stage starts from given parameters.

  Args:
    key: of the stage.
    params: of the network; where the objective has noise, the teacher's too.
    optimizer: of the stage.
    objective: of the stage; None for supervised fine-tuning.
    masked: share of an occluded pixel that the photometric loss leaves out, 1 in the
      paper. There the loss falls too when flow there and back disagree, up to nothing
      where every pixel counts as occluded; below 1 that is no optimum.
    ahead: steps by which the schedule of the rate is already ahead.
  """
  model_state = {}
  if objective is not None:
    model_state[MASK] = jnp.float32(masked)
    if objective.noise is not None:
      model_state[TEACHER] = params
  state = State.create(key, params, optimizer, model_state=model_state)

  def advance(part):
    is_schedule = isinstance(part, optax.ScaleByScheduleState)
    return part._replace(count=part.count + ahead) if is_schedule else part

  # Of the schedule alone: Adam's own count says how many gradients it has averaged.
  opt_state = jax.tree.map(
    advance,
    state.opt_state,
    is_leaf=lambda part: isinstance(part, optax.ScaleByScheduleState),
  )
  return state.replace(opt_state=opt_state)


def batch_shapes(
  batch: int, height: int, width: int, *, supervised: bool = False
) -> Batch:
  """Returns the shapes of a batch."""

  def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct((batch, *sizes), dtype)

  if supervised:
    return {
      "frames": shape(3, height, width, 3),
      "flow": shape(height, width, 2),
      "valid": shape(height, width, dtype=jnp.bool_),
    }
  return {
    "frames": shape(5, height, width, 3),
    "superpixels": shape(height, width, dtype=jnp.int32),
  }


def augment(
  example: Mapping[str, np.ndarray],
  rng: np.random.Generator,
  size: tuple[int, int] | None = None,
) -> dict[str, np.ndarray]:
  """Returns a random crop, flipped and with its colour channels permuted at random.

  Args:
    example: "frames" [T, H, W, 3] and any of "superpixels" [H, W], "flow" [H, W, 2],
      "valid" [H, W].
    rng: of this example.
    size: (height, width) of the crop, at most the image's; the whole when None.
  """
  height, width = example["frames"].shape[1:3]
  size = size or (height, width)
  top = int(rng.integers(height - size[0] + 1))
  left = int(rng.integers(width - size[1] + 1))
  flips = rng.random(2) < 0.5
  order = rng.permutation(3)

  def change(array, rows):
    """Crops and flips an array whose axes `rows` and `rows + 1` are the image's."""
    array = np.moveaxis(array, (rows, rows + 1), (0, 1))
    array = array[top : top + size[0], left : left + size[1]]
    array = np.flip(array, [axis for axis in (0, 1) if flips[axis]])
    return np.moveaxis(array, (0, 1), (rows, rows + 1))

  changed = {"frames": change(example["frames"], 1)[..., order]}
  for name in ("superpixels", "valid", "flow"):
    if name in example:
      changed[name] = change(example[name], 0)
  if "flow" in example:
    signs = np.where(flips[::-1], -1, 1)  # u turns with columns, v with rows
    changed["flow"] = changed["flow"] * signs.astype(np.float32)
  return {name: np.ascontiguousarray(array) for name, array in changed.items()}
