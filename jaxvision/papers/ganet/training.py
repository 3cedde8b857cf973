"""The training stage (M10, Training)."""

import jax
import jax.numpy as jnp
import optax

from jaxvision.papers.ganet import losses
from jaxvision.papers.ganet.model import GANet
from jaxvision.train import Stage, State, gradient_step

LOSSES = {
  "smooth_l1": losses.smooth_l1,
  "threshold": losses.threshold_loss,
  "authors_threshold": losses.authors_threshold_loss,
}


def optimizer(rate: float, decay_steps=(), decay: float = 0.1):
  """Returns Adam with the authors' moments, its rate falling at given steps."""
  schedule = optax.piecewise_constant_schedule(rate, dict.fromkeys(decay_steps, decay))
  return optax.adam(schedule, b1=0.9, b2=0.999)


def stage(
  name: str, model: GANet, optimizer: optax.GradientTransformation, batch, last: str
) -> Stage:
  """Returns the stage that trains a network.

  Args:
    name: of the stage.
    model: what is trained.
    optimizer: of all its parameters.
    batch: shapes of the global batch.
    last: loss of the last head, a key of LOSSES.
  """

  def loss_fn(params, model_state, batch, rng):
    del rng
    disparities, model_state = model.apply(
      {"params": params, **model_state},
      batch["left"],
      batch["right"],
      train=True,
      mutable=["batch_stats"],
    )
    truth = batch["disparity"]
    loss = losses.disparity_loss(disparities, truth, model.max_disp, last=LOSSES[last])
    valid = truth < model.max_disp
    error = jnp.where(valid, jnp.abs(disparities[-1] - truth), 0)
    epe = jnp.sum(error) / jnp.maximum(jnp.sum(valid), 1)
    return loss, ({"epe": epe}, model_state)

  def init(key):
    image = jnp.zeros((1, *batch["left"].shape[1:]), jnp.float32)
    variables = model.init(key, image, image)
    params = variables["params"]
    model_state = {"batch_stats": variables["batch_stats"]}
    return State.create(key, params, optimizer, model_state=model_state)

  def forward(state, batch):
    variables = {"params": state.params, **state.model_state}
    return model.apply(variables, batch["left"], batch["right"])[-1]

  return Stage(name, init, gradient_step(loss_fn, optimizer), batch, forward)


def start_from(state: State, variables) -> State:
  """Returns a state that begins with given variables."""
  return state.replace(
    params=jax.tree.map(jnp.asarray, variables["params"]),
    model_state={"batch_stats": jax.tree.map(jnp.asarray, variables["batch_stats"])},
  )
