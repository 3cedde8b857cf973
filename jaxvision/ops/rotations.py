"""Rotations from arbitrary 3 x 3 matrices, with gradients that stay finite."""

from typing import Literal

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import svd


def orthogonalize(
  matrices: chex.Array, rule: Literal["sign", "nearest"] = "nearest"
) -> chex.Array:
  """Returns a rotation for each matrix.

  Args:
    matrices: [..., 3, 3] float.
    rule: "nearest" flips the last singular vector where U V^T would mirror, which
      gives the nearest rotation. "sign" multiplies U V^T by its determinant: a rotation
      too, but not the nearest one.

  Returns:
    [..., 3, 3] rotations; of a singular matrix one of many, and a finite gradient.

  Source: "sign" is Kolotouros et al., CVPR 2019 (models/smpl_param_regressor.py).
  """
  chex.assert_shape(matrices, (..., 3, 3))
  chex.assert_type(matrices, float)
  if rule == "nearest":
    return _nearest(matrices)
  if rule != "sign":
    raise ValueError(f"rule is {rule!r}, not 'sign' or 'nearest'")
  polar = svd.polar_projection(matrices)
  sign = jax.lax.stop_gradient(jnp.sign(jnp.linalg.det(polar)))
  return polar * sign[..., None, None]


def geodesic(a: chex.Array, b: chex.Array) -> chex.Array:
  """Returns the angles [...] in radians, 0 to π, between rotations [..., 3, 3]."""
  chex.assert_equal_shape([a, b])
  # |A - B|² = 8 sin²(θ / 2) keeps small angles, which arccos of the trace loses.
  chord = jnp.linalg.norm(a - b, axis=(-2, -1)) / jnp.sqrt(8.0)
  return 2 * jnp.arcsin(jnp.clip(chord, 0.0, 1.0))


@jax.custom_jvp
def _nearest(matrices):
  u, _, vh = jnp.linalg.svd(matrices)
  return _turned(u, vh)[0] @ vh


@_nearest.defjvp
def _nearest_jvp(primals, tangents):
  """M = R S with S symmetric, so that W = R^T dR solves W S + S W = R^T dM - dM^T R."""
  (matrices,), (changes,) = primals, tangents
  u, s, vh = jnp.linalg.svd(matrices)
  u, sign = _turned(u, vh)
  rotation = u @ vh
  signed = s.at[..., 2].multiply(sign)
  sums = signed[..., :, None] + signed[..., None, :]
  floor = svd.RANK_TOLERANCE * jnp.maximum(s[..., :1, None], 1.0)
  # The sums of two different ones are not negative: they fall in absolute value.
  inner = jnp.swapaxes(u, -1, -2) @ changes @ jnp.swapaxes(vh, -1, -2)
  skew = (inner - jnp.swapaxes(inner, -1, -2)) / jnp.maximum(sums, floor)
  return rotation, u @ skew @ vh


def _turned(u, vh):
  """Returns u with its last column flipped where u @ vh mirrors, and the signs."""
  mirrors = jnp.linalg.det(u) * jnp.linalg.det(vh) < 0
  sign = jnp.where(mirrors, -1.0, 1.0).astype(u.dtype)
  return u.at[..., 2].multiply(sign[..., None]), sign
