"""The training step: discriminator, average of the generator, generator (M10-M16)."""

from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvision.ops.interpolation import lerp
from jaxvision.papers.stylegan import growing, losses
from jaxvision.papers.stylegan.discriminator import Discriminator
from jaxvision.papers.stylegan.generator import Generator
from jaxvision.papers.stylegan.optimizer import adam, skip_nonfinite
from jaxvision.train import Stage, State, gradient_step, sequence

GROUPS = ("discriminator", "generator")
_GENERATOR_LOSS = {"logistic": "nonsaturating", "wgan": "wgan", "hinge": "wgan"}


class Adversaries:
  """Both networks and what they learn from each other.

  A `State` of them has {"discriminator", "generator"} as parameters, the moving average
  of the generator's as `ema`, and as model state what is not learned: "average" and
  "noise" of the generator; "fade" {"first", "change"} and "mixing" (the probability),
  which differ between segments and configurations that share a compiled step.
  """

  def __init__(
    self,
    generator: Generator,
    discriminator: Discriminator,
    *,
    latent: int,
    loss: str = "logistic",
    penalty: float = 10.0,
    mirror: bool = True,
    repeats: int = 4,
    half_life: float = 10.0,
  ):
    """Takes the networks and the numbers of training.

    Args:
      generator: with styles or not; only those that have them can mix.
      discriminator: of the same resolution.
      latent: length of z.
      loss: "logistic" with R1; "wgan" or "hinge" with the penalty between images.
      penalty: γ or λ.
      mirror: whether real images are mirrored at random.
      repeats: steps between two looks at the schedule, during which a fade rests.
      half_life: of the generator's average, in thousands of images; 0 for none.
    """
    self.generator, self.discriminator = generator, discriminator
    self.latent, self.loss, self.penalty = latent, loss, penalty
    self.mirror, self.repeats, self.half_life = mirror, repeats, half_life

  def init(
    self, key: chex.PRNGKey, segment: growing.Segment, mixing: float = 0.9
  ) -> State:
    """Returns the state before the first segment of a training.

    Args:
      key: of the parameters and of training.
      segment: the first.
      mixing: probability of mixed styles.
    """
    first, second, training = jax.random.split(key, 3)
    side, label_size = self.discriminator.resolution, self.discriminator.label_size
    # Four images: a group of the statistics of the minibatch.
    labels = jnp.zeros((4, label_size)) if label_size else None
    images = jnp.zeros((4, side, side, self.generator.synthesis.colors))
    variables = self.generator.init(first, jnp.zeros((4, self.latent)), labels)
    params = {
      "discriminator": self.discriminator.init(second, images, labels)["params"],
      "generator": variables.pop("params"),
    }
    state = State.create(
      training,
      params,
      {group: _optimizer(segment.rate) for group in GROUPS},
      model_state=variables | {"mixing": jnp.asarray(mixing, jnp.float32)},
    )
    ema = {"generator": jax.tree.map(jnp.copy, params["generator"])}
    return self.enter(state.replace(ema=ema), segment, training)

  def enter(self, state: State, segment: growing.Segment, key: chex.PRNGKey) -> State:
    """Returns the state at the start of a segment: Adam's moments are zero again.

    Args:
      state: at the end of the segment before.
      segment: the new one.
      key: of its random numbers.
    """
    optimizer = _optimizer(segment.rate)
    fade = {
      "first": jnp.asarray(segment.first_fade, jnp.float32),
      "change": jnp.asarray(segment.fade_change, jnp.float32),
    }
    return state.replace(
      step=jnp.zeros((), jnp.int32),
      opt_state={group: optimizer.init(state.params[group]) for group in GROUPS},
      model_state={**state.model_state, "fade": fade},
      rng=key,
    )

  def fade(self, state: State) -> chex.Array:
    """Returns lod - level at the state's step."""
    fade = state.model_state["fade"]
    looks = (state.step // self.repeats).astype(jnp.float32)
    return jnp.clip(fade["first"] - looks * fade["change"], 0, 1)

  def step(self, segment: growing.Segment):
    """Returns the step of a segment's resolution, batch and rate: `gradient_step`'s.

    A batch is {"images": [N, r, r, colors] uint8} and, with labels, {"labels":
    [N, label_size] one-hot}, which fakes are given too.
    """
    level, optimizer = segment.level, _optimizer(segment.rate)
    decay = 0.0
    if self.half_life:
      decay = 0.5 ** (segment.batch / (1000 * self.half_life))

    def discriminate(params, model_state, batch, rng):
      generated, mirrored, mixed = jax.random.split(rng, 3)
      images, fade = batch["images"], model_state["now"]
      reals = growing.prepare_reals(
        images, fade=fade, key=mirrored if self.mirror else None
      )
      fakes, model_state = self._generate(params, model_state, batch, generated, level)
      labels = batch.get("labels")

      def score(images):
        variables = {"params": params["discriminator"]}
        scores = self.discriminator.apply(variables, images, labels, fade=fade)
        return scores.astype(jnp.float32)  # losses are taken in full precision

      fake_scores = score(fakes)
      if self.loss == "logistic":
        real_scores, penalties = losses.scored_penalty(
          score, reals, gamma=self.penalty, level=level
        )
      else:
        real_scores = score(reals)
        mixture = jax.random.uniform(mixed, (len(reals),))
        penalties = losses.distance_penalty(
          score, reals, fakes, mixture, weight=self.penalty, level=level
        )
      loss = losses.discriminator_loss(self.loss, real_scores, fake_scores)
      metrics = {
        "real_score": jnp.mean(real_scores),
        "fake_score": jnp.mean(fake_scores),
        "penalty": jnp.mean(penalties),
      }
      return jnp.mean(loss + penalties), (metrics, model_state)

    def generate(params, model_state, batch, rng):
      fade = model_state["now"]
      fakes, model_state = self._generate(params, model_state, batch, rng, level)
      variables = {"params": params["discriminator"]}
      scores = self.discriminator.apply(
        variables, fakes, batch.get("labels"), fade=fade
      )
      scores = scores.astype(jnp.float32)
      loss = losses.generator_loss(_GENERATOR_LOSS[self.loss], scores)
      return jnp.mean(loss), ({}, model_state)

    def follow(state, batch):
      del batch
      ema = jax.tree.map(
        lambda old, new: lerp(new, old, decay),
        state.ema["generator"],
        state.params["generator"],
      )
      return state.replace(step=state.step + 1, ema={"generator": ema}), {}

    both = sequence(
      gradient_step(discriminate, optimizer, group="discriminator"),
      follow,
      gradient_step(generate, optimizer, group="generator"),
    )

    def step(state, batch):
      now = self.fade(state)
      entered = state.replace(model_state={**state.model_state, "now": now})
      after, metrics = both(entered, batch)
      model_state = {k: v for k, v in after.model_state.items() if k != "now"}
      metrics = _tell_skipped(state, after, metrics)
      return after.replace(model_state=model_state), metrics

    return step

  def stage(self, name: str, segment: growing.Segment, mixing: float = 0.9) -> Stage:
    """Returns a segment as plan and benchmark take it; see `init`."""
    side, colors = segment.resolution, self.generator.synthesis.colors
    batch = {
      "images": jax.ShapeDtypeStruct((segment.batch, side, side, colors), jnp.uint8)
    }
    label_size = self.discriminator.label_size
    if label_size:
      shape = (segment.batch, label_size)
      batch["labels"] = jax.ShapeDtypeStruct(shape, jnp.float32)

    def forward(state, batch):
      z = jnp.ones((len(batch["images"]), self.latent))
      return self.generator.apply(
        variables(state), z, batch.get("labels"), level=segment.level
      )

    return Stage(
      name=name,
      init=lambda key: self.init(key, segment, mixing),
      step=self.step(segment),
      batch=batch,
      forward=forward,
    )

  def _generate(
    self,
    params: Mapping[str, Any],
    model_state: Mapping[str, Any],
    batch: Mapping[str, chex.Array],
    key: chex.PRNGKey,
    level: int,
  ) -> tuple[chex.Array, dict[str, Any]]:
    """Returns images of fresh latents, and the model state with w's new average."""
    latents, mixing, noise = jax.random.split(key, 3)
    z = jax.random.normal(latents, (len(batch["images"]), self.latent))
    collections = {k: model_state[k] for k in ("average", "noise") if k in model_state}
    images, changed = self.generator.apply(
      {"params": params["generator"], **collections},
      z,
      batch.get("labels"),
      mixing_probability=(
        model_state["mixing"] if self.generator.synthesis.use_styles else None
      ),
      level=level,
      fade=model_state["now"],
      method="train",
      rngs={"mixing": mixing, "noise": noise},
      mutable=["average"],
    )
    return images, {**model_state, **changed}


def variables(state: State, *, average: bool = True) -> dict[str, Any]:
  """Returns the generator's variables.

  Args:
    state: of a training.
    average: whether its parameters are averages over training ("Gs"), as in all
      measures and pictures of the paper; what is not learned is the newest anyway.
  """
  params = state.ema if average else state.params
  kept = {
    k: state.model_state[k] for k in ("average", "noise") if k in state.model_state
  }
  return {"params": params["generator"], **kept}


def _optimizer(rate: float) -> optax.GradientTransformation:
  """Returns the optimiser of either network.

  All parameters are one vector to it: a loop over a hundred of them costs XLA a third
  of the time it takes to compile a step.
  """
  return optax.flatten(skip_nonfinite(adam(rate)))


def _tell_skipped(
  before: State, after: State, metrics: dict[str, chex.Array]
) -> dict[str, chex.Array]:
  """Adds whether each update was skipped.

  The norm of such a gradient, which would end the training, is said to be 0; a loss
  that is not finite still ends it.
  """
  told = dict(metrics)
  for group in GROUPS:
    norm = metrics[f"{group}/gradient_norm"]
    told[f"{group}/gradient_norm"] = jnp.where(jnp.isfinite(norm), norm, 0.0)
    was_skipped = after.opt_state[group].count == before.opt_state[group].count
    told[f"{group}/skipped"] = was_skipped.astype(jnp.float32)
  return told
