"""The stages as `experiments.plan` and `experiments.benchmark` take them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxvision.papers.cascaded_projection import links, network, projection, training
from jaxvision.papers.cascaded_projection.links import Link
from jaxvision.train import Stage, State

KINDS = ("train", "project", "relax", "finetune", "scratch")


def stages(
  trained: nn.Module,
  chosen: Sequence[Link],
  ratios: Mapping[str, float],
  image_shape: Sequence[int],
  batch_size: int,
  *,
  one_by_one: bool,
  optimizers: Callable[[str], optax.GradientTransformation],
  steps: Callable[[str, tuple[Link, ...]], Callable],
) -> dict[str, Stage]:
  """Returns a stage of each kind, from random networks and projections.

  Args:
    trained: the network as it is trained, perhaps with normalisation.
    chosen: the links to compress.
    ratios: share of the channels that stays, by producer.
    image_shape: (H, W, C).
    batch_size: images of the global batch.
    one_by_one: whether "project" learns the first projection only, or those of the
      first round.
    optimizers: of each kind.
    steps: (kind, links) -> training step.
  """
  model = trained.clone(norm=False)
  first = tuple(link for link in chosen if link.round == 0)
  first = first[:1] if one_by_one else first
  images = jnp.zeros((1, *image_shape))

  def networks_of(key):
    teacher = model.init(key, images)["params"]
    ranks = links.ranks(chosen, links.widths_of(teacher, chosen), ratios)
    proxies = projection.random_proxies(key, links.widths_of(teacher, chosen), ranks)
    return teacher, proxies, projection.project_kernels(teacher, chosen, proxies)

  def init(kind, key):
    optimizer = optimizers(kind)
    if kind == "train":
      return training.classifier_state(key, trained, images, optimizer)
    teacher, proxies, student = networks_of(key)
    if kind == "scratch":
      return State.create(key, student, optimizer)
    if kind == "project":
      own = {link.producer: proxies[link.producer] for link in first}
      return training.projection_state(key, own, teacher, teacher, optimizer)
    layers = projection.compressed_layers(chosen) if kind == "relax" else None
    return training.kernel_state(key, student, teacher, optimizer, layers=layers)

  def forward(kind, state, batch):
    params, options = state.params, {}
    if kind == "train":
      return trained.apply({"params": params, **state.model_state}, batch["image"])
    if kind == "project":
      options = {"links": first, "projections": projection.project(params["proxies"])}
      params = params["student"]
    elif kind != "scratch":
      params = training.join(params["kernels"], params["rest"])
    return network.run(model, params, batch["image"], **options)[0]

  batch: dict[str, Any] = {
    "image": jax.ShapeDtypeStruct((batch_size, *image_shape), jnp.float32),
    "label": jax.ShapeDtypeStruct((batch_size,), jnp.int32),
  }
  linked = {"project": first, "relax": tuple(chosen), "finetune": tuple(chosen)}
  return {
    kind: Stage(
      name=kind,
      init=lambda key, kind=kind: init(kind, key),
      step=steps(kind, linked.get(kind, ())),
      batch=batch,
      forward=lambda state, batch, kind=kind: forward(kind, state, batch),
    )
    for kind in KINDS
  }
