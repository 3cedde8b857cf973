"""Unit dual quaternions: rigid transforms that can be blended.

A dual quaternion is [..., 8]: the real part (w, x, y, z) turns, and twice the dual
part times the real part's conjugate moves. q and -q are the same transform.

Source: Kavan et al., Geometric skinning with approximate dual quaternion blending, ACM
Transactions on Graphics 2008.
"""

import chex
import jax.numpy as jnp

from jaxvision.ops import rigid


def multiply(one: chex.Array, other: chex.Array) -> chex.Array:
  """Returns Hamilton's products [..., 4] of quaternions as (w, x, y, z)."""
  chex.assert_axis_dimension(one, -1, 4)
  chex.assert_axis_dimension(other, -1, 4)
  a, b, c, d = jnp.moveaxis(one, -1, 0)
  w, x, y, z = jnp.moveaxis(other, -1, 0)
  return jnp.stack(
    [
      a * w - b * x - c * y - d * z,
      a * x + b * w + c * z - d * y,
      a * y - b * z + c * w + d * x,
      a * z + b * y - c * x + d * w,
    ],
    axis=-1,
  )


def conjugate(quaternions: chex.Array) -> chex.Array:
  """Returns the conjugates [..., 4] of quaternions as (w, x, y, z)."""
  chex.assert_axis_dimension(quaternions, -1, 4)
  return quaternions * jnp.array([1, -1, -1, -1], quaternions.dtype)


def from_transform(transforms: chex.Array) -> chex.Array:
  """Returns the unit dual quaternions [..., 8] of rigid transforms [..., 4, 4]."""
  chex.assert_shape(transforms, (..., 4, 4))
  real = rigid.to_quaternion(transforms[..., :3, :3])
  shift = transforms[..., :3, 3]
  pure = jnp.concatenate([jnp.zeros_like(shift[..., :1]), shift], axis=-1)
  return jnp.concatenate([real, 0.5 * multiply(pure, real)], axis=-1)


def normalize(dual: chex.Array) -> chex.Array:
  """Returns the nearest unit dual quaternions [..., 8]; the identity for a real 0."""
  chex.assert_axis_dimension(dual, -1, 8)
  real, moment = jnp.split(dual, 2, axis=-1)
  square = jnp.sum(jnp.square(real), axis=-1, keepdims=True)
  is_positive = square > 0
  length = jnp.sqrt(jnp.where(is_positive, square, 1.0))
  one = jnp.zeros_like(real).at[..., 0].set(1.0)
  real = jnp.where(is_positive, real / length, one)
  moment = jnp.where(is_positive, moment / length, 0.0)
  moment -= jnp.sum(real * moment, axis=-1, keepdims=True) * real
  return jnp.concatenate([real, moment], axis=-1)


def to_transform(dual: chex.Array) -> chex.Array:
  """Returns the rigid transforms [..., 4, 4] of unit dual quaternions [..., 8]."""
  chex.assert_axis_dimension(dual, -1, 8)
  real, moment = jnp.split(dual, 2, axis=-1)
  w, x, y, z = jnp.moveaxis(real, -1, 0)
  entries = [
    1 - 2 * (y * y + z * z),
    2 * (x * y - w * z),
    2 * (x * z + w * y),
    2 * (x * y + w * z),
    1 - 2 * (x * x + z * z),
    2 * (y * z - w * x),
    2 * (x * z - w * y),
    2 * (y * z + w * x),
    1 - 2 * (x * x + y * y),
  ]
  rotation = jnp.stack(entries, axis=-1).reshape(*w.shape, 3, 3)
  shift = 2 * multiply(moment, conjugate(real))[..., 1:]
  return rigid.transform(rotation, shift)


def blend(dual: chex.Array, weights: chex.Array) -> chex.Array:
  """Returns the unit dual quaternions of weighted sums, signs aligned to the first.

  Args:
    dual: [..., K, 8] unit dual quaternions.
    weights: [..., K] ≥ 0.

  Returns:
    [..., 8]; the identity where all weights are 0.
  """
  chex.assert_axis_dimension(dual, -1, 8)
  chex.assert_equal_shape([dual[..., 0], weights])
  products = jnp.sum(dual[..., :1, :4] * dual[..., :4], axis=-1)
  signed = jnp.where(products < 0, -weights, weights)
  return normalize(jnp.sum(signed[..., None] * dual, axis=-2))
