"""Dropout whose random numbers cost less than the layers between which it stands.

The masks come from one hashed 32-bit word for each element: two short draws of
`jax.random`, one word a row and one a column, meet in an integer hash that fuses with
what the mask is applied to. A draw of `jax.random` for every element takes longer than
a layer of 512 × 512 on a CPU.
"""

import math

import chex
import jax
import jax.numpy as jnp


def keep_mask(key: chex.PRNGKey, shape: tuple[int, ...], rate: float) -> chex.Array:
  """Returns which elements are kept: each with probability 1 - rate.

  Args:
    key: of the draw.
    shape: of the mask; its last axis is that of the features.
    rate: probability of being dropped, in [0, 1).

  Returns:
    `shape` bool.
  """
  chex.assert_scalar_in(rate, 0.0, math.nextafter(1.0, 0.0))
  rows, columns = jax.random.split(key)
  row = jax.random.bits(rows, shape[:-1], jnp.uint32)[..., None]
  column = jax.random.bits(columns, shape[-1:], jnp.uint32)
  return _hash(row ^ column) >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def dropout(x: chex.Array, key: chex.PRNGKey, rate: float) -> chex.Array:
  """Returns x with elements set to 0 at random, the others scaled by 1 / (1 - rate)."""
  chex.assert_type(x, float)
  return jnp.where(keep_mask(key, x.shape, rate), x / (1 - rate), 0.0)


def relu_dropout(x: chex.Array, key: chex.PRNGKey, rate: float) -> chex.Array:
  """Returns `dropout(relu(x))`; its gradient remembers nothing but the result.

  Args:
    x: [..., C].
    key: of the draw.
    rate: probability of being dropped, in [0, 1).
  """
  chex.assert_type(x, float)
  mask = keep_mask(key, x.shape, rate)
  return _masked_relu(x, mask, 1 / (1 - rate))


@jax.custom_vjp
def _masked_relu(x, mask, scale):
  return jnp.where(mask & (x > 0), x * scale, 0.0)


def _masked_relu_forward(x, mask, scale):
  result = _masked_relu(x, mask, scale)
  return result, (result, scale)


def _masked_relu_backward(kept, gradient):
  result, scale = kept
  return jnp.where(result > 0, gradient * scale, 0.0), None, None


_masked_relu.defvjp(_masked_relu_forward, _masked_relu_backward)


def _hash(word):
  """Returns words mixed so that every bit depends on all (MurmurHash3's finalizer)."""
  word ^= word >> 16
  word *= jnp.uint32(0x85EBCA6B)
  word ^= word >> 13
  word *= jnp.uint32(0xC2B2AE35)
  return word ^ (word >> 16)
