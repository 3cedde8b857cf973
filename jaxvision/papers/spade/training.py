"""One iteration: the generator's step, then the discriminator's (M9)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxvision.papers.spade import losses, semantics
from jaxvision.papers.spade.discriminator import Judgement, judge_pairs
from jaxvision.papers.spade.encoder import reparameterize
from jaxvision.papers.spade.generator import LATENT
from jaxvision.train import Stage, State, gradient_step, sequence

Batch = Mapping[str, chex.Array]
Variables = dict[str, dict[str, Any]]  # of each network, without its params

GENERATOR, DISCRIMINATOR, VGG = "generator", "discriminator", "vgg"


@dataclasses.dataclass(frozen=True)
class Networks:
  """What is trained, and how labels become its input.

  Attributes:
    generator: a `Generator` or `Pix2PixHDGenerator`.
    discriminator: a `Discriminator`.
    encoder: a `StyleEncoder` where styles are encoded (VAE), or None.
    num_classes, unknown_class: see `semantics.encode`.
  """

  generator: nn.Module
  discriminator: nn.Module
  encoder: nn.Module | None = None
  num_classes: int = 182
  unknown_class: bool = False

  @property
  def latent(self) -> int:
    """Width of the vector that the generator starts from; 0 where it takes none."""
    if getattr(self.generator, "start", None) != "latent":
      return 0
    return LATENT if self.encoder is None else self.encoder.latent


@dataclasses.dataclass(frozen=True)
class Objective:
  """Which losses, and their weights.

  Attributes:
    mode: of the adversarial loss, see `losses`.
    features: weight of matched features; 0 for none.
    perceptual: weight of the perceptual loss, where the model state holds a VGG-19.
    style: weight of the styles' divergence.
  """

  mode: losses.Mode = "hinge"
  features: float = losses.FEATURES_WEIGHT
  perceptual: float = losses.PERCEPTUAL_WEIGHT
  style: float = losses.STYLE_WEIGHT


class Generated(NamedTuple):
  """Images [B, H, W, 3] in [-1, 1], the styles' distribution, new model state."""

  images: chex.Array
  style: tuple[chex.Array, chex.Array] | None
  model_state: Variables


def encode(networks: Networks, batch: Batch) -> chex.Array:
  """Returns the semantics [B, H, W, S] of a batch.

  Args:
    networks: tells the classes.
    batch: {"labels": [B, H, W] int} and, where instances are used, "instances".
  """
  return semantics.encode(
    batch["labels"],
    batch.get("instances"),
    networks.num_classes,
    unknown_class=networks.unknown_class,
  )


def generate(
  networks: Networks,
  params: Mapping[str, Any],
  model_state: Variables,
  maps: chex.Array,
  key: chex.PRNGKey,
  *,
  style_images: chex.Array | None = None,
  train: bool = False,
) -> Generated:
  """Returns images for semantics.

  Args:
    networks: the networks.
    params: {"generator": ..., "encoder": ... where there is one}.
    model_state: the other collections of each.
    maps: [B, H, W, S] semantics.
    key: of the style's draw.
    style_images: [B, h, w, 3] in [-1, 1], whose style is taken where there is an
      encoder; None draws from N(0, I).
    train: whether statistics are the batch's, and power iterations go on.
  """
  latent, style = None, None
  if networks.encoder is not None and style_images is not None:
    style, model_state = _apply(
      networks.encoder, "encoder", params, model_state, style_images, train=train
    )
    latent = reparameterize(key, *style)
  elif networks.latent:
    latent = jax.random.normal(key, (len(maps), networks.latent))
  images, model_state = _apply(
    networks.generator, GENERATOR, params, model_state, maps, latent, train=train
  )
  return Generated(images, style, model_state)


def generator_objective(
  networks: Networks,
  objective: Objective,
  params: Mapping[str, Any],
  model_state: Variables,
  batch: Batch,
  key: chex.PRNGKey,
  *,
  train: bool = True,
) -> tuple[chex.Array, tuple[dict[str, chex.Array], Variables]]:
  """Returns the generator's and encoder's loss, its parts, and new model state.

  Args:
    networks: the networks.
    objective: the losses.
    params: {"generator": params of generator and encoder, "discriminator": ...}.
    model_state: the other collections of each.
    batch: see `encode`, and "images" [B, H, W, 3] in [0, 1].
    key: of the style's draw.
    train: see `generate`.

  Source: compute_generator_loss of models/pix2pix_model.py.
  """
  made = _adversaries(networks, params, model_state, batch, key, train)
  parts = {"adversarial": losses.generator_loss(made.fakes, objective.mode)}
  if objective.features:
    matched = losses.feature_matching_loss(made.fakes, made.reals)
    parts["features"] = objective.features * matched
  if VGG in model_state:
    distance = losses.perceptual_loss(model_state[VGG], made.fake, made.real)
    parts["perceptual"] = objective.perceptual * distance
  if made.style is not None:
    parts["style"] = objective.style * losses.style_divergence(*made.style)
  return sum(parts.values()), (parts, made.model_state)


def discriminator_objective(
  networks: Networks,
  objective: Objective,
  params: Mapping[str, Any],
  model_state: Variables,
  batch: Batch,
  key: chex.PRNGKey,
  *,
  train: bool = True,
) -> tuple[chex.Array, tuple[dict[str, chex.Array], Variables]]:
  """Returns the discriminator's loss; arguments as `generator_objective`.

  The generator makes its images anew, without gradient but in training mode: running
  statistics and power iterations go on in this pass too.

  Source: compute_discriminator_loss of models/pix2pix_model.py.
  """
  made = _adversaries(networks, params, model_state, batch, key, train, detached=True)
  parts = {
    "fake": losses.discriminator_loss(made.fakes, False, objective.mode),
    "real": losses.discriminator_loss(made.reals, True, objective.mode),
  }
  return sum(parts.values()), (parts, made.model_state)


def init(
  networks: Networks,
  key: chex.PRNGKey,
  batch: Batch,
  optimizers: Mapping[str, optax.GradientTransformation],
  vgg: Mapping[str, Any] | None = None,
) -> State:
  """Returns the state before the first step.

  Args:
    networks: the networks.
    key: of all random numbers.
    batch: see `generator_objective`; only its shapes matter.
    optimizers: of each group, see `two_time_scales`.
    vgg: variables of VGG-19 for the perceptual loss, which the state keeps; None for
      none.
  """
  train_key, *keys = jax.random.split(key, 4)
  maps, images = encode(networks, batch), jnp.asarray(batch["images"])
  width = networks.latent
  latent = jnp.zeros((len(maps), width)) if width else None
  variables = {
    GENERATOR: networks.generator.init(keys[0], maps, latent),
    DISCRIMINATOR: networks.discriminator.init(keys[1], maps, images),
  }
  if networks.encoder is not None:
    variables["encoder"] = networks.encoder.init(keys[2], images)
  params = {name: tree["params"] for name, tree in variables.items()}
  model_state = {
    name: {key: value for key, value in tree.items() if key != "params"}
    for name, tree in variables.items()
  }
  if vgg is not None:
    model_state[VGG] = vgg
  discriminator = params.pop(DISCRIMINATOR)
  return State.create(
    train_key,
    {GENERATOR: params, DISCRIMINATOR: discriminator},
    dict(optimizers),
    model_state=model_state,
  )


def make_step(
  networks: Networks,
  objective: Objective,
  optimizers: Mapping[str, optax.GradientTransformation],
) -> Callable[[State, Batch], tuple[State, dict[str, chex.Array]]]:
  """Returns step(state, batch) -> (state, metrics), both updates on one batch."""

  def part(group, function):
    def loss(params, model_state, batch, key):
      return function(networks, objective, params, model_state, batch, key)

    return gradient_step(loss, optimizers[group], group=group)

  return sequence(
    part(GENERATOR, generator_objective),
    part(DISCRIMINATOR, discriminator_objective),
  )


def stage(
  name: str,
  networks: Networks,
  objective: Objective,
  optimizers: Mapping[str, optax.GradientTransformation],
  batch: Mapping[str, jax.ShapeDtypeStruct],
  *,
  perceptual: bool = False,
) -> Stage:
  """Returns the training of a generator against its discriminator.

  Args:
    name: of the stage.
    networks: what is trained.
    objective: the losses.
    optimizers: of each group.
    batch: shapes of the global batch, see `generator_objective`.
    perceptual: whether there is a perceptual loss; the VGG-19 of a new state is random
      until `with_vgg` puts the trained one there.
  """

  def initial(key):
    zeros = {name: jnp.zeros((1, *s.shape[1:]), s.dtype) for name, s in batch.items()}
    vgg = losses.random_vgg(jax.random.fold_in(key, 1)) if perceptual else None
    return init(networks, key, zeros, optimizers, vgg)

  def forward(state, batch):
    params, maps = state.params[GENERATOR], encode(networks, batch)
    key = jax.random.key(0)
    return generate(networks, params, state.model_state, maps, key).images

  return Stage(
    name=name,
    init=initial,
    step=make_step(networks, objective, optimizers),
    batch=dict(batch),
    forward=forward,
  )


def with_vgg(state: State, vgg: Mapping[str, Any]) -> State:
  """Returns a state whose perceptual loss looks through these variables of VGG-19."""
  return state.replace(model_state={**state.model_state, VGG: vgg})


def two_time_scales(
  rate: float = 2e-4,
  *,
  equal: bool = False,
  steps_per_epoch: int = 1,
  constant_epochs: int = 50,
  decay_epochs: int = 0,
) -> dict[str, optax.GradientTransformation]:
  """Returns Adam for generator and discriminator.

  Args:
    rate: base learning rate: the generator's is half of it, the discriminator's twice.
    equal: whether both have the base rate, with betas 0.5 and 0.999 instead of 0 and
      0.9 (pix2pixHD's training).
    steps_per_epoch: updates of each network in an epoch.
    constant_epochs: epochs before the rate decays.
    decay_epochs: epochs over which it falls to 0, once an epoch; 0 for never.

  Source: options/train_options.py, Heusel et al., NIPS 2017. The arXiv version states
    0.999 for the second beta.
  """

  def schedule(base):
    if not decay_epochs:
      return base
    return lambda count: (
      base * decay_factor(count // steps_per_epoch, constant_epochs, decay_epochs)
    )

  b1, b2 = (0.5, 0.999) if equal else (0.0, 0.9)
  scales = (1.0, 1.0) if equal else (0.5, 2.0)
  return {
    group: optax.adam(schedule(rate * scale), b1=b1, b2=b2)
    for group, scale in zip((GENERATOR, DISCRIMINATOR), scales, strict=True)
  }


def decay_factor(
  epochs_done: chex.Numeric, constant_epochs: int, decay_epochs: int
) -> chex.Array:
  """Returns the share of the learning rate after so many epochs, in [0, 1]."""
  decayed = jnp.maximum(epochs_done - constant_epochs, 0) / decay_epochs
  return jnp.maximum(1.0 - decayed, 0.0)


def _apply(network, name, params, model_state, *args, train):
  """Applies a network; returns its result and the model state with its part new."""
  variables = {"params": params[name], **model_state[name]}
  if not train:
    return network.apply(variables, *args, train=False), model_state
  result, new = network.apply(
    variables, *args, train=True, mutable=list(model_state[name])
  )
  return result, {**model_state, name: new}


class _Adversaries(NamedTuple):
  """Fake and real images, how they are judged, the styles, and new model state."""

  fake: chex.Array
  real: chex.Array
  fakes: list[Judgement]
  reals: list[Judgement]
  style: tuple[chex.Array, chex.Array] | None
  model_state: Variables


def _adversaries(networks, params, model_state, batch, key, train, detached=False):
  """Generates images and judges them beside the real ones, as both losses do."""
  maps, real = encode(networks, batch), semantics.to_signed(batch["images"])
  fake, style, model_state = generate(
    networks,
    params[GENERATOR],
    model_state,
    maps,
    key,
    style_images=real,
    train=train,
  )
  if detached:
    fake = jax.lax.stop_gradient(fake)
  variables = {"params": params[DISCRIMINATOR], **model_state[DISCRIMINATOR]}
  options = {"mutable": list(model_state[DISCRIMINATOR])} if train else {}
  fakes, reals, new = judge_pairs(
    networks.discriminator, variables, maps, fake, real, train=train, **options
  )
  if train:
    model_state = {**model_state, DISCRIMINATOR: new}
  return _Adversaries(fake, real, fakes, reals, style, model_state)
