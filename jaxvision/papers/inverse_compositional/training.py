"""The training stage, its optimiser and what is done to a batch (M12)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.papers.inverse_compositional import losses
from jaxvision.papers.inverse_compositional.regressors import Regressor
from jaxvision.papers.inverse_compositional.tracker import Batch, Tracker
from jaxvision.train import Stage, State, gradient_step

AUGMENTATION = 0.1  # how far gamma, brightness and gains are from 1


def optimizer(
  rate: float,
  *,
  weight_decay: float,
  decay_steps: Sequence[int] = (),
  decay: float = 0.5,
  largest_norm: float | None = None,
) -> optax.GradientTransformation:
  """Returns Adam as PyTorch has it: weight decay is part of the gradient.

  Args:
    rate: learning rate.
    weight_decay: of all parameters.
    decay_steps: steps from which the rate is `decay` times lower than before.
    decay: see there.
    largest_norm: to which gradients are clipped; None for no clipping.
  """
  schedule = optax.piecewise_constant_schedule(rate, dict.fromkeys(decay_steps, decay))
  clip = [] if largest_norm is None else [optax.clip_by_global_norm(largest_norm)]
  return optax.chain(
    *clip, optax.add_decayed_weights(weight_decay), optax.adam(schedule)
  )


def stage(
  name: str,
  tracker: Tracker | Regressor,
  optimizer: optax.GradientTransformation,
  batch: Batch,
  *,
  size: tuple[int, int] = losses.TRAINING_SIZE,
) -> Stage:
  """Returns the stage that trains a tracker's networks.

  Args:
    name: of the stage.
    tracker: what is trained.
    optimizer: of all its parameters.
    batch: shapes of the global batch, see `batch_shapes`.
    size: height and width at which the loss is taken.
  """

  def loss_fn(params, model_state, batch, rng):
    del rng
    track = tracker.track(params, model_state, batch, train=True)
    invalid = ~(tracker.inverse_depth(batch["depth0"]) > 0)
    if "mask0" in batch:
      invalid |= ~batch["mask0"]
    errors = losses.pose_loss(
      track.poses,
      batch["pose"],
      batch["depth0"],
      batch["intrinsics"],
      invalid,
      size=size,
    )
    angle, distance = losses.relative_pose_error(track.poses[:, -1], batch["pose"])
    metrics = {"angle": jnp.mean(angle), "distance": jnp.mean(distance)}
    loss = losses.CENTIMETRES * jnp.mean(errors)
    return loss, (metrics, track.model_state)

  def init(key):
    params, model_state = tracker.init(key)
    return State.create(key, params, optimizer, model_state=model_state)

  def forward(state, batch):
    return tracker.track(state.params, state.model_state, batch).poses

  return Stage(name, init, gradient_step(loss_fn, optimizer), batch, forward)


def batch_shapes(batch: int, height: int, width: int, *, mask: bool = False) -> Batch:
  """Returns the shapes of a batch of pairs."""

  def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct((batch, *sizes), dtype)

  shapes = {f"image{view}": shape(height, width, 3) for view in (0, 1)}
  shapes |= {f"depth{view}": shape(height, width) for view in (0, 1)}
  shapes |= {"intrinsics": shape(4), "pose": shape(4, 4)}
  return shapes | ({"mask0": shape(height, width, dtype=jnp.bool_)} if mask else {})


def augment(example: dict, rng: np.random.Generator) -> dict:
  """Returns a pair with the colours of both views changed alike, half of the time.

  Gamma, brightness and the gain of each channel are uniform in 0.9 to 1.1. (In the
  authors' code a variable is bound again, so that their images stay as they are.)

  Args:
    example: with "image0" and "image1" [H, W, 3] in [0, 1].
    rng: of this example.

  Source: the supplement, "color augmentation".
  """
  if rng.random() < 0.5:
    return example
  gamma, brightness, *gains = 1 + rng.uniform(-AUGMENTATION, AUGMENTATION, 5)
  gains = (brightness * np.array(gains)).astype(np.float32)
  changed = {
    name: np.clip(example[name] ** np.float32(gamma) * gains, 0, 1)
    for name in ("image0", "image1")
  }
  return {**example, **changed}
