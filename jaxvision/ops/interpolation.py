"""Straight and spherical interpolation between vectors."""

import chex
import jax.numpy as jnp


def lerp(a: chex.Array, b: chex.Array, t: chex.Numeric) -> chex.Array:
  """Returns a + (b - a) t; t broadcasts against a and b."""
  return a + (b - a) * t


def slerp(a: chex.Array, b: chex.Array, t: chex.Array) -> chex.Array:
  """Returns the points between a and b on the unit sphere.

  Args:
    a: [..., D] vectors; only their directions count.
    b: [..., D].
    t: [...] or [..., 1] in [0, 1]: 0 gives the direction of a, 1 that of b.

  Returns:
    [..., D] unit vectors, also where a and b point alike. Between opposite vectors no
    plane is defined, and the result is one of the two.

  Source: Shoemake, SIGGRAPH 1985.
  """
  chex.assert_equal_shape([a, b])
  chex.assert_type([a, b], float)
  t = jnp.asarray(t, a.dtype)
  if t.ndim < a.ndim:
    t = t[..., None]
  a, b = unit(a), unit(b)
  cosine = jnp.sum(a * b, axis=-1, keepdims=True)
  # Clipped, or the derivative of the angle is infinite where the directions meet.
  limit = 1 - jnp.finfo(a.dtype).eps
  angle = t * jnp.arccos(jnp.clip(cosine, -limit, limit))
  across = unit(b - cosine * a)
  return unit(a * jnp.cos(angle) + across * jnp.sin(angle))


def unit(x: chex.Array) -> chex.Array:
  """Returns x [..., D] divided by its length; 0 stays 0, and has gradient 0."""
  square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  is_zero = square == 0
  length = jnp.sqrt(jnp.where(is_zero, 1.0, square))
  return jnp.where(is_zero, 0.0, x / length)
