"""What a network is trained for, and by what."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvision.papers.weighted_hausdorff import losses
from jaxvision.papers.weighted_hausdorff.network import Located, Locator, to_signed
from jaxvision.train import Stage, State, gradient_step

Batch = Mapping[str, chex.Array]
Objective = Literal["weighted Hausdorff", "one-hot"]

COUNT_WEIGHT = 1.0  # λ of Eq. 9


def objective(
  located: Located, batch: Batch, kind: Objective, count_weight: float = COUNT_WEIGHT
) -> dict[str, chex.Array]:
  """Returns the parts of the loss; their sum is what is minimised.

  Args:
    located: what the network says of the batch.
    batch: as `data.prepare` makes it.
    kind: "weighted Hausdorff", or "one-hot" for the baseline of squared errors.
    count_weight: of the count's loss.

  Source: Eq. 9.
  """
  points, valid = batch["points"], batch["valid"]
  if kind == "one-hot":
    parts = {"pixels": losses.one_hot_loss(located.map, points, valid)}
  else:
    terms = losses.weighted_hausdorff(located.map, points, valid, batch["size"])
    parts = {"pixels to points": terms.first, "points to pixels": terms.second}
  true_count = jnp.sum(valid, axis=1).astype(located.count.dtype)
  count = losses.count_loss(located.count, true_count)
  return parts | {"count": count_weight * count}


def loss(
  network: Locator,
  kind: Objective,
  params: Any,
  model_state: Any,
  batch: Batch,
  key: chex.PRNGKey,
  *,
  count_weight: float = COUNT_WEIGHT,
) -> tuple[chex.Array, tuple[dict[str, chex.Array], Any]]:
  """Returns the loss of a batch in training, its parts, and new statistics."""
  located, model_state = network.apply(
    {"params": params, **model_state},
    to_signed(batch["image"]),
    train=True,
    rngs={"dropout": key},
    mutable=list(model_state),
  )
  parts = objective(located, batch, kind, count_weight)
  return sum(parts.values()), (parts, model_state)


def forward(network: Locator, params, model_state, images: chex.Array) -> Located:
  """Returns what the network says of images [B, H, W, 3] in [0, 1]."""
  variables = {"params": params, **model_state}
  return network.apply(variables, to_signed(images), train=False)


def stage(
  name: str,
  network: Locator,
  kind: Objective,
  optimizer: optax.GradientTransformation,
  batch: Mapping[str, jax.ShapeDtypeStruct],
  *,
  count_weight: float = COUNT_WEIGHT,
) -> Stage:
  """Returns the training of a network.

  Args:
    name: of the stage.
    network: what is trained.
    kind: see `objective`.
    optimizer: optax transformation.
    batch: shapes of the global batch, see `data.batch_shapes`.
    count_weight: of the count's loss.
  """

  def init(key):
    train_key, params_key = jax.random.split(key)
    # The branches are as wide as the map: only the batch may be another.
    image = jnp.zeros((1, *batch["image"].shape[1:]), jnp.float32)
    variables = dict(network.init(params_key, image, train=False))
    params = variables.pop("params")
    return State.create(train_key, params, optimizer, model_state=variables)

  def loss_fn(params, model_state, batch, key):
    return loss(
      network, kind, params, model_state, batch, key, count_weight=count_weight
    )

  return Stage(
    name=name,
    init=init,
    step=gradient_step(loss_fn, optimizer),
    batch=dict(batch),
    forward=lambda state, batch: forward(
      network, state.params, state.model_state, batch["image"]
    ),
  )


def optimizer(
  kind: Literal["amsgrad", "sgd"], rate: float, momentum: float = 0.9
) -> optax.GradientTransformation:
  """Returns Adam with amsgrad (mall, plants, streets), or SGD (pupils).

  Args:
    kind: which.
    rate: learning rate.
    momentum: of SGD, and Adam's first β.
  """
  if kind == "sgd":
    return optax.sgd(rate, momentum)
  return optax.chain(scale_by_amsgrad(momentum), optax.scale_by_learning_rate(rate))


class AmsgradState(NamedTuple):
  """Moments of the gradients, and the largest second ones so far."""

  count: chex.Array
  mean: Any
  square: Any
  largest: Any


def scale_by_amsgrad(
  b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
  """Returns AMSGrad as PyTorch has it: the largest second moment, then its bias.

  (optax.amsgrad corrects the bias first, so that the first steps' moments stay the
  largest.)

  Source: Reddi, Kale and Kumar, On the Convergence of Adam and Beyond, 2018.
  """

  def init(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return AmsgradState(jnp.zeros((), jnp.int32), zeros, zeros, zeros)

  def update(gradients, state, params=None):
    del params
    count = state.count + 1
    mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mean, gradients)
    square = jax.tree.map(
      lambda v, g: b2 * v + (1 - b2) * jnp.square(g), state.square, gradients
    )
    largest = jax.tree.map(jnp.maximum, state.largest, square)
    first, second = 1 - b1**count, 1 - b2**count
    updates = jax.tree.map(
      lambda m, v: (m / first) / (jnp.sqrt(v / second) + eps), mean, largest
    )
    return updates, AmsgradState(count, mean, square, largest)

  return optax.GradientTransformation(init, update)
