"""Semi-global aggregation of cost volumes: guided and differentiable, and classical.

Volumes are [N, D, H, W, C] (D candidates of each pixel, C channels) or [N, D, H, W].
A path runs through the whole image in one direction; DIRECTIONS is their order.

Every recursion is one `lax.scan` over the cells of a path. Guided aggregation goes
through the image in strips of some hundred numbers a row, which stay in the cache, and
its gradient computes the recursion again, strip by strip: it keeps no volume but the
direction that won at each place.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax

DIRECTIONS = ("down", "up", "right", "left")
TERMS = 5
_LANES = 64  # numbers in a row of a strip, for each direction
_EPSILON = 1e-12


class _Options(NamedTuple):
  directions: tuple[str, ...]
  fusion: str
  authors_gradient: bool


def normalize_weights(weights: chex.Array, axis: int | tuple[int, ...]) -> chex.Array:
  """Returns the weights over the sum of their absolute values along some axes.

  Signs stay, so that the sum is 1 only where no weight is negative; what keeps the
  recursions bounded is the sum of absolute values.

  Args:
    weights: float, any shape.
    axis: along which they are normalised.

  Returns:
    The same shape; zeros stay zeros.

  Source: Zhang et al., CVPR 2019, Section 3.1; F.normalize(p=1) in the authors' code.
  """
  chex.assert_type(weights, float)
  total = jnp.sum(jnp.abs(weights), axis=axis, keepdims=True)
  return weights / jnp.maximum(total, _EPSILON)


def semi_global_aggregation(
  cost: chex.Array,
  weights: chex.Array,
  *,
  directions: Sequence[str] = DIRECTIONS,
  fusion: str = "max",
  authors_gradient: bool = False,
) -> chex.Array:
  """Returns costs aggregated along whole-image paths by weights of each pixel (SGA).

  With q the cell before p on its path and A the result of a direction,

    A(p, d) = w0 C(p, d) + w1 A(q, d) + w2 A(q, d - 1) + w3 A(q, d + 1)
              + w4 max_i A(q, i),

  where C(p, d) stands for what lies outside the candidates, and for all of A(q, .) at
  the first cell of a path.

  Args:
    cost: [N, D, H, W, C] float.
    weights: [N, H, W, K, 5, C] float, w0 to w4 of each of the K directions; see
      `normalize_weights`. |A| <= max |C| where their absolute values sum to 1.
    directions: names from DIRECTIONS, in their order; "down" has increasing rows.
    fusion: "max" over the directions, where the earlier one wins ties and alone gets
      the gradient, or "sum".
    authors_gradient: whether the gradient is that of the authors' CUDA code. It differs
      from the true one at the first cells of paths only, where C gets w0 (at the ends
      of the candidates also w2 or w3) times what it should get five weights of, and w1
      to w4 get none.

  Returns:
    [N, D, H, W, C]. Its gradient, of first order and in reverse mode, goes through the
    first of equal maxima.

  Source: Zhang et al., CVPR 2019, Eqs. 5 and 6; libs/GANet in the authors' code.
  """
  chex.assert_rank([cost, weights], [5, 6])
  chex.assert_type([cost, weights], float)
  batch, _, height, width, channels = cost.shape
  shape = (batch, height, width, len(directions), TERMS, channels)
  chex.assert_shape(weights, shape)
  if not directions or tuple(directions) != tuple(
    name for name in DIRECTIONS if name in directions
  ):
    raise ValueError(f"directions {directions} are not some of {DIRECTIONS}, in order")
  if fusion not in ("max", "sum"):
    raise ValueError(f"fusion is {fusion!r}, not 'max' or 'sum'")
  options = _Options(tuple(directions), fusion, authors_gradient)
  # As volumes of five "candidates", one for each direction.
  return _aggregate(cost, jnp.moveaxis(weights, (3, 4), (0, 2)), options)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _aggregate(cost, weights, options):
  return _aggregate_forward(cost, weights, options)[0]


def _aggregate_forward(cost, weights, options):
  """Returns the fused volume, and (cost, weights, winning direction)."""
  carry = (jnp.zeros_like(cost), jnp.zeros_like(cost, jnp.int8))
  for part in _by_axis(cost.shape, options.directions):
    step = functools.partial(_fuse_strip, cost, weights, options, part)
    carry, _ = lax.scan(step, carry, jnp.arange(part.count))
  fused, winner = carry
  return fused, (cost, weights, winner)


def _fuse_strip(cost, weights, options, part, carry, index):
  """Fuses a strip's directions with those of the carry, unless it has none yet."""
  costs = part.read(cost, index)
  aggregated = _scan(part.along(costs), part.weights(weights, index))
  best, winner = (part.read(volume, index) for volume in carry)
  for number, own in zip(part.numbers, part.apart(aggregated), strict=True):
    if number == 0:
      best = own
    elif options.fusion == "sum":
      best = best + own
    else:
      winner = jnp.where(own > best, jnp.int8(number), winner)
      best = jnp.maximum(best, own)
  fused, winners = carry
  return (part.write(fused, best, index), part.write(winners, winner, index)), None


def _aggregate_backward(options, residuals, cotangent):
  cost, weights, _ = residuals
  gradients = (jnp.zeros_like(cost), jnp.zeros_like(weights))
  for part in _by_axis(cost.shape, options.directions):
    step = functools.partial(_differentiate_strip, residuals, cotangent, options, part)
    gradients, _ = lax.scan(step, gradients, jnp.arange(part.count))
  return gradients


def _differentiate_strip(residuals, cotangent, options, part, carry, index):
  """Adds to the gradients what a strip's directions give."""
  cost, weights, winner = residuals
  by_cost, by_weights = carry
  above, won = part.read(cotangent, index), part.read(winner, index)
  upstream = [above] * len(part.numbers)
  if options.fusion == "max":
    upstream = [jnp.where(won == number, above, 0) for number in part.numbers]
  own_cost, own_weights = _scan_backward(
    part.along(part.read(cost, index)),
    part.weights(weights, index),
    part.together(upstream),
    options.authors_gradient,
  )
  total = part.read(by_cost, index) + sum(part.apart(own_cost))
  for number, own in zip(part.numbers, part.apart(own_weights), strict=True):
    by_weights = part.write(by_weights, own, index, number)
  return (part.write(by_cost, total, index), by_weights), None


_aggregate.defvjp(_aggregate_forward, _aggregate_backward)


@dataclasses.dataclass(frozen=True)
class _Part:
  """The vertical or the horizontal directions, and the strips they run through.

  Attributes:
    vertical: whether paths are columns.
    numbers: of the directions.
    backwards: whether their paths begin at the far end.
    count: number of strips.
    size: paths of each strip.
  """

  vertical: bool
  numbers: tuple[int, ...]
  backwards: tuple[bool, ...]
  count: int
  size: int

  def read(self, volume, index):
    """Returns strip `index` as [path, candidates, lanes]."""
    axis = 3 if self.vertical else 2
    strip = lax.dynamic_slice_in_dim(volume, index * self.size, self.size, axis)
    strip = jnp.moveaxis(strip, 5 - axis, 0).swapaxes(1, 2)  # [P, D, N, size, C]
    return strip.reshape(*strip.shape[:2], -1)

  def write(self, volume, strip, index, number=None):
    """Returns the volume (of direction `number`) with strip `index` replaced."""
    axis = 3 if self.vertical else 2
    batch, channels = volume.shape[-5], volume.shape[-1]
    strip = strip.reshape(*strip.shape[:2], batch, self.size, channels)
    strip = jnp.moveaxis(strip.swapaxes(1, 2), 0, 5 - axis)
    start = [0] * 5
    start[axis] = index * self.size
    if number is not None:
      strip, start = strip[None], [number, *start]
    return lax.dynamic_update_slice(volume, strip, start)

  def together(self, strips):
    """Returns the strips of all directions side by side, each in its own order."""
    pairs = zip(strips, self.backwards, strict=True)
    ordered = [strip[::-1] if backwards else strip for strip, backwards in pairs]
    return jnp.concatenate(ordered, axis=-1)

  def along(self, strip):
    """Returns the same strip side by side, once for each direction."""
    return self.together([strip] * len(self.numbers))

  def weights(self, weights, index):
    """Returns the weights of all directions side by side."""
    return self.together([self.read(weights[n], index) for n in self.numbers])

  def apart(self, strips):
    """Returns the strips of each direction, in the order of the image."""
    parts = jnp.split(strips, len(self.numbers), axis=-1)
    pairs = zip(parts, self.backwards, strict=True)
    return [strip[::-1] if backwards else strip for strip, backwards in pairs]


def _by_axis(shape, directions):
  """Yields the parts that the directions have; the first direction is in the first."""
  vertical = tuple(name in ("down", "up") for name in directions)
  batch, _, height, width, channels = shape
  for is_vertical in dict.fromkeys(vertical):
    length = width if is_vertical else height
    wanted = min(length, max(1, _LANES // (batch * channels)))
    size = max(n for n in range(1, wanted + 1) if length % n == 0)
    if 2 * size < wanted:  # no good divisor: a prime, say
      size = length
    numbers = [n for n, value in enumerate(vertical) if value == is_vertical]
    backwards = [directions[n] in ("up", "left") for n in numbers]
    yield _Part(is_vertical, tuple(numbers), tuple(backwards), length // size, size)


def _scan(cost, weights):
  """Returns the recursion along the paths [P, D, M] of a strip."""

  def step(before, cell):
    own, w = cell
    # A copy of its own: shifts inside the sum would not be vectorised on a CPU.
    around = jnp.concatenate([own[:1], before, own[-1:]])
    around, own, w = lax.optimization_barrier((around, own, w))
    highest = jnp.max(before, 0, keepdims=True)
    after = w[0] * own + w[1] * before + w[2] * around[:-2] + w[3] * around[2:]
    after = after + w[4] * highest
    return after, after

  start = cost[0] * jnp.sum(weights[0], axis=0)
  _, rest = lax.scan(step, start, (cost[1:], weights[1:]))
  return jnp.concatenate([start[None], rest])


def _scan_backward(cost, weights, upstream, authors_gradient):
  """Returns the gradients of a strip's cost and weights."""
  aggregated = _scan(cost, weights)
  candidates = cost.shape[1]
  numbers = lax.broadcasted_iota(jnp.int32, cost.shape[1:], 0)

  def step(later, cell):
    """`later` is what the following cell adds to this one's gradient."""
    own, w, before, above = cell
    g = above + later
    highest = jnp.max(before, 0, keepdims=True)
    where = jnp.min(jnp.where(before == highest, numbers, candidates), 0, keepdims=True)
    total = jnp.sum(g, 0)
    by_cost = w[0] * g
    by_cost = by_cost.at[0].add(w[2] * g[0]).at[-1].add(w[3] * g[-1])
    by_weights = jnp.stack(
      [
        jnp.sum(g * own, 0),
        jnp.sum(g * before, 0),
        jnp.sum(g[1:] * before[:-1], 0) + g[0] * own[0],
        jnp.sum(g[:-1] * before[1:], 0) + g[-1] * own[-1],
        highest[0] * total,
      ]
    )
    earlier = w[1] * g + jnp.where(numbers == where, w[4] * total, 0)
    earlier = earlier.at[:-1].add(w[2] * g[1:]).at[1:].add(w[3] * g[:-1])
    return earlier, (by_cost, by_weights)

  cells = (cost[1:], weights[1:], aggregated[:-1], upstream[1:])
  later, rest = lax.scan(step, jnp.zeros_like(upstream[0]), cells, reverse=True)
  g, w = upstream[0] + later, weights[0]
  product = jnp.sum(g * cost[0], 0)
  if authors_gradient:
    by_cost = (w[0] * g).at[0].add(w[2] * g[0]).at[-1].add(w[3] * g[-1])
    by_weights = jnp.zeros_like(w).at[0].set(product)
  else:
    by_cost = jnp.sum(w, axis=0) * g
    by_weights = jnp.broadcast_to(product, w.shape)
  return [
    jnp.concatenate([first[None], others])
    for first, others in zip((by_cost, by_weights), rest, strict=True)
  ]


def classical_semi_global_matching(
  cost: chex.Array,
  small_penalty: chex.Numeric,
  large_penalty: chex.Numeric,
  *,
  directions: Sequence[str] = DIRECTIONS,
) -> chex.Array:
  """Returns the summed path costs of classical semi-global matching.

    A(p, d) = C(p, d) + min(A(q, d), A(q, d - 1) + P1, A(q, d + 1) + P1,
                            min_i A(q, i) + P2) - min_i A(q, i)

  Args:
    cost: [N, D, H, W] float or int, lower is better.
    small_penalty: P1, of disparities that change by one; a scalar or [N, H, W].
    large_penalty: P2, of larger changes; a scalar or [N, H, W], at p.
    directions: names from DIRECTIONS.

  Returns:
    [N, D, H, W] sum over the directions, in the type of `cost`; integers stay exact.

  Source: Hirschmüller, TPAMI 2008, Eq. 13; Eq. 3 in Zhang et al., CVPR 2019.
  """
  chex.assert_rank(cost, 4)
  batch, _, height, width = cost.shape
  penalties = [
    jnp.broadcast_to(jnp.asarray(penalty, cost.dtype), (batch, height, width))
    for penalty in (small_penalty, large_penalty)
  ]

  def step(before, cell):
    own, p1, p2 = cell
    lowest = jnp.min(before, 0, keepdims=True)
    best = jnp.minimum(before, lowest + p2)
    best = best.at[1:].min(before[:-1] + p1).at[:-1].min(before[1:] + p1)
    after = own + best - lowest
    return after, after

  total = jnp.zeros_like(cost)
  for direction in directions:
    if direction not in DIRECTIONS:
      raise ValueError(f"direction {direction!r} is none of {DIRECTIONS}")
    axis = 0 if direction in ("down", "up") else 1
    # [path, D, N, the other axis]
    own = jnp.moveaxis(cost, 2 + axis, 0).swapaxes(1, 2)
    p1, p2 = (jnp.moveaxis(penalty, 1 + axis, 0) for penalty in penalties)
    reverse = direction in ("up", "left")
    # Nothing but a tie precedes the first cell, so that it keeps its own costs.
    start = jnp.zeros_like(own[0])
    _, path = lax.scan(step, start, (own, p1, p2), reverse=reverse)
    total = total + jnp.moveaxis(path.swapaxes(1, 2), 0, 2 + axis)
  return total
