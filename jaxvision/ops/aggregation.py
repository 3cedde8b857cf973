"""Semi-global aggregation of cost volumes: guided and differentiable, and classical.

Volumes are [N, D, H, W, C] (D candidates of each pixel, C channels) or [N, D, H, W].
A path runs through the whole image in one direction; DIRECTIONS is their order.

Every recursion is one `lax.scan` over the cells of a path. Guided aggregation goes
through the image in strips, and its gradient computes the recursion again, strip by
strip: it keeps no volume but the direction that won at each place.
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
_STRIP = 6144  # numbers in a cell of all paths of a strip, at most
_FOLD = 8  # rows that are summed at a time
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
  return _aggregate(
    cost, weights, _Options(tuple(directions), fusion, authors_gradient)
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _aggregate(cost, weights, options):
  return _aggregate_forward(cost, weights, options)[0]


def _aggregate_forward(cost, weights, options):
  """Returns the fused volume, and (cost, weights, winning direction)."""
  volumes = _filled(cost), _filled(cost, jnp.int8)
  for order, part in enumerate(_parts(cost.shape, options.directions)):
    volumes = tuple(part.laid_out(volume) for volume in volumes)
    step = functools.partial(_fuse_strip, cost, weights, options, part, order > 0)
    volumes, _ = lax.scan(step, volumes, jnp.arange(part.count))
    volumes = [volume.reshape(cost.shape) for volume in volumes]
  fused, winner = volumes
  return fused, (cost, weights, winner)


def _fuse(options, earlier, later):
  """Fuses the (volume, winning direction) of earlier directions with others'."""
  (fused, winner), (others, their_winner) = earlier, later
  if options.fusion == "sum":
    return fused + others, winner
  return jnp.maximum(fused, others), jnp.where(others > fused, their_winner, winner)


def _fuse_strip(cost, weights, options, part, adds, volumes, index):
  """Writes what a strip's directions fuse to, with what is there if it adds."""
  costs = part.read(cost, index)
  fused = None
  for number, backwards in zip(part.numbers, part.backwards, strict=True):
    own = _recursion(costs, part.read_weights(weights, number, index), backwards)
    own = own, jnp.full(own.shape, number, jnp.int8)
    fused = own if fused is None else _fuse(options, fused, own)
  if adds:
    # The directions of the later part, which was gone through first.
    fused = _fuse(options, fused, [part.read(volume, index) for volume in volumes])
  pairs = zip(volumes, fused, strict=True)
  return tuple(part.write(volume, strip, index) for volume, strip in pairs), None


def _aggregate_backward(options, residuals, cotangent):
  cost, weights, _ = residuals
  by_cost, by_weights = _filled(cotangent), _filled(weights)
  for order, part in enumerate(_parts(cost.shape, options.directions)):
    step = functools.partial(
      _differentiate_strip, residuals, cotangent, options, part, order > 0
    )
    carry = part.laid_out(by_cost), by_weights
    (by_cost, by_weights), _ = lax.scan(step, carry, jnp.arange(part.count))
    by_cost = by_cost.reshape(cost.shape)
  return by_cost, by_weights


def _differentiate_strip(residuals, cotangent, options, part, adds, carry, index):
  """Writes the gradients of a strip's directions, that of the cost added if told."""
  cost, weights, winner = residuals
  by_cost, by_weights = carry
  costs, above = part.read(cost, index), part.read(cotangent, index)
  won = part.read(winner, index)
  total = part.read(by_cost, index) if adds else None
  for number, backwards in zip(part.numbers, part.backwards, strict=True):

    def upstream(cell, number=number):
      if options.fusion == "sum":
        return _row(above, cell)
      return jnp.where(_row(won, cell) == number, _row(above, cell), 0)

    own_weights = part.read_weights(weights, number, index)
    total, own = _recursion_backward(
      costs, own_weights, upstream, backwards, total, options.authors_gradient
    )
    by_weights = part.write_weights(by_weights, own, number, index)
  return (part.write(by_cost, total, index), by_weights), None


_aggregate.defvjp(_aggregate_forward, _aggregate_backward)


@dataclasses.dataclass(frozen=True)
class _Part:
  """The vertical or the horizontal directions, and the strips they run through.

  A strip is [D, P, M]: the cells P of M paths. The paths are those of all images and
  channels, through neighbouring columns or rows.

  Attributes:
    vertical: whether paths are columns.
    numbers: of the directions.
    backwards: whether their paths begin at the far end.
    count: number of strips.
    size: columns or rows of each strip.
  """

  vertical: bool
  numbers: tuple[int, ...]
  backwards: tuple[bool, ...]
  count: int
  size: int

  def laid_out(self, volume):
    """Returns [N, D, H, W, C] in the shape that strips are written to.

    It must not be reshaped in the loop over the strips: it would be copied.
    """
    return volume.reshape(*volume.shape[:3], -1) if self.vertical else volume

  def read(self, volume, index):
    """Returns strip `index` of a volume, laid out or not."""
    if self.vertical:
      rows = volume.reshape(*volume.shape[:3], -1)
      lanes = rows.shape[3] // self.count
      strip = lax.dynamic_slice_in_dim(rows, index * lanes, lanes, 3)
    else:
      strip = lax.dynamic_slice_in_dim(volume, index * self.size, self.size, 2)
      strip = strip.swapaxes(2, 3)
    strip = strip.reshape(*strip.shape[:3], -1)
    return jnp.moveaxis(strip, 0, 2).reshape(*strip.shape[1:3], -1)

  def write(self, volume, strip, index):
    """Returns a volume, laid out, with strip `index` replaced."""
    strip = strip.reshape(*strip.shape[:2], volume.shape[0], -1)
    strip = jnp.moveaxis(strip, 2, 0)
    if self.vertical:
      return lax.dynamic_update_slice_in_dim(volume, strip, index * strip.shape[3], 3)
    strip = strip.reshape(*strip.shape[:3], self.size, -1).swapaxes(2, 3)
    return lax.dynamic_update_slice_in_dim(volume, strip, index * self.size, 2)

  def read_weights(self, weights, number, index):
    """Returns strip `index` of a direction of [N, H, W, K, 5, C], [5, P, M]."""
    axis = 2 if self.vertical else 1
    strip = lax.dynamic_slice_in_dim(weights, index * self.size, self.size, axis)
    strip = jnp.moveaxis(strip[:, :, :, number], (3, 3 - axis), (0, 1))
    return strip.reshape(*strip.shape[:2], -1)

  def write_weights(self, weights, strip, number, index):
    """Returns [N, H, W, K, 5, C] with strip `index` of a direction replaced."""
    axis = 2 if self.vertical else 1
    batch, channels = weights.shape[0], weights.shape[-1]
    strip = strip.reshape(*strip.shape[:2], batch, self.size, channels)
    strip = jnp.moveaxis(strip, (0, 1), (3, 3 - axis))[:, :, :, None]
    start = [0, 0, 0, number, 0, 0]
    start[axis] = index * self.size
    return lax.dynamic_update_slice(weights, strip, start)


def _parts(shape, directions):
  """Yields the parts that the directions have, the last of them first.

  Only the second part reads what has been written, which costs nothing where strips lie
  in the volume as they are: in the vertical part.
  """
  batch, candidates, height, width, channels = shape
  vertical = tuple(name in ("down", "up") for name in directions)
  for is_vertical in dict.fromkeys(reversed(vertical)):
    length = width if is_vertical else height
    wanted = min(length, max(1, _STRIP // (candidates * batch * channels)))
    size = max(n for n in range(1, wanted + 1) if length % n == 0)
    if 2 * size < wanted:  # no good divisor: a prime, say
      size = length
    numbers = [n for n, value in enumerate(vertical) if value == is_vertical]
    backwards = [directions[n] in ("up", "left") for n in numbers]
    yield _Part(is_vertical, tuple(numbers), tuple(backwards), length // size, size)


# What follows is written for XLA's CPU compiler. In one kernel, a dynamic slice (or
# anything else) that is used twice is called as a function for every number, which is
# not vectorised: every use has a slice of its own, and what is to be shifted along the
# candidates is copied first (`_copy`). Sums are of a few rows at a time (`_fold`).


def _row(strip, cell, start=0, rows=None):
  """Returns rows of one cell of all paths, [rows, M], by default all of them."""
  sizes = (strip.shape[0] if rows is None else rows, 1, strip.shape[2])
  return lax.dynamic_slice(strip, (start, cell, 0), sizes)[:, 0]


def _put(strip, row, cell):
  """Returns the strip with one cell of all paths replaced."""
  return lax.dynamic_update_slice(strip, row[:, None], (0, cell, 0))


def _copy(*rows):
  """Returns rows below each other, in memory of their own."""
  return lax.optimization_barrier(jnp.concatenate(rows))


def _filled(array, dtype=None):
  """Returns an array of the same shape to be written to, its values unimportant.

  A constant would be kept apart and copied for each use.
  """
  value = jnp.full(array.shape, array[(0,) * array.ndim], dtype)
  return lax.optimization_barrier(value)


def _fold(rows_at, count, join, reduce):
  """Returns the sum, or the like, of `rows_at(start, size)` over `count` rows, [1, M].

  Args:
    rows_at: (start, size) -> [size, M].
    count: how many rows there are.
    join: of two numbers.
    reduce: the same along an axis.
  """
  whole = count - count % _FOLD
  parts = [rows_at(start, _FOLD) for start in range(0, whole, _FOLD)]
  rest = [rows_at(start, 1) for start in range(whole, count)]
  if parts:
    rest = [reduce(functools.reduce(join, parts), 0, keepdims=True), *rest]
  return functools.reduce(join, rest)


def _path(length, backwards):
  """Returns the first cell of a path and the step from a cell to the next."""
  return (length - 1, -1) if backwards else (0, 1)


def _surroundings(cost, paths, cell, order):
  """Returns what a cell has before it, [D + 2, M]: its own costs lie at both ends."""
  first, last = (_row(cost, cell, start, 1) for start in (0, len(cost) - 1))
  return _copy(first, _row(paths, cell - order), last)


def _highest(around):
  count = len(around) - 2
  return _fold(lambda k, n: around[1 + k : 1 + k + n], count, jnp.maximum, jnp.max)


def _recursion(cost, weights, backwards):
  """Returns the recursion along the paths [D, P, M] of a strip."""
  first, order = _path(cost.shape[1], backwards)

  def step(paths, number):
    cell = first + order * number
    around = _surroundings(cost, paths, cell, order)
    w = [_row(weights, cell, term, 1) for term in range(TERMS)]
    after = w[0] * _row(cost, cell) + w[1] * around[1:-1]
    after = after + w[2] * around[:-2] + w[3] * around[2:] + w[4] * _highest(around)
    return _put(paths, after, cell), None

  start = cost[:, first] * jnp.sum(weights[:, first], axis=0)
  paths = _put(_filled(cost), start, first)
  return lax.scan(step, paths, jnp.arange(1, cost.shape[1]))[0]


def _recursion_backward(cost, weights, upstream, backwards, total, authors_gradient):
  """Returns a strip's gradients: that of the cost added to another, and the weights'.

  Args:
    cost: [D, P, M].
    weights: [5, P, M].
    upstream: cell -> what comes from above, [D, M].
    backwards: as `_Part` has it.
    total: what the cost's gradient is added to, or None.
    authors_gradient: as `semi_global_aggregation` has it.
  """
  candidates, length, _ = cost.shape
  first, order = _path(length, backwards)
  paths = _recursion(cost, weights, backwards)
  numbers = jnp.arange(candidates, dtype=cost.dtype)[:, None]
  count = functools.partial(_fold, count=candidates)

  def added(cell, row):
    return row if total is None else _row(total, cell) + row

  def step(carry, number):
    """`later` is what the following cell adds to this one's gradient."""
    later, by_cost, by_weights = carry
    cell = first + order * number
    nothing = jnp.zeros_like(later[:1])
    g = _copy(nothing, upstream(cell) + later, nothing)
    own = g[1:-1]
    around = _surroundings(cost, paths, cell, order)
    w = [_row(weights, cell, term, 1) for term in range(TERMS)]
    highest = _highest(around)

    def sum_with(other):
      return count(
        lambda k, n: g[1 + k : 1 + k + n] * other(k, n), join=jnp.add, reduce=jnp.sum
      )

    all_of_g = sum_with(lambda k, n: 1)
    products = [sum_with(lambda k, n: _row(cost, cell, k, n))] + [
      sum_with(lambda k, n, shift=shift: around[shift + k : shift + k + n])
      for shift in (1, 0, 2)
    ]
    by_weights = _put(
      by_weights, jnp.concatenate([*products, highest * all_of_g]), cell
    )
    ends = jnp.where(numbers == 0, w[2], 0) + jnp.where(numbers == numbers[-1], w[3], 0)
    by_cost = _put(by_cost, added(cell, (w[0] + ends) * own), cell)

    # The first of equal maxima.
    where = count(
      lambda k, n: jnp.where(
        around[1 + k : 1 + k + n] == highest, numbers[k : k + n], candidates
      ),
      join=jnp.minimum,
      reduce=jnp.min,
    )
    later = w[1] * own + w[2] * g[2:] + w[3] * g[:-2]
    later = later + jnp.where(numbers == where, w[4] * all_of_g, 0)
    return (later, by_cost, by_weights), None

  carry = (jnp.zeros_like(cost[:, 0]), _filled(cost), _filled(weights))
  cells = jnp.arange(1, length)
  (later, by_cost, by_weights), _ = lax.scan(step, carry, cells, reverse=True)
  g, w = upstream(first) + later, weights[:, first]
  product = jnp.sum(g * cost[:, first], axis=0, keepdims=True)
  if authors_gradient:
    own = (w[0] * g).at[0].add(w[2] * g[0]).at[-1].add(w[3] * g[-1])
    product = jnp.concatenate([product, jnp.zeros_like(w[1:])])
  else:
    own = jnp.sum(w, axis=0) * g
    product = jnp.broadcast_to(product, w.shape)
  by_cost = _put(by_cost, added(first, own), first)
  return by_cost, _put(by_weights, product, first)


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
