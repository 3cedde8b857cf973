"""Multiresolution iso-surface extraction: a field evaluated near its level set only.

The field is evaluated at the corners of a coarse grid first; cells that the level set
may cross are split into eight, again and again. Which ones depends on values, so the
loop runs in numpy; the field itself is called in chunks of one fixed size, so that a
jitted one compiles once.

Source: Mescheder et al., Occupancy Networks, CVPR 2019, Section 3.3.
"""

import dataclasses
from collections.abc import Callable

import chex
import numpy as np

Field = Callable[[np.ndarray], chex.Array]


@dataclasses.dataclass(frozen=True)
class Extraction:
  """What is known of a field.

  Attributes:
    values: [N, N, N] at the points of the finest grid, axes x, y, z. What was not
      evaluated has the value of the nearest point that was, at lower x, else y, else z.
    known: [N, N, N] whether a value was evaluated.
    counts: points evaluated in each round.
  """

  values: np.ndarray
  known: np.ndarray
  counts: tuple[int, ...]


def extract(
  field: Field,
  *,
  resolution: int = 32,
  steps: int = 2,
  level: float = 0.0,
  low: float = -0.55,
  high: float = 0.55,
  chunk: int | None = 16384,
) -> Extraction:
  """Evaluates a field where its level set is, from coarse to fine.

  A cell is split when known values at its corners, or at points that finer neighbours
  put on its faces and edges, lie on both sides of the level; a value that equals the
  level is on both. Parts of the level set smaller than a coarse cell may be missed.

  Args:
    field: points [M, 3] float64 -> [M] values, finite or infinite. Called with `chunk`
      points, the last of them repeated where there are fewer.
    resolution: coarse cells along an axis, ≥ 1.
    steps: how often cells are halved; N = resolution * 2^steps + 1. With 0 the grid has
      `resolution` points along an axis, all evaluated (as the authors' code does).
    level: value of the wanted level set.
    low, high: the cube's extent along every axis.
    chunk: points a call; None for all the points of a round in one call.

  Raises:
    ValueError: the field gives NaN or another shape, or a number is out of its range.
  """
  if resolution < (1 if steps else 2) or steps < 0 or not low < high:
    raise ValueError(f"resolution {resolution}, steps {steps}, cube [{low}, {high}]")
  if chunk is not None and chunk < 1:
    raise ValueError(f"chunk {chunk} is not positive")
  size = resolution * 2**steps if steps else resolution - 1
  shape = (size + 1,) * 3
  values = np.full(shape, np.nan)
  known = np.zeros(shape, bool)
  wanted = np.zeros(shape, bool)
  wanted[(slice(None, None, 2**steps),) * 3] = True
  # Leaves of each edge length 2^s that may still be split.
  leaves = {2**s: np.zeros((size >> s,) * 3, bool) for s in range(1, steps + 1)}
  if steps:
    leaves[2**steps][:] = True

  counts = []
  while wanted.any():
    index = np.argwhere(wanted)
    # In one multiplication, so that a coarse point has the same bits at any depth.
    points = (high - low) * (index / size) + low
    found = _evaluate(field, points, chunk)
    values[wanted] = found
    known |= wanted
    counts.append(len(index))
    wanted[:] = False
    split = {
      edge: cells & _crossed(values, edge, level) for edge, cells in leaves.items()
    }
    for edge, cells in split.items():
      leaves[edge] &= ~cells
      corners = np.argwhere(cells) * edge
      half = edge // 2
      if half > 1:
        leaves[half] |= _children(cells)
      for offset in np.ndindex(3, 3, 3):
        wanted[tuple((corners + half * np.array(offset)).T)] = True
    wanted &= ~known
  return Extraction(_fill(values, known), known, tuple(counts))


def _evaluate(field, points, chunk):
  """Returns the field's values [M] at points [M, 3]."""
  count = len(points)
  chunk = chunk or count
  padded = np.pad(points, ((0, -count % chunk), (0, 0)), mode="edge")
  # All calls are under way before the first result is waited for.
  parts = [field(part) for part in padded.reshape(-1, chunk, 3)]
  for part in parts:
    if np.shape(part) != (chunk,):
      raise ValueError(f"the field gives {np.shape(part)} for {chunk} points")
  values = np.concatenate([np.asarray(part, np.float64) for part in parts])[:count]
  bad = np.isnan(values)
  if bad.any():
    raise ValueError(f"the field is NaN at {bad.sum()} of {count} points")
  return values


def _crossed(values, edge, level):
  """Returns for each cell of an edge length whether values lie on both sides."""
  highest = _reduce_blocks(values, edge, np.fmax)  # which pass over what is unknown
  lowest = _reduce_blocks(values, edge, np.fmin)
  return (highest >= level) & (lowest <= level)


def _reduce_blocks(values, edge, reduce):
  """Reduces over closed cells, which share the points of their faces."""
  for axis in range(3):
    values = np.moveaxis(values, axis, 0)
    cells = (len(values) - 1) // edge
    inner = values[:-1].reshape(cells, edge, *values.shape[1:])
    reduced = reduce(reduce.reduce(inner, axis=1), values[edge::edge])
    values = np.moveaxis(reduced, 0, axis)
  return values


def _children(cells):
  for axis in range(3):
    cells = cells.repeat(2, axis=axis)
  return cells


def _fill(values, known):
  """Copies the previous known value, along x, then y, then z."""
  known = known.copy()
  for axis in range(3):
    values, known = np.moveaxis(values, axis, 0), np.moveaxis(known, axis, 0)
    order = np.arange(len(values)).reshape(-1, 1, 1)
    previous = np.maximum.accumulate(np.where(known, order, 0), axis=0)
    values = np.take_along_axis(values, previous, axis=0)
    known = np.take_along_axis(known, previous, axis=0)
    values, known = np.moveaxis(values, 0, axis), np.moveaxis(known, 0, axis)
  return values
