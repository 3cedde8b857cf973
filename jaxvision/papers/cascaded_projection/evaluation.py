"""What a compressed network still knows, and what it costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import chex
import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.nn import accounting
from jaxvision.papers.cascaded_projection import losses, network, projection
from jaxvision.papers.cascaded_projection.links import Link, Tap


class Evaluator:
  """Measures networks of any widths on the same images, beside their teacher."""

  def __init__(self, model: nn.Module, batches: Sequence[Mapping[str, np.ndarray]]):
    """Takes a network without normalisation, and the test images.

    Args:
      model: the network.
      batches: of {"image", "label"}.
    """
    self._model = model
    self._batches = [jax.tree.map(jnp.asarray, dict(batch)) for batch in batches]
    self._look = jax.jit(self._look_at, static_argnames="taps")

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
    for batch in self._batches:
      size = len(batch["label"])
      measured = self._look(
        params, teacher, batch, projections or {}, taps=(tuple(taps), tuple(links))
      )
      measured = jax.tree.map(lambda value, size=size: size * value, measured)
      totals = measured if totals is None else jax.tree.map(jnp.add, totals, measured)
      count += size
    means = jax.tree.map(lambda value: float(value) / count, totals)
    return {
      "accuracy": means[0],
      "top5": means[1],
      "errors": dict(zip((tap.path for tap in taps), means[2], strict=True)),
    }

  def _look_at(self, params, teacher, batch, projections, *, taps):
    taps, links = taps
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
  channels = params_width(params, link.producer)
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


def params_width(params: Mapping[str, Any], layer: str) -> int:
  """Returns the output channels of a layer, given by its path."""
  return flax.traverse_util.flatten_dict(dict(params), sep="/")[
    f"{layer}/kernel"
  ].shape[-1]


def exactness(
  model: nn.Module,
  params: Mapping[str, Any],
  link: Link,
  images: chex.Array,
  pruned: chex.Array,
  copies: int,
) -> dict[str, float]:
  """Returns what a duplicated network loses by projection and by pruning.

  Args:
    model: a network without normalisation.
    params: its parameters; the channels at `link` are duplicated here.
    link: where.
    images: [B, H, W, C].
    pruned: P of a pruning to the original number of channels.
    copies: m.

  Returns:
    "projected" and "pruned", the errors at the link's tap, and "moved": how far P is
    from where it was after a step of gradient descent of rate 0.1 on its error.
  """
  wide = duplicate_channels(params, link, copies)
  groups = params_width(params, link.producer)
  proxy = {link.producer: group_projection(groups, copies)}
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

  projected, gradient = jax.jit(jax.value_and_grad(error))(proxy)
  stepped = jax.tree.map(lambda x, g: x - 0.1 * g, proxy, gradient)
  moved = projection.project(stepped)[link.producer] - proxy[link.producer]
  return {
    "projected": float(projected),
    "pruned": float(error({link.producer: pruned})),
    "moved": float(jnp.max(jnp.abs(moved))),
  }
