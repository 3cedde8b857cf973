"""All ways to a compressed network: projections, baselines, relaxation (M9, M10)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import optax

from jaxvision.papers.cascaded_projection import baselines, links, projection, training
from jaxvision.papers.cascaded_projection.links import Link
from jaxvision.train import State

# (kind of stage, what sets it apart, state, links) -> the state after that stage.
# Kinds are "project", "alone", "relax", "finetune" and "scratch".
Learn = Callable[[str, str, State, tuple[Link, ...]], State]


class Compressor:
  """Compresses one trained network to one choice of widths.

  Attributes:
    links: what is compressed.
    ranks: r by producer.
  """

  def __init__(
    self,
    model: nn.Module,
    teacher: Mapping[str, Any],
    chosen: Sequence[Link],
    ratios: Mapping[str, float],
    *,
    seed: int,
    optimizers: Callable[[str], optax.GradientTransformation],
    learn: Learn,
  ):
    """Takes the network, and how its stages are learned, or restored.

    Args:
      model: without normalisation.
      teacher: its parameters.
      chosen: the links to compress.
      ratios: share of the channels that stays, by producer.
      seed: of starts and of training.
      optimizers: of each kind of stage.
      learn: see above.
    """
    self.links = tuple(chosen)
    self._widths = links.widths_of(teacher, self.links)
    self.ranks = links.ranks(self.links, self._widths, ratios)
    self._model, self._teacher = model, teacher
    self._seed, self._optimizers, self._learn = seed, optimizers, learn

  def random(self) -> dict[str, chex.Array]:
    """Returns random orthonormal projections, where learning starts."""
    key = jax.random.key(100 + self._seed)
    return projection.random_proxies(key, self._widths, self.ranks)

  def principal(self, images: chex.Array) -> dict[str, chex.Array]:
    """Returns the PCA projections of the outputs for images [N, H, W, C]."""
    return baselines.principal_projections(
      self._model, self._teacher, images, self.ranks
    )

  def projections(
    self,
    kind: str = "project",
    images: chex.Array | None = None,
    *,
    one_by_one: bool = False,
  ) -> dict[str, chex.Array]:
    """Returns learned projections.

    The second ones of bottlenecks are learned after the first ones, frozen: both at
    once is unstable.

    Args:
      kind: "project", or "alone" for every layer alone.
      images: start from the PCA of these instead of at random.
      one_by_one: whether every projection has a stage of its own, in the otherwise
        uncompressed network.
    """
    starts = self.random() if images is None else self.principal(images)
    name = "random" if images is None else "pca"
    if kind == "alone":
      turns = {"all": self.links}
    elif one_by_one:
      turns = {link.producer.replace("/", "_"): (link,) for link in self.links}
    else:
      turns = {
        f"round{number}": tuple(link for link in self.links if link.round == number)
        for number in sorted({link.round for link in self.links})
      }
    learned, student = {}, self._teacher
    for turn, mine in turns.items():
      state = training.projection_state(
        jax.random.key(self._seed),
        {link.producer: starts[link.producer] for link in mine},
        student,
        self._teacher,
        self._optimizers(kind),
      )
      state = self._learn(kind, f"{name}-{turn}", state, mine)
      found = projection.project(state.params["proxies"])
      if not one_by_one:
        student = projection.bake(student, mine, found)
      learned |= found
    return learned

  def bake(self, projections: Mapping[str, chex.Array]) -> dict[str, Any]:
    """Returns the network compressed by projections."""
    return projection.bake(self._teacher, self.links, projections)

  def train_kernels(
    self, kind: str, name: str, student: Mapping[str, Any]
  ) -> dict[str, Any]:
    """Returns a compressed network after relaxation or fine-tuning.

    Args:
      kind: "relax", the compressed layers by reconstruction, or "finetune", all by the
        mixture loss.
      name: what sets this training apart.
      student: the network to start from.
    """
    layers = projection.compressed_layers(self.links) if kind == "relax" else None
    state = training.kernel_state(
      jax.random.key(self._seed),
      student,
      self._teacher,
      self._optimizers(kind),
      layers=layers,
    )
    state = self._learn(kind, name, state, self.links)
    return training.join(state.params["kernels"], state.params["rest"])

  def scratch(self, shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a network of the same widths that was trained from scratch."""
    fresh = baselines.fresh(jax.random.key(200 + self._seed), shapes)
    key, optimizer = jax.random.key(self._seed), self._optimizers("scratch")
    state = State.create(key, fresh, optimizer)
    return self._learn("scratch", "he", state, ()).params

  def every_way(
    self,
    images: chex.Array,
    *,
    one_by_one: bool,
    starts: Sequence[str],
    relaxed: Sequence[str],
    finetune: bool,
    scratch: bool,
  ) -> dict[str, dict[str, Any]]:
    """Returns {method: compressed network} for every method.

    Args:
      images: that PCA is taken over.
      one_by_one: see `projections`.
      starts: of learned projections, "random" and maybe "pca".
      relaxed: the methods that are relaxed too.
      finetune: whether the relaxed CaP is fine-tuned too.
      scratch: whether the same widths are trained from scratch too.
    """
    learned = self.projections(one_by_one=one_by_one)
    networks = {"CaP": self.bake(learned)}
    if "pca" in starts:
      learned = self.projections(images=images, one_by_one=one_by_one)
      networks["CaP, PCA start"] = self.bake(learned)
    networks |= self.unlearned_ways(images)
    for way in relaxed:
      networks[f"{way} + relaxation"] = self.train_kernels("relax", way, networks[way])
    if finetune:
      networks["CaP + relaxation + FT"] = self.train_kernels(
        "finetune", "CaP", networks["CaP + relaxation"]
      )
    if scratch:
      networks["scratch"] = self.scratch(networks["CaP"])
    return networks

  def unlearned_ways(self, images: chex.Array) -> dict[str, dict[str, Any]]:
    """Returns {method: network} of the methods that learn nothing."""
    principal = self.principal(images)
    found = {
      "random": self.random(),
      "L1": baselines.l1_filters(self._teacher, self.ranks),
      "PCA": principal,
    }
    networks = {way: self.bake(p) for way, p in found.items()}
    networks["PCA, re-projected"] = baselines.factorise(
      self._teacher, self.links, principal
    )
    return networks
