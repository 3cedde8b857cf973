"""Normalisations without parameters or running statistics, and modulation.

Arrays are channels last, [..., C]. Statistics are taken in float32 at least: an epsilon
of 1e-8 is lost in shorter formats.
"""

import chex
import jax
import jax.numpy as jnp


def pixel_norm(x: chex.Array, *, epsilon: float = 1e-8) -> chex.Array:
  """Returns x scaled so that the mean square over the channels is 1.

  Args:
    x: [..., C] float.
    epsilon: added to the mean square.

  Source: Karras et al., ICLR 2018, 4.2.
  """
  chex.assert_type(x, float)
  wide = _widen(x)
  power = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
  return (wide * jax.lax.rsqrt(power + epsilon)).astype(x.dtype)


def instance_norm(x: chex.Array, *, epsilon: float = 1e-8) -> chex.Array:
  """Returns x with mean 0 and variance 1 in each map of each example.

  Args:
    x: [B, *spatial, C] float.
    epsilon: added to the (biased) variance; a constant map becomes 0.
  """
  chex.assert_type(x, float)
  chex.assert_rank(x, {3, 4, 5})
  axes = tuple(range(1, x.ndim - 1))
  wide = _widen(x)
  wide = wide - jnp.mean(wide, axis=axes, keepdims=True)
  variance = jnp.mean(jnp.square(wide), axis=axes, keepdims=True)
  return (wide * jax.lax.rsqrt(variance + epsilon)).astype(x.dtype)


def modulate(x: chex.Array, scale: chex.Array, shift: chex.Array) -> chex.Array:
  """Returns x · (1 + scale) + shift, one scale and shift for each map.

  After `instance_norm` it is adaptive instance normalisation (AdaIN).

  Args:
    x: [B, *spatial, C].
    scale: [B, C].
    shift: [B, C].
  """
  chex.assert_equal_shape([scale, shift])
  chex.assert_shape(scale, (x.shape[0], x.shape[-1]))
  middle = tuple(range(1, x.ndim - 1))
  return x * (1 + jnp.expand_dims(scale, middle)) + jnp.expand_dims(shift, middle)


def minibatch_stddev(
  x: chex.Array, *, group_size: int = 4, num_features: int = 1, epsilon: float = 1e-8
) -> chex.Array:
  """Returns how much the examples of a group differ, as further channels.

  Args:
    x: [N, H, W, C] float. With M = N / group groups, the members of a group are the
      examples i, i + M, i + 2 M, ...
    group_size: examples in a group; all where there are fewer.
    num_features: channels made; each averages C / num_features of x.
    epsilon: added to the variance.

  Returns:
    [N, H, W, num_features], constant over each map and equal within a group.

  Raises:
    ValueError: if the batch or the channels cannot be divided so.

  Source: Karras et al., ICLR 2018, 3.
  """
  chex.assert_rank(x, 4)
  chex.assert_type(x, float)
  batch, height, width, channels = x.shape
  group = min(group_size, batch)
  if batch % group or channels % num_features:
    raise ValueError(
      f"{batch} examples in groups of {group}, {channels} channels in {num_features}"
    )
  groups = _widen(x).reshape(
    group, batch // group, height, width, num_features, channels // num_features
  )
  variance = jnp.mean(jnp.square(groups - jnp.mean(groups, axis=0)), axis=0)
  spread = jnp.mean(jnp.sqrt(variance + epsilon), axis=(1, 2, 4))
  spread = jnp.tile(spread, (group, 1))[:, None, None].astype(x.dtype)
  return jnp.broadcast_to(spread, (batch, height, width, num_features))


def _widen(x: chex.Array) -> chex.Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
