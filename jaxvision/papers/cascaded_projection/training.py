"""The stages of training: the classifier, projections, relaxation, fine-tuning (M9).

Networks under compression are without normalisation. The groups of `State.params` are
- "proxies": X_i by producer, with "student", the network that they compress, and
  "teacher", the original one, both frozen;
- "kernels" and "rest": {path of a leaf: array}, the compressed network's parameters
  that are trained and those that are not, with "teacher".
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import chex
import flax.linen as nn
import flax.traverse_util
import jax
import optax

from jaxvision.papers.cascaded_projection import losses, network, projection
from jaxvision.papers.cascaded_projection.links import Link, Tap, final_taps, taps_of
from jaxvision.train import State, gradient_step

Optimizer = optax.GradientTransformation


def classifier_step(model: nn.Module, optimizer: Optimizer) -> Callable:
  """Returns the step that trains a classifier by cross-entropy.

  Args:
    model: a network, with or without normalisation.
    optimizer: of its parameters, `State.params`.
  """

  def loss_fn(params, model_state, batch, rng):
    logits, model_state = model.apply(
      {"params": params, **model_state},
      batch["image"],
      train=True,
      rngs={"dropout": rng},
      mutable=list(model_state),
    )
    loss = losses.cross_entropy(logits, batch["label"])
    metrics = {"accuracy": network.accuracy(logits, batch["label"])}
    return loss, (metrics, model_state)

  return gradient_step(loss_fn, optimizer)


def classifier_state(
  key: chex.PRNGKey, model: nn.Module, images: chex.Array, optimizer: Optimizer
) -> State:
  """Returns the state that `classifier_step` starts from.

  Args:
    key: random key.
    model: a network.
    images: [1, H, W, C], of which only the shape matters.
    optimizer: of its parameters.
  """
  variables = dict(model.init(key, images))
  params = variables.pop("params")
  return State.create(key, params, optimizer, model_state=variables)


def projection_step(
  model: nn.Module,
  links: Sequence[Link],
  optimizer: Optimizer,
  *,
  mode: Literal["simultaneous", "layerwise"] = "simultaneous",
  gamma: float = 1.0,
  rescale_every: int = 0,
) -> Callable:
  """Returns the step that learns the proxy matrices of some links.

  "simultaneous" runs the network with all projections, so that errors accumulate and
  each P hears of those after it; its loss is the sum of all reconstruction errors
  and γ times the cross-entropy. "layerwise" compresses one layer at a time, behind
  the true features I_i: every P has a loss of its own, and the step takes the sum.

  Args:
    model: the network without normalisation.
    links: whose projections are learned.
    optimizer: of the proxies.
    mode: see above.
    gamma: γ, weight of the cross-entropy.
    rescale_every: steps between divisions of every X by its largest singular value;
      0 for never.

  Source: Eqs. 9-11.
  """
  taps = taps_of(links)

  def loss_fn(params, model_state, batch, rng):
    del rng
    images, labels = batch["image"], batch["label"]
    _, targets = network.run(model, params["teacher"], images, taps=taps)
    projections = projection.project(params["proxies"])
    groups = [links] if mode == "simultaneous" else [[link] for link in links]
    total, errors = 0.0, []
    for group in groups:
      logits, features = network.run(
        model,
        params["student"],
        images,
        links=group,
        projections={link.producer: projections[link.producer] for link in group},
        taps=taps_of(group),
      )
      errors += losses.reconstruction_errors(targets, features).values()
      if gamma:  # else nothing behind the tap needs to be computed
        total += gamma * losses.cross_entropy(logits, labels)
    metrics = {
      "reconstruction": sum(errors) / len(errors),
      "last_reconstruction": errors[-1],
    }
    return total + sum(errors), (metrics, model_state)

  learn = gradient_step(loss_fn, optimizer, group="proxies")
  if not rescale_every:
    return learn

  def step(state, batch):
    state, metrics = learn(state, batch)
    proxies = jax.lax.cond(
      state.step % rescale_every == 0,
      projection.rescale,
      dict,
      state.params["proxies"],
    )
    return state.replace(params={**state.params, "proxies": proxies}), metrics

  return step


def projection_state(
  key: chex.PRNGKey,
  proxies: Mapping[str, chex.Array],
  student: Mapping[str, Any],
  teacher: Mapping[str, Any],
  optimizer: Optimizer,
) -> State:
  """Returns the state that `projection_step` starts from; see the module's text."""
  params = {"proxies": dict(proxies), "student": student, "teacher": teacher}
  return State.create(key, params, _only("proxies", params, optimizer))


def kernel_step(
  model: nn.Module, links: Sequence[Link], optimizer: Optimizer, *, gamma: float = 0.0
) -> Callable:
  """Returns the step that trains the kernels of a compressed network.

  Kernel relaxation is without cross-entropy: the normalised reconstruction error at
  the features that are not projected. With γ it is the fine-tuning's mixture loss.

  Args:
    model: the network without normalisation.
    links: all that were compressed.
    optimizer: of the group "kernels".
    gamma: γ, weight of the cross-entropy.
  """
  taps: tuple[Tap, ...] = final_taps(links)

  def loss_fn(params, model_state, batch, rng):
    del rng
    student = join(params["kernels"], params["rest"])
    images, labels = batch["image"], batch["label"]
    _, targets = network.run(model, params["teacher"], images, taps=taps)
    logits, features = network.run(model, student, images, taps=taps)
    error = sum(losses.reconstruction_errors(targets, features).values())
    loss = error
    if gamma:
      loss += gamma * losses.cross_entropy(logits, labels)
    metrics = {"reconstruction": error / len(taps)}
    return loss, (metrics, model_state)

  return gradient_step(loss_fn, optimizer, group="kernels")


def kernel_state(
  key: chex.PRNGKey,
  student: Mapping[str, Any],
  teacher: Mapping[str, Any],
  optimizer: Optimizer,
  *,
  layers: Collection[str] | None = None,
) -> State:
  """Returns the state that `kernel_step` starts from.

  Args:
    key: random key.
    student: nested parameters of the compressed network.
    teacher: those of the original one.
    optimizer: of the kernels that are trained.
    layers: paths of the layers that are trained: for relaxation the compressed ones;
      all when None, for fine-tuning.
  """
  flat = flax.traverse_util.flatten_dict(dict(student), sep="/")
  kernels = {
    name: leaf
    for name, leaf in flat.items()
    if layers is None or name.rpartition("/")[0] in layers
  }
  rest = {name: leaf for name, leaf in flat.items() if name not in kernels}
  params = {"kernels": kernels, "rest": rest, "teacher": teacher}
  return State.create(key, params, _only("kernels", params, optimizer))


def scratch_step(model: nn.Module, optimizer: Optimizer) -> Callable:
  """Returns the step that trains a compressed network from scratch.

  Args:
    model: the network without normalisation.
    optimizer: of the parameters, `State.params`, of any widths.
  """

  def loss_fn(params, model_state, batch, rng):
    del rng
    logits, _ = network.run(model, params, batch["image"])
    loss = losses.cross_entropy(logits, batch["label"])
    metrics = {"accuracy": network.accuracy(logits, batch["label"])}
    return loss, (metrics, model_state)

  return gradient_step(loss_fn, optimizer)


def join(kernels: Mapping[str, chex.Array], rest: Mapping[str, chex.Array]) -> dict:
  """Returns the nested parameters of the groups "kernels" and "rest"."""
  return flax.traverse_util.unflatten_dict({**rest, **kernels}, sep="/")


def _only(group: str, params: Mapping[str, Any], optimizer: Optimizer) -> dict:
  """Returns one optimiser a group, of which only one does anything."""
  return {name: optimizer if name == group else optax.set_to_zero() for name in params}


def late_decay(rate: float, steps: int) -> optax.Schedule:
  """Returns a rate that is constant and falls along a cosine in the last quarter.

  Args:
    rate: learning rate.
    steps: at which it reaches 0.
  """
  constant = steps * 3 // 4
  falling = optax.cosine_decay_schedule(rate, max(steps - constant, 1))
  return optax.join_schedules([optax.constant_schedule(rate), falling], [constant])
