"""The two stages of training, their schedule and convergence (M1).

Stage II's parameters are {"nip": ..., "fan": ...}. Its model state holds the
pipeline's "constants" and "fidelity_weight", λ, which is an array so that one
compilation serves every λ.
"""

import json
from collections.abc import Callable, Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from jaxvision.data import files
from jaxvision.papers.content_authentication import losses, manipulations
from jaxvision.papers.content_authentication.workflow import Workflow
from jaxvision.train import Stage, State, gradient_step


def development_stage(
  nip: nn.Module,
  optimizer: optax.GradientTransformation,
  batch: dict,
  loss: nn.Module | None = None,
) -> Stage:
  """Returns stage I, "develop": the pipeline alone learns, by fidelity.

  Args:
    nip: one of `pipelines`.
    optimizer: of its parameters and the loss'.
    batch: {"raw", "target"} shapes of the global batch.
    loss: on differences [B, H, W, 3] of images, whose own parameters are trained too;
      `losses.fidelity` when None.
  """

  def init(key):
    variables = nip.init(key, jnp.zeros(batch["raw"].shape))
    constants = {"constants": variables.get("constants", {})}
    return development_state(
      key, variables["params"], constants, optimizer, batch, loss
    )

  def develop(params, model_state, raw):
    return nip.apply({"params": params["nip"], **model_state}, raw)

  def loss_fn(params, model_state, batch, rng):
    del rng
    developed = develop(params, model_state, batch["raw"])
    fidelity = losses.fidelity(developed, batch["target"])
    if loss is None:
      return fidelity, ({}, model_state)
    values = loss.apply({"params": params["loss"]}, developed - batch["target"])
    return jnp.mean(values), ({"fidelity_loss": fidelity}, model_state)

  return Stage(
    name="develop",
    init=init,
    step=gradient_step(loss_fn, optimizer),
    batch=batch,
    forward=lambda state, batch: develop(state.params, state.model_state, batch["raw"]),
  )


def development_state(
  key: chex.PRNGKey,
  nip: dict,
  constants: dict,
  optimizer: optax.GradientTransformation,
  batch: dict,
  loss: nn.Module | None = None,
) -> State:
  """Returns the state that stage I starts from, of parameters {"nip", "loss"}.

  Those of "loss" are empty where it does not learn.

  Args:
    key: random key.
    nip: the pipeline's parameters.
    constants: the pipeline's, {"constants": ...}.
    optimizer, batch, loss: see `development_stage`.
  """
  params = {"nip": nip, "loss": {}}
  if loss is not None:
    variables = loss.init(key, jnp.zeros((1, *batch["target"].shape[1:])))
    params["loss"] = variables.get("params", {})
  return State.create(key, params, optimizer, model_state=constants)


def authentication_stage(
  name: str,
  workflow: Workflow,
  optimizer: optax.GradientTransformation,
  batch: dict,
  *,
  learning: str,
  classification: str = "proper",
) -> Stage:
  """Returns stage II: the forensic network learns, alone or with the pipeline.

  Args:
    name: of the stage.
    workflow: both networks and what lies between.
    optimizer: one is made of it for every set of parameters below.
    batch: {"raw", "target"} shapes of the global batch.
    learning: "fan" is mode F: L_fan updates the forensic network alone. "sum" is mode
      F+N as in the authors' code: one optimiser for L_fan + λ L_nip. "turns" is mode
      F+N as in the paper's text: one optimiser of both networks for L_fan, then one
      of the pipeline for λ L_nip (Adam does not feel λ, only whether it is 0).
    classification: a key of losses.CLASSIFICATION, L_fan.
  """
  loss_fn = authentication_loss(workflow, classification)

  def init(key):
    networks = workflow.init(key, jnp.zeros(batch["raw"].shape))
    return authentication_state(key, *networks, optimizer, learning=learning)

  def forward(state, batch):
    constants = {"constants": state.model_state["constants"]}
    developed = workflow.develop(state.params, constants, batch["raw"])
    received = workflow.distribute(workflow.manipulate(developed))
    return workflow.judge(state.params, received)

  step = {
    "fan": lambda: gradient_step(loss_fn, optimizer, group="fan"),
    "sum": lambda: gradient_step(loss_fn, optimizer),
    "turns": lambda: _step_in_turns(workflow, loss_fn, optimizer),
  }[learning]()
  return Stage(name=name, init=init, step=step, batch=batch, forward=forward)


def authentication_state(
  key: chex.PRNGKey,
  params: dict,
  constants: dict,
  optimizer: optax.GradientTransformation,
  *,
  learning: str,
  weight: float = 0.0,
) -> State:
  """Returns the state that stage II starts from.

  Args:
    key: random key.
    params: {"nip", "fan"}.
    constants: the pipeline's, {"constants": ...}.
    optimizer: see `authentication_stage`.
    learning: likewise.
    weight: λ.
  """
  model_state = {**constants, "fidelity_weight": jnp.float32(weight)}
  optimizers = optimizer
  if learning == "fan":
    optimizers = {"nip": optax.set_to_zero(), "fan": optimizer}
  state = State.create(key, params, optimizers, model_state=model_state)
  if learning == "turns":
    turns = {"both": state.opt_state, "nip": optimizer.init(params["nip"])}
    state = state.replace(opt_state=turns)
  return state


def authentication_loss(workflow: Workflow, classification: str) -> Callable:
  """Returns stage II's loss, L_fan + λ L_nip, as `gradient_step` takes it.

  Args:
    workflow: both networks and what lies between.
    classification: a key of losses.CLASSIFICATION.
  """
  cross_entropy = losses.CLASSIFICATION[classification]

  def loss_fn(params, model_state, batch, rng):
    del rng
    constants = {"constants": model_state["constants"]}
    developed = workflow.develop(params, constants, batch["raw"])
    received = workflow.distribute(workflow.manipulate(developed))
    logits = workflow.judge(params, received)
    labels = manipulations.labels(len(developed), len(workflow.classes))

    cross = jnp.mean(cross_entropy(logits, labels))
    fidelity = losses.fidelity(developed, batch["target"])
    metrics = {
      "cross_entropy": cross,
      "accuracy": jnp.mean(jnp.argmax(logits, axis=-1) == labels),
      "fidelity_loss": fidelity,
    }
    total = cross + model_state["fidelity_weight"] * fidelity
    return total, (metrics, model_state)

  return loss_fn


def _step_in_turns(workflow, loss_fn, optimizer):
  """Returns the step of learning="turns"."""

  def verdict_loss(params, model_state, batch, rng):
    unweighted = {**model_state, "fidelity_weight": jnp.zeros(())}
    loss, (metrics, _) = loss_fn(params, unweighted, batch, rng)
    return loss, (metrics, model_state)

  def weighted_fidelity(params, model_state, batch, rng):
    del rng
    constants = {"constants": model_state["constants"]}
    developed = workflow.develop(params, constants, batch["raw"])
    fidelity = losses.fidelity(developed, batch["target"])
    return model_state["fidelity_weight"] * fidelity, ({}, model_state)

  learn_verdict = gradient_step(verdict_loss, optimizer)
  learn_fidelity = gradient_step(weighted_fidelity, optimizer, group="nip")

  def step(state, batch):
    number, turns = state.step, state.opt_state
    state, metrics = learn_verdict(state.replace(opt_state=turns["both"]), batch)
    both = state.opt_state
    turn = state.replace(step=number, opt_state={"nip": turns["nip"]})
    state, _ = learn_fidelity(turn, batch)
    return state.replace(opt_state={"both": both, **state.opt_state}), metrics

  return step


def decayed_rate(
  rate: float, *, factor: float, every: int, epoch_steps: int
) -> optax.Schedule:
  """Returns the authors' schedule: lower after epochs 0, every, 2 every, ...

  The first decay comes after epoch 0 already, as in their code.

  Args:
    rate: learning rate of epoch 0.
    factor: of each decay.
    every: epochs between decays.
    epoch_steps: steps an epoch.
  """

  def schedule(step: chex.Numeric) -> chex.Numeric:
    epoch = step // epoch_steps
    return rate * factor ** ((epoch + every - 1) // every)

  return schedule


def has_converged(
  validation_losses: Sequence[float], tolerance: float, tail: int = 5
) -> bool:
  """Returns whether stage I may stop: its mean validation loss hardly changes.

  As in the authors' code: the newest loss is left out, and nothing is decided on
  fewer than 11 losses.

  Args:
    validation_losses: one a validation, oldest first.
    tolerance: relative change below which it has; 0 never stops.
    tail: losses in the mean, and one more.
  """
  if len(validation_losses) <= 10:
    return False
  current = np.mean(validation_losses[-tail:-1])
  previous = np.mean(validation_losses[-tail - 1 : -2])
  return bool(abs(current - previous) < tolerance * abs(previous))


class History:
  """Validation losses by step, kept in a file so that a resumed run knows them."""

  def __init__(self, path: epath.Path, is_writer: bool):
    """Reads what an earlier start wrote.

    Args:
      path: JSON file.
      is_writer: whether this process writes it.
    """
    self._path, self._is_writer = path, is_writer
    text = path.read_text() if path.exists() else "{}"
    self._losses = {int(step): loss for step, loss in json.loads(text).items()}

  def add(self, step: int, loss: float) -> None:
    """Records the loss after `step` steps."""
    self._losses[step] = loss
    if self._is_writer:
      files.write_bytes(self._path, json.dumps(self._losses).encode())

  def until(self, step: int) -> list[float]:
    """Returns the losses up to a step, oldest first."""
    return [self._losses[at] for at in sorted(self._losses) if at <= step]
