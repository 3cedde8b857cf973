"""Correlation of features with their neighbourhood in another image.

Made of slices and matrix products: nothing is gathered, and the gradient is of the
same kind.
"""

import chex
import jax
import jax.numpy as jnp

_TILE = 16  # columns whose windows share one matrix product


def unit_length(features: chex.Array, *, epsilon: float = 1e-12) -> chex.Array:
  """Returns the features divided by their L2 norm over the channels.

  Args:
    features: [..., C] float.
    epsilon: smallest square of the norm; features that are all 0 stay 0, and their
      gradient is finite.

  Source: tf.nn.l2_normalize.
  """
  chex.assert_type(features, float)
  square = jnp.sum(jnp.square(features), axis=-1, keepdims=True)
  return features * jax.lax.rsqrt(jnp.maximum(square, epsilon))


def local_correlation(
  first: chex.Array, second: chex.Array, *, radius: int = 4
) -> chex.Array:
  """Returns the inner products of features with a window of the other image's.

  cost[y, x, (dy + r)(2 r + 1) + dx + r] = Σ_c first[y, x, c] second[y + dy, x + dx, c]
  for dy and dx from -r to r, where the second image is 0 outside of itself.

  Args:
    first: [B, H, W, C] float.
    second: [B, H, W, C] float.
    radius: r, of the window in pixels.

  Returns:
    [B, H, W, (2 r + 1)²]: a sum over channels, not the mean; of features of unit
    length a cosine in [-1, 1].

  Source: Sun et al., PWC-Net, CVPR 2018, Eq. 2.
  """
  chex.assert_rank([first, second], 4)
  chex.assert_type([first, second], float)
  chex.assert_equal_shape([first, second])
  chex.assert_scalar_non_negative(radius)
  batch, height, width, channels = first.shape
  side = 2 * radius + 1
  # A window must not reach beyond the tile to the right of its own.
  tile = max(min(_TILE, width), 2 * radius)
  tiles = -(-width // tile)

  first = jnp.pad(first, ((0, 0), (0, 0), (0, tiles * tile - width), (0, 0)))
  first = first.reshape(batch, height, tiles, tile, channels)
  right = (tiles + 1) * tile - width - radius
  second = jnp.pad(second, ((0, 0), (radius,) * 2, (radius, right), (0, 0)))
  second = second.reshape(batch, height + 2 * radius, tiles + 1, tile, channels)
  windows = jnp.concatenate([second[:, :, :-1], second[:, :, 1:, : 2 * radius]], axis=3)
  shifted = jnp.stack([windows[:, dy : dy + height] for dy in range(side)], axis=3)

  # All pairs of a column of the tile and one of its window, of which a band is wanted.
  count = batch * height * tiles
  pairs = jnp.einsum(
    "nwc,nkc->nwk",
    first.reshape(count, tile, channels),
    shifted.reshape(count, -1, channels),
    precision=jax.lax.Precision.HIGHEST,
  )
  cost = _band(pairs.reshape(count, tile, side, tile + 2 * radius), side)
  return cost.reshape(batch, height, tiles * tile, side * side)[:, :, :width]


def _band(matrices: chex.Array, count: int) -> chex.Array:
  """Returns [..., i, d, k] = matrices[..., i, d, i + k] for k below `count`.

  Args:
    matrices: [..., n, D, n + count - 1].
    count: width of the band.
  """
  *leading, rows, depth, columns = matrices.shape
  # Rows one element longer, so that a diagonal of the matrix becomes a column.
  flat = matrices.reshape(*leading, rows * depth * columns)
  flat = jnp.pad(flat, [(0, 0)] * len(leading) + [(0, rows)])
  sheared = flat.reshape(*leading, rows, depth * columns + 1)[..., : depth * columns]
  return sheared.reshape(*leading, rows, depth, columns)[..., :count]
