"""Distances between images by the maps of a network that sees them."""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp


def perceptual_distance(
  maps_a: Sequence[chex.Array],
  maps_b: Sequence[chex.Array],
  heads: Sequence[chex.Array] | None = None,
  *,
  epsilon: float = 1e-10,
) -> chex.Array:
  """Returns LPIPS: squared differences of maps whose pixels have unit length.

  Args:
    maps_a: of each tapped layer [N, h, w, C], of one batch of images.
    maps_b: of the other.
    heads: of each layer, [C] weights of its channels, not negative; ones when None.
    epsilon: added to the length of a pixel's features.

  Returns:
    [N]: sums over channels and layers, means over pixels.

  Source: Zhang et al., CVPR 2018, Eq. 1.
  """
  heads = [None] * len(maps_a) if heads is None else heads
  total = 0.0
  for a, b, head in zip(maps_a, maps_b, heads, strict=True):
    chex.assert_rank([a, b], 4)
    chex.assert_equal_shape([a, b])
    squares = jnp.square(_unit(a, epsilon) - _unit(b, epsilon))
    if head is not None:
      chex.assert_shape(head, (a.shape[-1],))
      squares = squares * head
    total += jnp.mean(jnp.sum(squares, axis=-1), axis=(1, 2))
  return total


def _unit(x: jax.Array, epsilon: float) -> jax.Array:
  squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  # A pixel that no channel answers to keeps length 0, and has gradient 0.
  is_zero = squares == 0
  length = jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))
  return x / (length + epsilon)
