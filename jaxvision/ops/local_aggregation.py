"""Local guided aggregation: every pixel filters its part of a cost volume by itself."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def local_guided_aggregation(
  volume: chex.Array, filters: chex.Array, *, repeats: int = 1
) -> chex.Array:
  """Returns a volume filtered by a window of each pixel's own over three axes (LGA).

    out(p, d) = Σ f(p; e, r, c) X(p + (r, c), d + e),  e = -1, 0, 1

  with the same filter for all candidates d. Where any index leaves the volume, the
  centre X(p, d) stands for the value there.

  Args:
    volume: [N, D, H, W] float.
    filters: [N, H, W, 3, K, K] float, K odd, in the order e, r, c.
    repeats: how often the filter is applied.

  Returns:
    [N, D, H, W]. Its gradient is of first order and in reverse mode.

  Source: Zhang et al., CVPR 2019, Eq. 8; the order of `filters` is the authors' code's.
  """
  chex.assert_rank([volume, filters], [4, 6])
  chex.assert_type([volume, filters], float)
  batch, _, height, width = volume.shape
  size = filters.shape[-1]
  chex.assert_shape(filters, (batch, height, width, 3, size, size))
  if size % 2 != 1:
    raise ValueError(f"windows of {size} x {size}: the side must be odd")
  taps = jnp.moveaxis(filters.reshape(batch, height, width, -1), -1, 0)
  for _ in range(repeats):
    volume = _aggregate(volume, taps)
  return volume


@jax.custom_vjp
def _aggregate(volume, taps):
  """The taps [3 K K, N, H, W] have the window before the image.

  Images are laid out as single rows in which a shift by any place of the window is a
  shift by some number. Every term slices for itself: on a CPU, what a kernel takes
  several parts of is called as a function for every number.
  """
  depth, radius = volume.shape[1], _radius(len(taps))
  padded, length = _surrounded(volume, radius, along=1), _length(volume, radius)
  starts, rows = _by_row(_flat(taps, radius), volume.shape[3])

  def add(total, place):
    start, row = place
    for number, (e, c) in enumerate(_offsets(rows[0])):
      tap = _tap(rows, row, number, 0, length)
      total = total + tap * _cut(padded, e, depth, start + c, length)
    return total, None

  # A scan, as a sum of all terms would take XLA minutes to compile.
  zeros = jnp.zeros((*volume.shape[:2], length), volume.dtype)
  total, _ = lax.scan(add, zeros, (starts, jnp.arange(len(rows))))
  return _image(total, volume.shape) + _at_the_border(volume, taps)


def _forward(volume, taps):
  return _aggregate(volume, taps), (volume, taps)


def _backward(residuals, cotangent):
  volume, taps = residuals
  depth, radius = volume.shape[1], _radius(len(taps))
  length = _length(volume, radius)
  starts, rows = _by_row(_flat(taps, radius), volume.shape[3])
  _, padded_rows = _by_row(_surrounded(taps, radius, along=0), volume.shape[3])
  padded = _surrounded(cotangent, radius, along=1)

  def spread(total, place):
    """The adjoint of a shift is the opposite shift, also of the tap."""
    start, row = place
    for number, (e, c) in enumerate(_offsets(rows[0])):
      opposite = starts[-1] - start + 2 * radius - c
      tap = _tap(padded_rows, row, number, opposite, length)
      total = total + tap * _cut(padded, 2 - e, depth, opposite, length)
    return total, None

  zeros = jnp.zeros((*volume.shape[:2], length), volume.dtype)
  by_volume, _ = lax.scan(spread, zeros, (starts, jnp.arange(len(rows))))
  by_volume = _image(by_volume, volume.shape) + _at_the_border(cotangent, taps)

  flat_cotangent = jnp.moveaxis(_flat(cotangent, radius), 1, 0)
  padded_volume = _surrounded(volume, radius, along=1)

  def correlate(carry, place):
    start, row = place
    slab = jnp.moveaxis(_part(padded_volume, start, length, radius), 1, 0)

    def add(sums, cells):
      own, *neighbours = lax.optimization_barrier(cells)
      return [
        total + own * neighbours[e][:, c : c + length]
        for total, (e, c) in zip(sums, _offsets(row), strict=True)
      ], None

    cells = (flat_cotangent, slab[:-2], slab[1:-1], slab[2:])
    sums, _ = lax.scan(add, list(jnp.zeros_like(row)), cells)
    return carry, jnp.stack(sums)

  _, by_taps = lax.scan(correlate, None, (starts, rows))
  size = 2 * radius + 1
  by_taps = by_taps.reshape(size, 3, size, *by_taps.shape[2:]).swapaxes(0, 1)
  by_taps = _image(by_taps, volume.shape).reshape(taps.shape)
  products = cotangent * volume
  inside = _inside(len(taps), volume.shape[2:])
  by_taps = by_taps + jnp.where(inside, 0, jnp.sum(products, axis=1))
  third = len(taps) // 3
  by_taps = by_taps.at[:third].add(jnp.where(inside[:third], products[:, 0], 0))
  by_taps = by_taps.at[-third:].add(jnp.where(inside[-third:], products[:, -1], 0))
  return by_volume, by_taps


_aggregate.defvjp(_forward, _backward)


def _surrounded(array, radius, along):
  """Returns [..., D, H, W] with zeros around it, its images as rows.

  Another row of zeros at the end lets every part of `_part` be of one length.
  """
  padding = [(0, 0)] * (array.ndim - 3) + [(along, along)]
  padded = jnp.pad(array, [*padding, (radius, radius + 1), (radius, radius)])
  return padded.reshape(*padded.shape[:-2], -1)


def _flat(array, radius):
  """Returns [..., H, W] with zeros on the right of it, its images as rows."""
  padding = [(0, 0)] * (array.ndim - 1) + [(0, 2 * radius)]
  padded = jnp.pad(array, padding)
  return padded.reshape(*padded.shape[:-2], -1)


def _image(rows, shape):
  """Undoes `_flat` for images of the volume's shape."""
  height, width = shape[-2:]
  return rows.reshape(*rows.shape[:-1], height, -1)[..., :width]


def _length(volume, radius):
  return volume.shape[2] * (volume.shape[3] + 2 * radius)


def _cut(padded, first, depth, start, length):
  """Returns [N, depth, length] of [N, D + 2, L]."""
  sizes = (padded.shape[0], depth, length)
  return lax.dynamic_slice(padded, (0, first, start), sizes)


def _tap(rows, row, number, start, length):
  """Returns a tap of a row of the window, [N, 1, length] of [K, 3 K, N, L]."""
  sizes = (1, 1, rows.shape[2], length)
  return lax.dynamic_slice(rows, (row, number, 0, start), sizes)[0, 0][:, None]


def _part(padded, start, length, radius):
  """Returns what one row of the window meets, and the other columns of the window."""
  return lax.dynamic_slice_in_dim(padded, start, length + 2 * radius, padded.ndim - 1)


def _offsets(taps):
  """Returns (candidate, column) of each tap of a row of the window."""
  return list(itertools.product(range(3), range(len(taps) // 3)))


def _by_row(taps, width):
  """Returns where each row of the window starts, and its taps, [K, 3 K, N, L]."""
  size = 2 * _radius(len(taps)) + 1
  rows = taps.reshape(3, size, size, *taps.shape[1:]).swapaxes(0, 1)
  starts = jnp.arange(size) * (width + size - 1)
  return starts, rows.reshape(size, 3 * size, *taps.shape[1:])


def _at_the_border(volume, taps):
  """Returns what the centre adds where it stands for what is outside the volume."""
  inside = _inside(len(taps), volume.shape[2:])
  third = len(taps) // 3
  centre = jnp.sum(jnp.where(inside, 0, taps), axis=0)[:, None]
  first, last = (
    jnp.sum(jnp.where(inside[part], taps[part], 0), axis=0)[:, None]
    for part in (slice(third), slice(-third, None))
  )
  added = centre * volume
  added = added.at[:, :1].add(first * volume[:, :1])
  return added.at[:, -1:].add(last * volume[:, -1:])


def _radius(taps):
  return (round((taps // 3) ** 0.5) - 1) // 2


def _inside(taps, shape) -> np.ndarray:
  """Returns [taps, 1, H, W]: whether the row and the column are in the image."""
  radius = _radius(taps)
  offsets = np.arange(-radius, radius + 1)
  rows, columns = (
    (offsets[:, None] + np.arange(length) >= 0)
    & (offsets[:, None] + np.arange(length) < length)
    for length in shape
  )
  one = rows[:, None, :, None] & columns[None, :, None, :]
  return np.tile(one.reshape(-1, 1, *shape), (3, 1, 1, 1))
