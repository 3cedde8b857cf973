"""Gaussian filtering of scattered values on the permutohedral lattice, all jittable.

G(x) = Σ_k exp(-|x - f_k|² / 2) v_k costs O(N M) as it stands. On the lattice each of
the N features splats its value onto the d + 1 corners of the simplex around it, and
each query gathers from its own corners: O((N + M) d²) whatever the number of features.
Divide features by their standard deviation σ first.

Corners are found through a hash table of fixed capacity that compares whole keys: the
shapes depend on N, M and d alone, and no two lattice points are ever confused.

Source: Adams, Baek, Davis, Fast high-dimensional filtering using the permutohedral
lattice, Eurographics 2010; without blur: Gao and Tedrake, FilterReg, CVPR 2019.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

# Beyond it float32 no longer tells neighbouring lattice points apart.
LARGEST_FEATURE = 1e6
# Room in the table for each corner: fewer collisions against more memory.
_ROOM = 4


class Simplices(NamedTuple):
  """The simplex around each feature.

  Attributes:
    keys: [N, d + 1, d] int32 lattice points, their last coordinate (minus the sum of
      the others) left out.
    weights: [N, d + 1] barycentric, of sum 1; all 0 where the feature is not finite or
      beyond ±`LARGEST_FEATURE`.
  """

  keys: chex.Array
  weights: chex.Array


class Lattice(NamedTuple):
  """The lattice points around N features, found by hashing.

  A vertex is named by the index, in 0..V-1 with V = N (d + 1), of one of the corners
  that lie there.

  Attributes:
    keys: [V, d] int32 of the corners.
    vertices: [N, d + 1] int32 names of the vertices around each feature.
    weights: [N, d + 1] barycentric weights of the features.
    table: [C] int32 hash table of vertices, -1 where it is free.
  """

  keys: chex.Array
  vertices: chex.Array
  weights: chex.Array
  table: chex.Array


def enclose(features: chex.Array, *, blur: bool = False) -> Simplices:
  """Returns the lattice simplex around each feature.

  Args:
    features: [N, d], in units of the Gaussian's standard deviation.
    blur: whether the lattice is as fine as filtering with `blur` needs it; without,
      splatting and slicing alone have about unit variance.
  """
  chex.assert_rank(features, 2)
  chex.assert_type(features, float)
  features, is_valid = _valid(features)
  d = features.shape[1]
  axes = np.arange(d)
  scales = (d + 1) * np.sqrt((2 / 3 if blur else 1 / 6) / ((axes + 1) * (axes + 2)))
  # Coordinates lead, so that the arithmetic runs along the points.
  scaled = features.T * scales[:, None].astype(features.dtype)
  elevated, total = [], jnp.zeros_like(scaled[0])
  for axis in range(d, 0, -1):
    elevated.append(total - axis * scaled[axis - 1])
    total += scaled[axis - 1]
  elevated = jnp.stack([total, *elevated[::-1]])

  cell = elevated / (d + 1)
  up, down = (d + 1) * jnp.ceil(cell), (d + 1) * jnp.floor(cell)
  nearest = jnp.where(up - elevated < elevated - down, up, down)
  excess = jnp.rint(jnp.sum(nearest, axis=0) / (d + 1)).astype(jnp.int32)
  rest = elevated - nearest
  # Of equal ones the first has the smaller rank: a permutation in any case.
  is_before = np.tri(d + 1, k=-1, dtype=bool)[:, :, None]
  is_larger = jnp.where(
    is_before, rest[None] >= rest[:, None], rest[None] > rest[:, None]
  )
  rank = jnp.sum(is_larger, axis=1, dtype=jnp.int32) + excess
  turn = (d + 1) * ((rank < 0).astype(jnp.int32) - (rank > d).astype(jnp.int32))
  rank, nearest = rank + turn, nearest.astype(jnp.int32) + turn
  rest = jnp.where(turn != 0, rest - turn, rest) / (d + 1)

  places = jnp.arange(d + 1, dtype=jnp.int32)[:, None, None]
  ordered = jnp.sum(jnp.where(rank == places, rest, 0), axis=1)
  first = 1 + ordered[d] - ordered[0]
  weights = jnp.concatenate([first[None], ordered[-2::-1] - ordered[:0:-1]])
  corners = places - (d + 1) * (rank[:d] > d - places)
  keys = jnp.moveaxis(nearest[:d] + corners, -1, 0)
  return Simplices(keys, (weights * is_valid).T)


def build(features: chex.Array, *, blur: bool = False) -> Lattice:
  """Returns the lattice around features [N, d]; arguments as of `enclose`."""
  simplices = enclose(features, blur=blur)
  keys = simplices.keys.reshape(-1, features.shape[1])
  count = keys.shape[0]
  capacity = 1 << max(3, (_ROOM * count - 1).bit_length())
  names = jnp.arange(count, dtype=jnp.int32)
  start, step = _hash(keys)
  exists = jnp.repeat(jnp.any(simplices.weights != 0, axis=1), simplices.keys.shape[1])

  def insert(state):
    """Lets every corner without a vertex try its next slot."""
    probe, table, vertices, is_open = state
    slots = _slots(start, step, probe, capacity)
    is_free = is_open & (table[slots] < 0)
    # The largest of those that come at once has the slot; those of its key share it.
    table = table.at[jnp.where(is_free, slots, capacity)].max(names, mode="drop")
    owners = jnp.maximum(table[slots], 0)
    is_found = is_open & _is_equal(keys[owners], keys)
    vertices = jnp.where(is_found, owners, vertices)
    return probe + 1, table, vertices, is_open & ~is_found

  state = (
    jnp.uint32(0),
    jnp.full(capacity, -1, jnp.int32),
    jnp.zeros(count, jnp.int32),
    exists,
  )
  _, table, vertices, _ = jax.lax.while_loop(
    lambda state: jnp.any(state[-1]), insert, state
  )
  vertices = vertices.reshape(simplices.weights.shape)
  return Lattice(keys, vertices, simplices.weights, table)


def size(lattice: Lattice) -> chex.Array:
  """Returns the number of distinct lattice points, int32 scalar."""
  return jnp.sum(lattice.table >= 0)


def find(lattice: Lattice, keys: chex.Array) -> chex.Array:
  """Returns the vertices [...] at lattice points [..., d], -1 where there are none."""
  chex.assert_axis_dimension(keys, -1, lattice.keys.shape[1])
  chex.assert_type(keys, jnp.int32)
  shape = keys.shape[:-1]
  keys = keys.reshape(-1, keys.shape[-1])
  capacity = lattice.table.shape[0]
  start, step = _hash(keys)

  def look(state):
    probe, vertices, is_open = state
    owners = lattice.table[_slots(start, step, probe, capacity)]
    is_taken = is_open & (owners >= 0)
    is_found = is_taken & _is_equal(lattice.keys[jnp.maximum(owners, 0)], keys)
    vertices = jnp.where(is_found, owners, vertices)
    return probe + 1, vertices, is_taken & ~is_found

  count = keys.shape[0]
  state = jnp.uint32(0), jnp.full(count, -1, jnp.int32), jnp.ones(count, bool)
  vertices = jax.lax.while_loop(lambda state: jnp.any(state[-1]), look, state)[1]
  return vertices.reshape(shape)


def splat(lattice: Lattice, values: chex.Array) -> chex.Array:
  """Returns [V, C] what values [N, C] of the lattice's features give its vertices."""
  chex.assert_rank(values, 2)
  chex.assert_axis_dimension(values, 0, lattice.vertices.shape[0])
  shares = lattice.weights[..., None] * values[:, None]
  shares = shares.reshape(-1, values.shape[1])
  return jnp.zeros_like(shares).at[lattice.vertices.ravel()].add(shares)


def slice_at(
  lattice: Lattice,
  vertex_values: chex.Array,
  features: chex.Array,
  *,
  blur: bool = False,
) -> chex.Array:
  """Returns [M, C] vertex values [V, C] interpolated at other features [M, d].

  Absent lattice points count as 0.
  """
  simplices = enclose(features, blur=blur)
  vertices = find(lattice, simplices.keys)
  weights = jnp.where(vertices >= 0, simplices.weights, 0)
  return _interpolate(vertex_values, jnp.maximum(vertices, 0), weights)


def blur_vertices(lattice: Lattice, vertex_values: chex.Array) -> chex.Array:
  """Returns vertex values [V, C] after a pass of [1/2, 1, 1/2] along each lattice axis.

  Only vertices that exist give and receive.
  """
  d = lattice.keys.shape[1]
  offsets = np.concatenate([(d + 1) * np.eye(d, dtype=np.int32) - 1, -np.ones((1, d))])
  own = jnp.arange(lattice.keys.shape[0])
  names = lattice.vertices.ravel()

  def along(values, offset):
    ahead = find(lattice, lattice.keys + offset)[:, None]
    behind = find(lattice, lattice.keys - offset)[:, None]
    neighbours = sum(
      jnp.where(found >= 0, values[jnp.maximum(found[:, 0], 0)], 0)
      for found in (ahead, behind)
    )
    return jnp.where((own == names)[:, None], values + 0.5 * neighbours, 0), None

  return jax.lax.scan(along, vertex_values, offsets.astype(np.int32))[0]


def gaussian_filter(
  features: chex.Array, values: chex.Array, *, blur: bool = True
) -> chex.Array:
  """Returns about Σ_k exp(-|f_i - f_k|² / 2) v_k, up to one constant factor.

  A feature of value 0 is a pure query. With `blur` the error is that of the original
  lattice; without, sums are 0.46 of the exact ones in three dimensions, and their
  ratios, such as weighted means, are what they are good for.

  Args:
    features: [N, d], in units of the standard deviation.
    values: [N, C].
    blur: whether vertices are blurred; the slower and the more accurate way.

  Returns:
    [N, C], multiplied by 1 / (1 + 2^-d).
  """
  lattice = build(features, blur=blur)
  vertex_values = splat(lattice, values)
  if blur:
    vertex_values = blur_vertices(lattice, vertex_values)
  filtered = _interpolate(vertex_values, lattice.vertices, lattice.weights)
  return filtered / (1 + 2.0 ** -features.shape[1])


def _valid(features):
  # The comparison is False for NaN.
  is_valid = jnp.all(jnp.abs(features) <= LARGEST_FEATURE, axis=-1)
  return jnp.where(is_valid[:, None], features, 0), is_valid


def _interpolate(vertex_values, vertices, weights):
  corners = vertex_values[vertices]
  return jnp.sum(weights[..., None] * corners, axis=-2)


def _is_equal(keys, others):
  return jnp.all(keys == others, axis=-1)


def _hash(keys):
  """Returns the first slot and the odd step to the next, uint32, of int32 keys."""
  factors = [pow(0x9E3779B1, axis + 1, 2**32) for axis in range(keys.shape[-1])]
  terms = keys.astype(jnp.uint32) * np.array(factors, np.uint32)
  mixed = jnp.sum(terms, axis=-1, dtype=jnp.uint32)
  # Mixes all bits into all (Wellons' lowbias32).
  mixed = (mixed ^ (mixed >> 16)) * np.uint32(0x7FEB352D)
  mixed = (mixed ^ (mixed >> 15)) * np.uint32(0x846CA68B)
  mixed ^= mixed >> 16
  return mixed, (mixed >> 8) | 1


def _slots(start, step, probe, capacity):
  return ((start + probe * step) & np.uint32(capacity - 1)).astype(jnp.int32)
