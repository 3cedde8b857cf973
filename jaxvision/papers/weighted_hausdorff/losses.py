"""Average and weighted Hausdorff distances, and the loss of counts (M1 to M4)."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvision.ops.nearest import nearest

EPSILON = 1e-6
TRAINING_EXPONENT = -1.0  # the harmonic mean

# Elements of maps that are swept at once: as much as a core's cache holds.
_ELEMENTS_AT_ONCE = 2**17


class Terms(NamedTuple):
  """The two terms: pixels to their nearest point, and points to the pixels."""

  first: chex.Array
  second: chex.Array


def averaged_hausdorff(
  first: chex.Array,
  second: chex.Array,
  first_valid: chex.Array | None = None,
  second_valid: chex.Array | None = None,
  *,
  empty: chex.Numeric = jnp.inf,
) -> chex.Array:
  """Returns the sum of both sets' mean distances to the nearest point of the other.

  Args:
    first: [M, d] points.
    second: [N, d] points.
    first_valid, second_valid: [M] and [N] bool; all when None.
    empty: what it is when a set has no valid point.

  Source: Eq. 4.
  """
  chex.assert_rank([first, second], 2)
  chex.assert_type([first, second], float)
  if not first.shape[0] or not second.shape[0]:
    return jnp.asarray(empty, first.dtype)
  stop = jax.lax.stop_gradient

  def directed(queries, query_valid, points, valid):
    found, distances = nearest(stop(queries), stop(_hide(points, valid)))
    away = queries - points[found]
    squares = jnp.sum(jnp.square(away), axis=1)
    # The root's gradient at 0 is set to 0.
    is_apart = squares > 0
    roots = jnp.where(is_apart, jnp.sqrt(jnp.where(is_apart, squares, 1.0)), 0.0)
    roots = jnp.where(query_valid & jnp.isfinite(distances), roots, 0.0)
    return jnp.sum(roots) / jnp.maximum(jnp.sum(query_valid), 1)

  ones = [jnp.ones(len(points), bool) for points in (first, second)]
  first_valid = ones[0] if first_valid is None else first_valid
  second_valid = ones[1] if second_valid is None else second_valid
  total = directed(first, first_valid, second, second_valid)
  total += directed(second, second_valid, first, first_valid)
  return jnp.where(jnp.any(first_valid) & jnp.any(second_valid), total, empty)


def _hide(points, valid):
  return jnp.where(valid[:, None], points, jnp.inf)


def weighted_hausdorff(
  maps: chex.Array,
  points: chex.Array,
  valid: chex.Array,
  sizes: chex.Array,
  *,
  exponent: float = TRAINING_EXPONENT,
  epsilon: float = EPSILON,
  published_empty: bool = False,
) -> Terms:
  """Returns the terms of the weighted Hausdorff distance, means over a batch.

  Distances are in pixels of the original images. An image without points has the terms
  0 and the largest distance, and no gradient. Memory is that of a few maps, whatever
  the number of points: all distances are visited once, point by point, and the gradient
  is made on the way.

  Args:
    maps: [B, H, W] in [0, 1]; only they have a gradient.
    points: [B, N, 2] (row, column) in pixels of the maps.
    valid: [B, N] bool.
    sizes: [B, 2] height and width of the original images.
    exponent: of the generalised mean over pixels, negative; -∞ would be the minimum.
    epsilon: added to the sum of a map, and to what is averaged.
    published_empty: whether an image without points has one at (-1, -1) instead, as in
      the published code, whose test for such images never holds.

  Source: Eq. 5 to 7 with the constants of the published code.
  """
  chex.assert_rank([maps, points, valid, sizes], [3, 3, 2, 2])
  chex.assert_type([maps, points, valid], [float, float, bool])
  chex.assert_equal_shape_prefix([maps, points, valid, sizes], 1)
  chex.assert_axis_dimension(points, -1, 2)
  if exponent >= 0:
    raise ValueError(f"exponent is {exponent}, not negative")
  if published_empty:
    none = ~jnp.any(valid, axis=1)
    points = points.at[:, 0].set(jnp.where(none[:, None], -1.0, points[:, 0]))
    valid = valid.at[:, 0].set(valid[:, 0] | none)
  scales = (sizes / jnp.array(maps.shape[1:])).astype(maps.dtype)

  def one(arrays):
    return _terms(*arrays, exponent, epsilon)

  arrays = maps, points.astype(maps.dtype), valid, scales
  at_once = max(1, _ELEMENTS_AT_ONCE // maps[0].size)
  if at_once >= len(maps):
    terms = jax.vmap(lambda *arrays: one(arrays))(*arrays)
  else:
    terms = jax.lax.map(one, arrays, batch_size=at_once if at_once > 1 else None)
  return Terms(*(jnp.mean(term) for term in terms))


def largest_distance(height: int, width: int) -> float:
  """Returns the diagonal of a map, which stands for "no pixel is on"."""
  return float((height**2 + width**2) ** 0.5)


def _terms(weights, points, valid, scale, exponent, epsilon):
  """Returns the terms of one map [H, W]."""

  @jax.custom_vjp
  def terms(weights, points, valid, scale):
    return _sweep(weights, points, valid, scale, exponent, epsilon, slopes=False)[0]

  def forward(weights, points, valid, scale):
    return _sweep(weights, points, valid, scale, exponent, epsilon, slopes=True)

  def backward(slopes, cotangents):
    products = [c * slope for c, slope in zip(cotangents, slopes, strict=True)]
    return sum(products), None, None, None

  terms.defvjp(forward, backward)
  return terms(weights, points, valid, scale)


def _sweep(weights, points, valid, scale, exponent, epsilon, *, slopes):
  """Returns the terms, and with `slopes` their gradients by the weights, else None.

  The generalised mean M of f over the n pixels has dM/df = M · s / f with the share
  s = f^a / Σ f^a, which for a = -1 is M² / (n f²).
  """
  height, width = weights.shape
  largest = largest_distance(height, width)
  rows = scale[0] * jnp.arange(height, dtype=weights.dtype)
  columns = scale[1] * jnp.arange(width, dtype=weights.dtype)
  off = (1 - weights) * largest + epsilon

  def visit(carry, point):
    nearest, total, slope = carry
    (row, column), is_valid = point
    squares = jnp.square(rows - scale[0] * row)[:, None]
    distance = jnp.sqrt(squares + jnp.square(columns - scale[1] * column))
    nearest = jnp.where(is_valid, jnp.minimum(nearest, distance), nearest)
    value, by_weight = _generalized_mean(
      weights * distance + off, distance - largest, exponent, slopes
    )
    total = jnp.where(is_valid, total + value, total)
    if slopes:
      slope = jnp.where(is_valid, slope + by_weight, slope)
    return (nearest, total, slope), None

  zero = jnp.zeros((), weights.dtype)
  start = jnp.full_like(weights, jnp.inf), zero, jnp.zeros_like(weights)
  (nearest, total, slope), _ = jax.lax.scan(visit, start, (points, valid))

  count = jnp.sum(valid)
  is_some = count > 0
  nearest = jnp.where(is_some, nearest, 0.0)
  mass = jnp.sum(weights) + epsilon
  first = jnp.sum(weights * nearest) / mass
  second = jnp.where(is_some, total / jnp.maximum(count, 1), largest)
  if not slopes:
    return Terms(first, second), None
  by_first = (nearest - first) / mass
  return Terms(first, second), (by_first, slope / jnp.maximum(count, 1))


def _generalized_mean(values, slope, exponent, slopes):
  """Returns the mean of values [H, W], and its gradient where they change by slope."""
  if exponent == -1.0:
    inverse = 1 / values
    mean = values.size / jnp.sum(inverse)
    factor = jnp.square(mean) / values.size
    return mean, factor * jnp.square(inverse) * slope if slopes else None
  # Powers such as 362^-9 do not fit float32: all is done with logarithms.
  logs = exponent * jnp.log(values)
  total = jax.nn.logsumexp(logs)
  mean = jnp.exp((total - jnp.log(values.size)) / exponent)
  return mean, mean * jnp.exp(logs - total) / values * slope if slopes else None


def count_loss(counts: chex.Array, true_counts: chex.Array) -> chex.Array:
  """Returns the smooth L1 distance of counts [B], averaged (M4)."""
  chex.assert_equal_shape([counts, true_counts])
  return jnp.mean(optax.losses.huber_loss(counts, true_counts, delta=1.0))


def one_hot_loss(maps: chex.Array, points: chex.Array, valid: chex.Array) -> chex.Array:
  """Returns the baseline's loss: squared errors to maps that are 1 at points, else 0.

  They are summed over pixels and averaged over images: a mean over pixels would be so
  small that the count's loss drowns it.

  Args:
    maps: [B, H, W] in [0, 1].
    points: [B, N, 2] (row, column) in pixels.
    valid: [B, N] bool.
  """
  chex.assert_rank([maps, points, valid], [3, 3, 2])
  _, height, width = maps.shape
  index = jnp.round(points).astype(jnp.int32)
  rows = jnp.clip(index[..., 0], 0, height - 1)
  columns = jnp.clip(index[..., 1], 0, width - 1)
  images = jnp.arange(len(maps))[:, None]
  target = jnp.zeros_like(maps).at[images, rows, columns].max(valid.astype(maps.dtype))
  return jnp.mean(jnp.sum(jnp.square(maps - target), axis=(1, 2)))
