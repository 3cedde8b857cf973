"""The occupancy network and what is compared with it, assembled from their parts."""

from typing import NamedTuple

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.papers.occupancy_networks import losses


class Elbo(NamedTuple):
  """Parts of the evidence lower bound, [B] each, in nats; elbo = -(both)."""

  reconstruction: chex.Array
  kl: chex.Array


class OccupancyNetwork(nn.Module):
  """Occupancy logits of points, given an observation, a latent code, or both.

  Attributes:
    decoder: (p, z, c, train) -> logits.
    encoder: observations to conditions [B, C]; None without observations.
    encoder_latent: (points, occupancies, c) -> posterior; None without latent codes.

  Source: Section 3.
  """

  decoder: nn.Module
  encoder: nn.Module | None = None
  encoder_latent: nn.Module | None = None

  @property
  def z_dim(self) -> int:
    return 0 if self.encoder_latent is None else self.encoder_latent.z_dim

  def __call__(
    self,
    points: chex.Array,
    inputs: chex.Array | None = None,
    occupancy: chex.Array | None = None,
    noise: chex.Array | None = None,
    *,
    train: bool = False,
  ) -> tuple[chex.Array, chex.Array]:
    """Returns logits [B, T] and divergences [B], 0 without latent codes.

    Args:
      points: [B, T, 3].
      inputs: observations, as the encoder takes them.
      occupancy: [B, T], from which the posterior of the code is inferred; where None,
        the code is the prior's mean and the divergence 0.
      noise: [B, Z] standard normal of the code's sample; the posterior's mean where
        None.
      train: whether the batch's statistics normalise.
    """
    chex.assert_shape(points, (None, None, 3))
    c = self.encode(inputs, train=train)
    z, kl = self.prior_mean(len(points)), jnp.zeros(len(points))
    if self.encoder_latent is not None and occupancy is not None:
      mean, log_deviation = self.encoder_latent(points, occupancy, c)
      z = mean if noise is None else mean + jnp.exp(log_deviation) * noise
      kl = losses.kl_divergence(mean, log_deviation)
    return self.decode(points, z, c, train=train), kl

  def encode(
    self, inputs: chex.Array | None, *, train: bool = False
  ) -> chex.Array | None:
    """Returns conditions [B, C], or None without an encoder."""
    return None if self.encoder is None else self.encoder(inputs, train=train)

  def decode(self, points, z=None, c=None, *, train: bool = False) -> chex.Array:
    """Returns logits [B, T] of points [B, T, 3] for given codes."""
    return self.decoder(points, z, c, train=train)

  def prior_mean(self, batch: int) -> chex.Array | None:
    """Returns the codes [B, Z] of generation without sampling, or None."""
    return jnp.zeros((batch, self.z_dim)) if self.z_dim else None

  def elbo(self, points, occupancy, inputs=None, noise=None) -> Elbo:
    """Returns the parts of the evidence lower bound; arguments as `__call__`."""
    logits, kl = self(points, inputs, occupancy, noise)
    return Elbo(losses.reconstruction(logits, occupancy), kl)


class EncoderDecoder(nn.Module):
  """An encoder of observations and a decoder to voxels or points: the baselines.

  Attributes:
    encoder: observations to [B, C].
    decoder: [B, C] to [B, 32, 32, 32] logits or [B, N, 3] points.
  """

  encoder: nn.Module
  decoder: nn.Module

  def __call__(self, inputs: chex.Array, *, train: bool = False) -> chex.Array:
    return self.decoder(self.encoder(inputs, train=train), train=train)


def init(
  network: nn.Module, key: chex.PRNGKey, batch: dict[str, chex.Array]
) -> dict[str, chex.Array]:
  """Returns the variables of a network for a batch of its training.

  Args:
    network: `OccupancyNetwork` or `EncoderDecoder`.
    key: of the random weights.
    batch: one that it trains on, or its zeros; see `data.batch_shapes`.
  """
  return network.init(key, *_arguments(network, batch))


def _arguments(network, batch):
  small = {name: array[:1] for name, array in batch.items()}
  if isinstance(network, EncoderDecoder):
    return (small["inputs"],)
  points, occupancy = small["points"][:, :1], small["occupancies"][:, :1]
  return points, small.get("inputs"), occupancy
