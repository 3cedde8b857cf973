"""Training steps of the three tasks, for networks of either kind."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxvision.papers.rscnn import augmentation, grouping, losses, metrics, schedules
from jaxvision.train import State, gradient_step

Task = Literal["classification", "parts", "normals"]


@dataclasses.dataclass(frozen=True)
class Preparation:
  """How stored clouds become a training batch.

  Attributes:
    count: points that the network sees.
    candidates: points far from each other that they are taken from; 0 for all.
    augment: whether to stretch and shift.
    scale: smallest and largest factor.
    shift: largest, along each axis.
    drop: largest share of points that repeat the first one; 0 for none.
  """

  count: int
  candidates: int = 0
  augment: bool = True
  scale: tuple[float, float] = augmentation.SCALES
  shift: float = augmentation.SHIFT
  drop: float = 0.0

  def __call__(
    self, key: chex.PRNGKey, batch: Mapping[str, chex.Array]
  ) -> dict[str, chex.Array]:
    """Returns "points", "normals", "parts" of a random subset, and "label".

    Args:
      key: random key.
      batch: "points" [B, N, 3], perhaps "normals" [B, N, 3], "parts" [B, N], "label"
        [B].
    """
    subset_key, scale_key, drop_key = jax.random.split(key, 3)
    chosen = augmentation.subset_indices(
      subset_key, batch["points"], self.count, self.candidates
    )
    seen = {
      name: grouping.take(values, chosen) if values.ndim > 1 else values
      for name, values in batch.items()
    }
    if self.augment:
      seen["points"], normals = augmentation.scale_and_shift(
        scale_key,
        seen["points"],
        seen.get("normals"),
        limits=self.scale,
        shift=self.shift,
      )
      if normals is not None:
        seen["normals"] = normals
    if self.drop:
      seen["points"] = augmentation.drop_points(drop_key, seen["points"], self.drop)
    return seen


@dataclasses.dataclass(frozen=True)
class Model:
  """A network, what it is for, and what it must be told beside the points.

  Attributes:
    network: a module of `networks` or `baselines`.
    task: what it is for.
    categories: shapes' categories that a labeller is told; 0 for none.
    takes_normals: whether normals are an input.
    oriented: whether true normals have a meaningful sign.
  """

  network: nn.Module
  task: Task
  categories: int = 0
  takes_normals: bool = False
  oriented: bool = True

  def inputs(self, batch: Mapping[str, chex.Array]) -> tuple[tuple, dict]:
    """Returns the network's arguments for a batch."""
    arguments = [batch["points"]]
    if self.task != "classification" and self.categories:
      arguments.append(jax.nn.one_hot(batch["label"], self.categories))
    named = {"normals": batch["normals"]} if self.takes_normals else {}
    return tuple(arguments), named

  def init(self, key: chex.PRNGKey, batch: Mapping[str, chex.Array]) -> dict:
    """Returns the network's variables for batches such as this one."""
    arguments, named = self.inputs(batch)
    return self.network.init(key, *arguments, **named)

  def apply(
    self,
    variables: Mapping[str, Any],
    batch: Mapping[str, chex.Array],
    key: chex.PRNGKey | None = None,
  ) -> chex.Array:
    """Returns what the network gives for a batch, unit vectors for normals.

    Args:
      variables: "params" and "batch_stats".
      batch: its inputs.
      key: of the random order of sampled points; None keeps their order.
    """
    arguments, named = self.inputs(batch)
    rngs = None if key is None else {"permutation": key}
    output = self.network.apply(variables, *arguments, **named, rngs=rngs)
    return losses.unit(output) if self.task == "normals" else output

  def loss(
    self, output: chex.Array, batch: Mapping[str, chex.Array]
  ) -> tuple[chex.Array, dict[str, chex.Array]]:
    """Returns the mean loss of a batch, and metrics."""
    if self.task == "normals":
      errors = losses.cosine_loss(output, batch["normals"], oriented=self.oriented)
      return jnp.mean(errors), {}
    truth = batch["label" if self.task == "classification" else "parts"]
    loss = jnp.mean(losses.cross_entropy(output, truth))
    if self.task == "classification":
      return loss, {"accuracy": metrics.accuracy(output, truth)}
    return loss, {"accuracy": jnp.mean(jnp.argmax(output, axis=-1) == truth)}


def state(
  key: chex.PRNGKey,
  model: Model,
  preparation: Preparation,
  optimizer: optax.GradientTransformation,
  batch: Mapping[str, jax.ShapeDtypeStruct],
) -> State:
  """Returns the state before the first step.

  Args:
    key: random key.
    model: what is trained.
    preparation: of its batches.
    optimizer: of its parameters.
    batch: shapes of a stored batch.
  """
  empty = {
    name: jnp.zeros((1, *leaf.shape[1:]), leaf.dtype) for name, leaf in batch.items()
  }
  variables = model.init(key, preparation(key, empty))
  # The weight of a new batch's statistics follows from the number of updates.
  return State.create(
    key,
    variables["params"],
    optimizer,
    model_state={
      "batch_stats": variables.get("batch_stats", {}),
      "updates": jnp.zeros((), jnp.int32),
    },
  )


def step(
  model: Model,
  preparation: Preparation,
  optimizer: optax.GradientTransformation,
  momentum: Callable[[chex.Array], chex.Array],
  *,
  accumulate: int = 1,
) -> Callable:
  """Returns the training step.

  Args:
    model: what is trained.
    preparation: of its batches.
    optimizer: of its parameters.
    momentum: number of updates -> weight of a new batch's statistics.
    accumulate: see `gradient_step`.
  """

  def loss_fn(params, model_state, batch, rng):
    keys = jax.random.split(rng, 3)
    batch = preparation(keys[0], batch)
    arguments, named = model.inputs(batch)
    updates = model_state["updates"]
    output, changed = model.network.apply(
      {"params": params, "batch_stats": model_state["batch_stats"]},
      *arguments,
      **named,
      train=True,
      momentum=momentum(updates),
      rngs={"dropout": keys[1], "permutation": keys[2]},
      mutable=["batch_stats"],
    )
    loss, measured = model.loss(output, batch)
    statistics = changed.get("batch_stats", {})
    new_state = {"batch_stats": statistics, "updates": updates + 1}
    return loss, (measured, new_state)

  return gradient_step(loss_fn, optimizer, accumulate=accumulate)


def step_decay(
  rate: float, epoch_steps: int, *, decay: float, every: int
) -> Callable[[chex.Array], chex.Array]:
  """Returns step -> learning rate, which falls by `decay` every `every` epochs."""

  def at(step):
    epoch = step // epoch_steps
    return rate * schedules.learning_rate_factor(epoch, decay=decay, every=every)

  return at


def momentum_decay(epoch_steps: int, every: int) -> Callable[[chex.Array], chex.Array]:
  """Returns step -> weight of a new batch's statistics, which halves as it goes."""
  return lambda step: schedules.norm_momentum(step // epoch_steps, every=every)


def fixed_momentum(weight: float) -> Callable[[chex.Array], chex.Array]:
  """Returns step -> always the same weight of a new batch's statistics."""
  return lambda step: jnp.full_like(step, weight, jnp.float32)


def variables_of(state: State) -> dict[str, Any]:
  """Returns "params" and "batch_stats" of a state."""
  stats = state.model_state["batch_stats"]
  return {"params": state.params, "batch_stats": stats}
