"""Rotations, rigid transforms and their twists in three dimensions.

Rotation vectors are axis times angle in radians. Twists are [rotation, translation],
six numbers. Transforms are homogeneous [..., 4, 4] matrices: `a @ b` applies b first.
Everything is differentiable at and near the identity.
"""

import chex
import jax.numpy as jnp

from jaxvision.ops import procrustes


def cross_matrix(vectors: chex.Array) -> chex.Array:
  """Returns [..., 3, 3] matrices W of vectors w [..., 3], with W x = w × x."""
  chex.assert_axis_dimension(vectors, -1, 3)
  x, y, z = jnp.moveaxis(vectors, -1, 0)
  zero = jnp.zeros_like(x)
  entries = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
  return entries.reshape(*vectors.shape, 3)


def exp_rotation(vectors: chex.Array) -> chex.Array:
  """Returns the rotations [..., 3, 3] of rotation vectors [..., 3] (Rodrigues)."""
  chex.assert_type(vectors, float)
  sine, cosine, _ = _ratios(jnp.sum(jnp.square(vectors), axis=-1))
  matrix = cross_matrix(vectors)
  identity = jnp.eye(3, dtype=vectors.dtype)
  return identity + _lift(sine) * matrix + _lift(cosine) * (matrix @ matrix)


def log_rotation(rotations: chex.Array) -> chex.Array:
  """Returns the rotation vectors [..., 3], of length up to π, of [..., 3, 3]."""
  w, vector = jnp.split(to_quaternion(rotations), [1], axis=-1)
  square = jnp.sum(jnp.square(vector), axis=-1, keepdims=True)
  is_small = square < 1e-6
  length = jnp.sqrt(jnp.where(is_small, 1.0, square))
  # w ≥ 0, so that the angle is at most π; w is 1 where the length vanishes.
  safe_w = jnp.where(is_small, w, 1.0)
  series = 2 / safe_w * (1 - square / (3 * jnp.square(safe_w)))
  return jnp.where(is_small, series, 2 * jnp.arctan2(length, w) / length) * vector


def to_quaternion(rotations: chex.Array) -> chex.Array:
  """Returns unit quaternions [..., 4] as (w, x, y, z), w ≥ 0, of [..., 3, 3].

  Source: Shepperd, Quaternion from rotation matrix, 1978.
  """
  chex.assert_type(rotations, float)
  chex.assert_shape(rotations, (..., 3, 3))
  (a, b, c), (d, e, f), (g, h, i) = [
    jnp.moveaxis(row, -1, 0) for row in jnp.moveaxis(rotations, -2, 0)
  ]
  # Four multiples of the quaternion; the longest one loses no digits.
  candidates = jnp.stack(
    [
      jnp.stack([1 + a + e + i, h - f, c - g, d - b], axis=-1),
      jnp.stack([h - f, 1 + a - e - i, b + d, c + g], axis=-1),
      jnp.stack([c - g, b + d, 1 - a + e - i, f + h], axis=-1),
      jnp.stack([d - b, c + g, f + h, 1 - a - e + i], axis=-1),
    ],
    axis=-2,
  )
  best = jnp.argmax(jnp.diagonal(candidates, axis1=-2, axis2=-1), axis=-1)
  chosen = jnp.take_along_axis(candidates, best[..., None, None], axis=-2)[..., 0, :]
  unit = chosen / jnp.linalg.norm(chosen, axis=-1, keepdims=True)
  return jnp.where(unit[..., :1] < 0, -unit, unit)


def transform(rotation: chex.Array, translation: chex.Array) -> chex.Array:
  """Returns [..., 4, 4] of rotations [..., 3, 3] and translations [..., 3]."""
  chex.assert_shape(rotation, (..., 3, 3))
  chex.assert_equal_shape_prefix([rotation[..., 0], translation], rotation.ndim - 1)
  upper = jnp.concatenate([rotation, translation[..., None]], axis=-1)
  last = jnp.broadcast_to(
    jnp.array([0, 0, 0, 1], rotation.dtype), (*rotation.shape[:-2], 1, 4)
  )
  return jnp.concatenate([upper, last], axis=-2)


def apply(transforms: chex.Array, points: chex.Array) -> chex.Array:
  """Returns points [..., N, 3] moved by transforms [..., 4, 4]."""
  chex.assert_shape(transforms, (..., 4, 4))
  chex.assert_shape(points, (..., 3))
  rotation, translation = transforms[..., :3, :3], transforms[..., None, :3, 3]
  rotated = jnp.matmul(points, jnp.swapaxes(rotation, -1, -2), precision="highest")
  return rotated + translation


def invert(transforms: chex.Array) -> chex.Array:
  """Returns the inverses of rigid transforms [..., 4, 4]."""
  chex.assert_shape(transforms, (..., 4, 4))
  rotation = jnp.swapaxes(transforms[..., :3, :3], -1, -2)
  translation = -jnp.matmul(rotation, transforms[..., :3, 3:], precision="highest")
  return transform(rotation, translation[..., 0])


def exp_twist(twists: chex.Array) -> chex.Array:
  """Returns the transforms [..., 4, 4] of twists [..., 6]."""
  chex.assert_type(twists, float)
  chex.assert_axis_dimension(twists, -1, 6)
  rotation, velocity = jnp.split(twists, 2, axis=-1)
  _, cosine, rest = _ratios(jnp.sum(jnp.square(rotation), axis=-1))
  matrix = cross_matrix(rotation)
  identity = jnp.eye(3, dtype=twists.dtype)
  left = identity + _lift(cosine) * matrix + _lift(rest) * (matrix @ matrix)
  return transform(exp_rotation(rotation), (left @ velocity[..., None])[..., 0])


def log_transform(transforms: chex.Array) -> chex.Array:
  """Returns the twists [..., 6], rotations up to π, of rigid transforms [..., 4, 4]."""
  chex.assert_shape(transforms, (..., 4, 4))
  rotation = log_rotation(transforms[..., :3, :3])
  square = jnp.sum(jnp.square(rotation), axis=-1)
  sine, cosine, _ = _ratios(square)
  is_small = square < 1e-2
  safe = jnp.where(is_small, 1.0, square)
  closed = (1 - 0.5 * sine / jnp.where(is_small, 1.0, cosine)) / safe
  series = 1 / 12 + square / 720 + jnp.square(square) / 30240
  factor = jnp.where(is_small, series, closed)
  matrix = cross_matrix(rotation)
  identity = jnp.eye(3, dtype=transforms.dtype)
  inverse = identity - 0.5 * matrix + _lift(factor) * (matrix @ matrix)
  velocity = (inverse @ transforms[..., :3, 3:])[..., 0]
  return jnp.concatenate([rotation, velocity], axis=-1)


def fit(
  source: chex.Array,
  target: chex.Array,
  weights: chex.Array | None = None,
  *,
  covariance_weight_power: float = 1.0,
) -> chex.Array:
  """Returns the rigid transforms that minimise Σ w |T source - target|².

  A reflection is never returned. What the points leave open (fewer than three, on one
  line, at one place, all weights 0) stays as in the identity: the result is finite.

  Args:
    source: [..., N, 3] points.
    target: [..., N, 3] their correspondences.
    weights: [..., N] ≥ 0; all 1 when None.
    covariance_weight_power: see `procrustes.procrustes`.

  Returns:
    [..., 4, 4] transforms of source onto target.

  Source: Kabsch, A solution for the best rotation to relate two sets of vectors, 1976.
  """
  chex.assert_axis_dimension(source, -1, 3)
  rotation, translation = procrustes.procrustes(
    source, target, weights, covariance_weight_power=covariance_weight_power
  )
  return transform(rotation, translation)


def _lift(scalars):
  return scalars[..., None, None]


def _ratios(square):
  """Returns sin θ / θ, (1 - cos θ) / θ² and (θ - sin θ) / θ³ of θ² [...]."""
  is_small = square < 1e-2
  # Both branches stay finite, else the gradient at 0 would be NaN.
  theta = jnp.sqrt(jnp.where(is_small, 1.0, square))
  near = jnp.where(is_small, square, 0.0)
  sine = 1 - near / 6 * (1 - near / 20 * (1 - near / 42))
  cosine = 0.5 - near / 24 * (1 - near / 30 * (1 - near / 56))
  rest = 1 / 6 - near / 120 * (1 - near / 42 * (1 - near / 72))
  return (
    jnp.where(is_small, sine, jnp.sin(theta) / theta),
    jnp.where(is_small, cosine, 2 * jnp.square(jnp.sin(theta / 2) / theta)),
    jnp.where(is_small, rest, (theta - jnp.sin(theta)) / theta**3),
  )
