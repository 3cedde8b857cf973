"""Smoothness of dense fields that gives way at the edges of an image."""

import chex
import jax
import jax.numpy as jnp


def edge_aware_smoothness(
  field: chex.Array, images: chex.Array, *, order: int = 1, sharpness: float = 10.0
) -> chex.Array:
  """Returns the mean |difference of neighbours| of a field, weighted by the image.

  The weight of a difference is exp(-sharpness · mean_c |difference of the image|).

  Args:
    field: [B, H, W, F] float, e.g. flow or disparity; more than `order` pixels a side.
    images: [B, H, W, C] float in [0, 1].
    order: 1 for first differences, which want a constant field; 2 for second ones,
      which want a linear field.
    sharpness: how soon an edge of the image lets the field change.

  Returns:
    Scalar: the sum of the means along rows and along columns; 0 has gradient 0.

  Source: Godard et al., CVPR 2017, Eq. 3 (order 1); Jonschkowski et al., What Matters
    in Unsupervised Optical Flow, ECCV 2020, Eq. 5 (order 2).
  """
  chex.assert_rank([field, images], 4)
  chex.assert_type([field, images], float)
  chex.assert_equal_shape_prefix([field, images], 3)
  if order not in (1, 2):
    raise ValueError(f"order is {order}, not 1 or 2")
  if min(field.shape[1:3]) <= order:
    raise ValueError(f"field {field.shape} has no differences of order {order}")
  total = 0.0
  for axis in (1, 2):
    change, edge = field, images
    for _ in range(order):
      change = _difference(change, axis)
    edge = _difference(edge, axis)
    if order == 2:  # the stronger of the two edges that a second difference spans
      size = edge.shape[axis]
      pair = [jax.lax.slice_in_dim(edge, i, size - 1 + i, axis=axis) for i in (0, 1)]
      edge = jnp.maximum(*map(jnp.abs, pair))
    weight = jnp.exp(-sharpness * jnp.mean(jnp.abs(edge), axis=-1, keepdims=True))
    total += jnp.mean(weight * _magnitude(change))
  return total


def _difference(x: chex.Array, axis: int) -> chex.Array:
  size = x.shape[axis]
  high = jax.lax.slice_in_dim(x, 1, size, axis=axis)
  return high - jax.lax.slice_in_dim(x, 0, size - 1, axis=axis)


def _magnitude(x: chex.Array) -> chex.Array:
  """Returns |x|, whose gradient at 0 is 0 (that of jnp.abs is 1)."""
  return jnp.where(x > 0, x, -x) * jnp.where(x == 0, 0.0, 1.0).astype(x.dtype)
