"""The variational autoencoder whose likelihood the paper exchanges (M14).

Images are explained by a code drawn from a learned mixture of Gaussians; the decoder
gives their mean, and the distribution of what is left is one of `likelihoods`.

Source: Section 3.1; TensorFlow Probability's VAE example, which the authors changed.
"""

import math
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.convolution import Conv, ConvTranspose
from jaxvision.nn.robust_losses import reconstruction_loss
from jaxvision.papers.robust_loss.density import schedule
from jaxvision.papers.robust_loss.likelihoods import (
  DISTRIBUTIONS,
  REPRESENTATIONS,
  AnyLikelihood,
  Bounds,
)
from jaxvision.train import Stage, State, gradient_step

_glorot = nn.initializers.glorot_uniform()
_SHIFT = math.log(math.e - 1)  # softplus(x + _SHIFT) is 1 at x = 0


class Gaussian(NamedTuple):
  """Diagonal Gaussians.

  Attributes:
    mean: [..., K].
    deviation: [..., K] > 0.
  """

  mean: chex.Array
  deviation: chex.Array

  def log_density(self, codes: chex.Array) -> chex.Array:
    """Returns [...] log-densities of codes [..., K], in nats."""
    squares = jnp.square((codes - self.mean) / self.deviation)
    logs = jnp.log(self.deviation) + 0.5 * math.log(2 * math.pi)
    return -jnp.sum(0.5 * squares + logs, axis=-1)


class Encoder(nn.Module):
  """Images [B, S, S, 3] to the posteriors of their codes, S a power of two.

  Attributes:
    depth: channels of the first layers.
    latents: size K of a code.
  """

  depth: int
  latents: int

  @nn.compact
  def __call__(self, images: chex.Array) -> Gaussian:
    """Returns the posteriors of images in [0, 1]."""
    x = 2 * images - 1
    # As many halvings as bring the side down to 1; at 64 pixels those of the paper.
    widths = np.array([1, 1, 2, 2, 4])[-_halvings(images) + 1 :] * self.depth
    for width in (*widths, 4 * self.latents):
      x = Conv(int(width), (5, 5), strides=2, kernel_init=_glorot)(x)
      x = leaky_relu(x)
    x = nn.Dense(2 * self.latents, kernel_init=_glorot)(x.reshape(len(x), -1))
    mean, raw = jnp.split(x, 2, axis=-1)
    return Gaussian(mean, nn.softplus(raw + _SHIFT))


class Decoder(nn.Module):
  """Codes [B, K] to mean images [B, S, S, 3] in (0, 1).

  Attributes:
    depth: channels of the last layers.
    size: S, a power of two.
  """

  depth: int
  size: int

  @nn.compact
  def __call__(self, codes: chex.Array) -> chex.Array:
    x = codes[:, None, None, :]
    widths = np.array([4, 4, 2, 2, 1, 1])[: round(math.log2(self.size))] * self.depth
    for width in widths:
      x = ConvTranspose(int(width), (5, 5), strides=2, kernel_init=_glorot)(x)
      x = leaky_relu(x)
    return nn.sigmoid(Conv(3, (5, 5), kernel_init=_glorot)(x))


class Mixture(nn.Module):
  """The learned prior of codes: a mixture of diagonal Gaussians.

  Attributes:
    components: their number.
    latents: size K of a code.
  """

  components: int
  latents: int

  def setup(self):
    shape = self.components, self.latents
    self.loc = self.param("loc", _glorot, shape)
    self.raw_scale = self.param("raw_scale", _glorot, shape)
    self.logits = self.param("logits", _glorot_vector, shape[:1])

  def log_density(self, codes: chex.Array) -> chex.Array:
    """Returns [B] log-densities of codes [B, K], in nats."""
    parts = Gaussian(self.loc, nn.softplus(self.raw_scale))
    densities = parts.log_density(codes[:, None])
    return jax.nn.logsumexp(densities + nn.log_softmax(self.logits), axis=-1)

  def sample(self, key: chex.PRNGKey, count: int) -> chex.Array:
    """Returns codes [count, K]."""
    which_key, key = jax.random.split(key)
    which = jax.random.categorical(which_key, self.logits, shape=(count,))
    noise = jax.random.normal(key, (count, self.latents))
    return self.loc[which] + nn.softplus(self.raw_scale)[which] * noise


class VAE(nn.Module):
  """Encoder, decoder, prior and the likelihood of what is left.

  Attributes:
    size: side of the images, a power of two from 2 to 64.
    depth: channels of the layers next to the image.
    latents: size of a code.
    components: of the prior.
    levels: of the wavelets.
    bounds: of the likelihood's parameters.
    loss: "none", or what takes the likelihood's place: one of
      `robust_losses.RECONSTRUCTION_LOSSES`.
  """

  size: int = 64
  depth: int = 32
  latents: int = 16
  components: int = 100
  levels: int = 5
  bounds: Bounds = Bounds()
  loss: str = "none"

  def setup(self):
    if self.size not in (2, 4, 8, 16, 32, 64):
      raise ValueError(f"size={self.size} is no power of two from 2 to 64")
    self.encoder = Encoder(self.depth, self.latents)
    self.decoder = Decoder(self.depth, self.size)
    self.prior = Mixture(self.components, self.latents)
    shape = self.size, self.size, 3
    if self.loss == "none":
      self.likelihood = AnyLikelihood(shape, self.levels, self.bounds)
    else:
      self.likelihood = reconstruction_loss(
        self.loss, shape, scale=self.bounds.scale_init
      )

  def __call__(
    self,
    images: chex.Array,
    key: chex.PRNGKey,
    distribution: chex.Numeric,
    representation: chex.Numeric,
  ) -> dict[str, chex.Array]:
    """Returns the evidence lower bound and its parts, by one sample of each code.

    Args:
      images: [B, S, S, 3] in [0, 1].
      key: of the samples.
      distribution, representation: indices, see `AnyLikelihood`; of no effect where
        `loss` says otherwise.

    Returns:
      "elbo", "rate" and "distortion": [B] nats, elbo = -(rate + distortion).
    """
    chex.assert_shape(images, (None, self.size, self.size, 3))
    posterior = self.encoder(images)
    noise = jax.random.normal(key, posterior.mean.shape)
    codes = posterior.mean + posterior.deviation * noise
    rate = posterior.log_density(codes) - self.prior.log_density(codes)
    difference = images - self.decoder(codes)
    if self.loss == "none":
      losses = self.likelihood(difference, distribution, representation)
    else:
      losses = self.likelihood(difference)
    most = jnp.finfo(losses.dtype).max
    distortion = jnp.sum(jnp.clip(losses, -most, most), axis=(1, 2, 3))
    return {"elbo": -(rate + distortion), "rate": rate, "distortion": distortion}

  def reconstruct(self, images: chex.Array) -> chex.Array:
    """Returns the mean images of the posteriors' means, [B, S, S, 3]."""
    return self.decoder(self.encoder(images).mean)

  def sample(self, key: chex.PRNGKey, count: int) -> chex.Array:
    """Returns mean images of codes from the prior, [count, S, S, 3]."""
    return self.decoder(self.prior.sample(key, count))

  def shape_and_scale(self) -> tuple[chex.Array, chex.Array]:
    """Returns α and c of every coefficient, [S, S, 3] each."""
    return self.likelihood.alpha(), self.likelihood.scale()


def numbers(
  distribution: str, representation: str, warmup: int = 0
) -> dict[str, chex.Array]:
  """Returns what `State.model_state` tells the step: which row and column it trains.

  Args:
    distribution: one of DISTRIBUTIONS.
    representation: a key of REPRESENTATIONS.
    warmup: steps over which the rate's weight in the loss rises from 0 to 1. Without,
      as in the paper, codes may be given up before the decoder has learned to use them.
  """
  return {
    "distribution": jnp.int32(DISTRIBUTIONS.index(distribution)),
    "representation": jnp.int32(list(REPRESENTATIONS).index(representation)),
    "step": jnp.int32(0),
    "warmup": jnp.int32(warmup),
  }


def optimizer(
  rate: float, likelihood_rate: float, steps: int
) -> optax.GradientTransformation:
  """Returns Adam; the likelihood's parameters may have a rate of their own."""
  return optax.multi_transform(
    {
      "network": optax.adam(schedule(rate, steps)),
      "likelihood": optax.adam(schedule(likelihood_rate, steps)),
    },
    lambda params: {
      name: "likelihood" if name == "likelihood" else "network" for name in params
    },
  )


def stage(network: VAE, rule: optax.GradientTransformation, batch: int) -> Stage:
  """Returns the stage that trains a VAE, for every row and column of the table.

  The state's model state is of `numbers`.

  Args:
    network: of parameters to train.
    rule: the optimiser.
    batch: images in the global batch.
  """
  shape = batch, network.size, network.size, 3
  batch = {"image": jax.ShapeDtypeStruct(shape, jnp.float32)}

  def apply(params, model_state, images, key):
    cell = model_state["distribution"], model_state["representation"]
    return network.apply({"params": params}, images, key, *cell)

  def loss_fn(params, model_state, batch, rng):
    parts = apply(params, model_state, batch["image"], rng)
    metrics = {name: jnp.mean(values) for name, values in parts.items()}
    step, warmup = model_state["step"], model_state["warmup"]
    weight = jnp.where(step < warmup, step / jnp.maximum(warmup, 1), 1.0)
    loss = metrics["distortion"] + weight * metrics["rate"]
    return loss, (metrics, {**model_state, "step": step + 1})

  def forward(state, batch):
    key = jax.random.fold_in(state.rng, state.step)
    return apply(state.params, state.model_state, batch["image"], key)

  return Stage(
    name="vae",
    init=lambda key: initial_state(network, rule, key, "adaptive", "wavelets"),
    step=gradient_step(loss_fn, rule),
    batch=batch,
    forward=forward,
  )


def initial_state(
  network: VAE,
  rule: optax.GradientTransformation,
  key: chex.PRNGKey,
  distribution: str,
  representation: str,
) -> State:
  """Returns the state that training starts from; the key decides the weights."""
  model_state = numbers(distribution, representation)
  images = jnp.zeros((1, network.size, network.size, 3))
  params = network.init(key, images, key, 0, 0)["params"]
  return State.create(key, params, rule, model_state=model_state)


def _halvings(images):
  size = images.shape[1]
  chex.assert_shape(images, (None, size, size, 3))
  return round(math.log2(size))


def _glorot_vector(key, shape, dtype=jnp.float32):
  """Glorot's uniform initialiser, which counts a vector as fan-in and fan-out."""
  limit = math.sqrt(3 / shape[0])
  return jax.random.uniform(key, shape, dtype, -limit, limit)
