"""Training a mask: of the difference of two ears, or of one sound in a mixture (M6)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.papers.mono2binaural import audio
from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.papers.mono2binaural.networks import (
  AudioVisualNet,
  normalize_frames,
  signed_mask,
)
from jaxvision.train import Stage, State, gradient_step

Batch = Mapping[str, chex.Array]
# (network, form, variables, batch, train) -> (loss, new collections)
Objective = Callable[..., tuple[chex.Array, dict[str, Any]]]


def apply(
  network: AudioVisualNet,
  variables: Mapping[str, Any],
  x: chex.Array,
  frames: chex.Array | None,
  train: bool,
) -> tuple[chex.Array, dict[str, Any]]:
  """Returns logits of spectra and frames in [0, 1], and the other collections, new."""
  seen = None if network.visual is None else normalize_frames(frames)
  if not train:
    state = {name: tree for name, tree in variables.items() if name != "params"}
    return network.apply(variables, x, seen), state
  return network.apply(variables, x, seen, train=True, mutable=["batch_stats"])


def difference_loss(
  network: AudioVisualNet,
  form: AudioFormat,
  variables: Mapping[str, Any],
  batch: Batch,
  train: bool,
) -> tuple[chex.Array, dict[str, Any]]:
  """Returns the mean squared error of the spectrum of left - right.

  Args:
    network: the network.
    form: of the segments.
    variables: of the network.
    batch: {"audio": [B, T, 2], "frames": [B, H, W, 3] in [0, 1]}.
    train: whether statistics are the batch's.

  Returns:
    The loss, and the collections besides the parameters.
  """
  segments, _ = audio.normalize(batch["audio"])
  mix, difference = audio.sum_and_difference(segments)
  mix, difference = audio.spectrum(mix, form), audio.spectrum(difference, form)
  logits, state = apply(network, variables, mix, batch["frames"], train)
  bins = logits.shape[1]
  predicted = audio.complex_product(signed_mask(logits), mix[:, :bins])
  return mean_squared_error(predicted, difference[:, :bins]), state


def mean_squared_error(predicted: chex.Array, target: chex.Array) -> chex.Array:
  chex.assert_equal_shape([predicted, target])
  return jnp.mean(jnp.square(predicted - target))


def optimizer(
  audio_rate: float = 1e-3,
  visual_rate: float = 1e-4,
  *,
  weight_decay: float = 5e-4,
  decay: float = 0.94,
  decay_steps: int = 1,
) -> optax.GradientTransformation:
  """Returns Adam with a rate for what hears and one for what sees.

  Args:
    audio_rate, visual_rate: learning rates at the start.
    weight_decay: of all parameters, added to their gradients.
    decay: factor of both rates every `decay_steps`.
    decay_steps: in updates.
  """

  def group(rate):
    schedule = optax.exponential_decay(rate, decay_steps, decay, staircase=True)
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(schedule))

  groups = {"audio": group(audio_rate), "visual": group(visual_rate)}
  return optax.multi_transform(groups, lambda params: {name: name for name in params})


def stage(
  name: str,
  network: AudioVisualNet,
  form: AudioFormat,
  optimizer: optax.GradientTransformation,
  batch: Mapping[str, jax.ShapeDtypeStruct],
  objective: Objective = difference_loss,
  *,
  inputs: int = 2,
) -> Stage:
  """Returns the training of a network.

  Args:
    name: of the stage.
    network: the network.
    form: of the segments.
    optimizer: of its parameters.
    batch: shapes of a batch, as `objective` takes it.
    objective: `difference_loss`, or another of the same arguments.
    inputs: channels of the spectra.
  """
  spectra = jnp.zeros((1, form.bins, form.frames, inputs))
  frames = jnp.zeros((1, *batch["frames"].shape[1:]))

  def init(key):
    own, train_key = jax.random.split(key)
    variables = network.init(own, spectra, frames)
    params = variables.pop("params")
    return State.create(train_key, params, optimizer, model_state=variables)

  def loss_fn(params, model_state, batch, rng):
    del rng
    variables = {"params": params, **model_state}
    loss, state = objective(network, form, variables, batch, True)
    return loss, ({}, state)

  def forward(state, batch):
    return objective(network, form, variables_of(state), batch, False)[0]

  return Stage(
    name=name,
    init=init,
    step=gradient_step(loss_fn, optimizer),
    batch=dict(batch),
    forward=forward,
  )


def variables_of(state: State) -> dict[str, Any]:
  """Returns the variables of the network that a state trains."""
  return {"params": state.params, **state.model_state}


def with_visual(state: State, visual: Mapping[str, Any]) -> State:
  """Returns a state whose network starts to see with these variables of a `ResNet`."""
  params = {**state.params, "visual": visual["params"]}
  statistics = {**state.model_state["batch_stats"], "visual": visual["batch_stats"]}
  model_state = {**state.model_state, "batch_stats": statistics}
  return state.replace(params=params, model_state=model_state)


def validation(stage: Stage, batches: Sequence[Batch], every: int) -> dict[str, Any]:
  """Returns the options of `fit` that keep what has the lowest loss on some batches.

  Args:
    stage: the training.
    batches: what it is evaluated on.
    every: steps between evaluations.
  """
  loss = jax.jit(stage.forward)

  def evaluate(state):
    return {"loss": float(np.mean([loss(state, batch) for batch in batches]))}

  return {"evaluate": evaluate, "eval_every": every, "best": ("loss", "lower")}
