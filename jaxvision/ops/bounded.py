"""Maps of the real line onto intervals, for parameters that must stay inside one."""

import math

import chex
import jax
import jax.numpy as jnp

# softplus(x + _SHIFT) is 1 at x = 0.
_SHIFT = math.log(math.e - 1)


def affine_sigmoid(latent: chex.Array, low: float, high: float) -> chex.Array:
  """Maps the real line onto (low, high); 0 becomes the midpoint."""
  chex.assert_type(latent, float)
  _assert_increasing(low, high)
  return (high - low) * jax.nn.sigmoid(latent) + low


def inverse_affine_sigmoid(value: chex.Array, low: float, high: float) -> chex.Array:
  """Returns the latent of a value in (low, high)."""
  chex.assert_type(value, float)
  _assert_increasing(low, high)
  return jax.scipy.special.logit((value - low) / (high - low))


def affine_softplus(latent: chex.Array, low: float, reference: float) -> chex.Array:
  """Maps the real line onto (low, ∞); 0 becomes `reference`.

  Source: Barron, A General and Adaptive Robust Loss Function, CVPR 2019, Eq. 21, in
    the form of the authors' code.
  """
  chex.assert_type(latent, float)
  _assert_increasing(low, reference)
  return (reference - low) * jax.nn.softplus(latent + _SHIFT) + low


def inverse_affine_softplus(
  value: chex.Array, low: float, reference: float
) -> chex.Array:
  """Returns the latent of a value in (low, ∞)."""
  chex.assert_type(value, float)
  _assert_increasing(low, reference)
  return inverse_softplus((value - low) / (reference - low)) - _SHIFT


def inverse_softplus(value: chex.Array) -> chex.Array:
  """Returns x with log(1 + exp(x)) = value, for values > 0."""
  chex.assert_type(value, float)
  return value + jnp.log(-jnp.expm1(-value))


def _assert_increasing(low, high):
  if not low < high:
    raise ValueError(f"{low} must lie below {high}")
