"""What a compressed network still knows, and what it costs."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import chex
import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.nn import accounting
from jaxvision.papers.cascaded_projection import (
  baselines,
  losses,
  network,
  projection,
)
from jaxvision.papers.cascaded_projection.links import Link, Tap


class Evaluator:
  """Measures networks of any widths on the same images, beside their teacher."""

  def __init__(
    self,
    model: nn.Module,
    batches: Callable[[], Iterable[Mapping[str, np.ndarray]]],
    image_shape: Sequence[int],
  ):
    """Takes a network without normalisation, and the test images.

    Args:
      model: the network.
      batches: returns batches of {"image", "label"}, anew at each call.
      image_shape: (H, W, C).
    """
    self._model, self._batches, self._shape = model, batches, tuple(image_shape)
    self._compare = jax.jit(self._compare_batch, static_argnames=("taps", "links"))

  def measure(
    self,
    params: Mapping[str, Any],
    teacher: Mapping[str, Any],
    taps: Sequence[Tap],
    *,
    links: Sequence[Link] = (),
    projections: Mapping[str, chex.Array] | None = None,
  ) -> dict[str, Any]:
    """Returns "accuracy", "top5", and "errors", the normalised error at each tap.

    Args:
      params: of the network.
      teacher: of the original one.
      taps: where to compare them.
      links, projections: not baked yet; see `network.run`.
    """
    totals, count = None, 0
    for batch in self._batches():
      size = len(batch["label"])
      measured = self._compare(
        params,
        teacher,
        dict(batch),
        projections or {},
        taps=tuple(taps),
        links=tuple(links),
      )
      measured = jax.tree.map(lambda value, size=size: size * float(value), measured)
      totals = (
        measured if totals is None else jax.tree.map(operator.add, totals, measured)
      )
      count += size
    accuracy, top5, errors = jax.tree.map(lambda value: value / count, totals)
    paths = (tap.path for tap in taps)
    return {
      "accuracy": accuracy,
      "top5": top5,
      "errors": dict(zip(paths, errors, strict=True)),
    }

  def row(
    self,
    params: Mapping[str, Any],
    teacher: Mapping[str, Any],
    taps: Sequence[Tap],
  ) -> dict[str, Any]:
    """Returns what a network knows and costs, beside its teacher.

    Args:
      params: of the network.
      teacher: of the original one.
      taps: where no projection shortens the features.

    Returns:
      "accuracy" and "top5" in [0, 1]; "error", the mean normalised error at the taps;
      "flops", "parameters" and "activations", and the "flops_left" and
      "activations_left" in [0, 1] of the teacher's.
    """
    measured = self.measure(params, teacher, taps)
    own, full = (cost(self._model, p, self._shape) for p in (params, teacher))
    return {
      "accuracy": measured["accuracy"],
      "top5": measured["top5"],
      "error": float(np.mean(list(measured["errors"].values()))),
      "flops": own.flops,
      "parameters": own.parameters,
      "activations": own.activations,
      "flops_left": own.flops / full.flops,
      "activations_left": own.activations / full.activations,
    }

  def layers(
    self,
    teacher: Mapping[str, Any],
    links: Sequence[Link],
    projections: Mapping[str, chex.Array],
  ) -> list[dict[str, Any]]:
    """Returns {"layer", "error", "accuracy"} of every layer compressed alone.

    Args:
      teacher: parameters of the original network.
      links: the layers.
      projections: P by producer.
    """
    rows = []
    for link in links:
      own = {link.producer: projections[link.producer]}
      measured = self.measure(
        teacher, teacher, (link.tap,), links=(link,), projections=own
      )
      rows.append(
        {
          "layer": link.producer,
          "error": measured["errors"][link.tap.path],
          "accuracy": measured["accuracy"],
        }
      )
    return rows

  def _compare_batch(self, params, teacher, batch, projections, *, taps, links):
    images, labels = batch["image"], batch["label"]
    _, targets = network.run(self._model, teacher, images, taps=taps)
    logits, features = network.run(
      self._model, params, images, links=links, projections=projections, taps=taps
    )
    errors = losses.reconstruction_errors(targets, features)
    return (
      network.accuracy(logits, labels),
      network.accuracy(logits, labels, top=5),
      tuple(errors[tap] for tap in taps),
    )


def cost(
  model: nn.Module, params: Mapping[str, Any], image_shape: Sequence[int]
) -> accounting.Cost:
  """Returns what the network costs with parameters of these widths.

  Args:
    model: a network without normalisation.
    params: arrays or shapes.
    image_shape: (H, W, C).

  Source: M11; the paper's FLOPs are 2 × multiplications of convolutions and dense
    layers, its parameters the weights of convolutions.
  """

  def apply(params, images):
    return network.run(model, params, images)

  return accounting.cost(apply, params, image_shape)


def duplicate_channels(
  params: Mapping[str, Any], link: Link, copies: int
) -> dict[str, Any]:
  """Returns a network of the same function whose channels come in identical groups.

  Every channel of the link's producer is repeated, and the consumer's weights of it
  are shared equally: the network can be compressed without any loss.

  Args:
    params: nested parameters.
    link: where.
    copies: channels in a group, m.
  """
  flat = dict(flax.traverse_util.flatten_dict(dict(params), sep="/"))
  for leaf in (f"{link.producer}/kernel", f"{link.producer}/bias"):
    flat[leaf] = jnp.repeat(flat[leaf], copies, axis=-1)
  leaf = f"{link.consumer}/kernel"
  channels = width_of(params, link.producer)
  spread = jnp.repeat(jnp.eye(channels), copies, axis=0) / copies
  # P^T of project_inputs: here the channels become more.
  flat[leaf] = network.project_inputs(flat[leaf], spread.T)
  return flax.traverse_util.unflatten_dict(flat, sep="/")


def group_projection(groups: int, copies: int) -> chex.Array:
  """Returns the P [groups copies, groups] that merges groups without loss, 1 / √m.

  Args:
    groups: number of groups, r.
    copies: identical channels in each, m.
  """
  chex.assert_scalar_positive(copies)
  return jnp.repeat(jnp.eye(groups), copies, axis=0) / jnp.sqrt(1.0 * copies)


def width_of(params: Mapping[str, Any], layer: str) -> int:
  """Returns the output channels of a layer, given by its path."""
  flat = flax.traverse_util.flatten_dict(dict(params), sep="/")
  return flat[f"{layer}/kernel"].shape[-1]


def exactness(
  model: nn.Module,
  params: Mapping[str, Any],
  link: Link,
  images: chex.Array,
  copies: int = 2,
) -> dict[str, float]:
  """Returns what a duplicated network loses by projection and by L1 pruning.

  Args:
    model: a network without normalisation.
    params: its parameters; the channels at `link` are duplicated here.
    link: where.
    images: [B, H, W, C].
    copies: m.

  Returns:
    "projected" and "pruned", to the original number of channels: the errors at the
    link's tap, and "moved": how far P is from where it was after a step of gradient
    descent of rate 0.1 on its error.
  """
  wide = duplicate_channels(params, link, copies)
  groups = width_of(params, link.producer)
  proxy = {link.producer: group_projection(groups, copies)}
  pruned = baselines.l1_filters(wide, {link.producer: groups})
  _, targets = network.run(model, wide, images, taps=[link.tap])

  def error(proxies):
    _, features = network.run(
      model,
      wide,
      images,
      links=[link],
      projections=projection.project(proxies),
      taps=[link.tap],
    )
    return sum(losses.reconstruction_errors(targets, features).values())

  evaluate = jax.jit(jax.value_and_grad(error))
  projected, gradient = evaluate(proxy)
  stepped = jax.tree.map(lambda x, g: x - 0.1 * g, proxy, gradient)
  moved = projection.project(stepped)[link.producer] - proxy[link.producer]
  return {
    "projected": float(projected),
    "pruned": float(evaluate(pruned)[0]),
    "moved": float(jnp.max(jnp.abs(moved))),
  }
