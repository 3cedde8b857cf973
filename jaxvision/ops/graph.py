"""Nearest neighbours, spanning forests and connected components, all jittable.

Edges are index pairs [E, 2]; which of them exist is told by a mask [E], so that shapes
do not depend on the data.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

_ROWS_AT_ONCE = 256


class Forest(NamedTuple):
  """A minimum spanning forest.

  Attributes:
    in_forest: [E] whether an edge belongs to it.
    labels: [N] component of each node, 0, 1, ... in the order of the components' first
      nodes.
    count: number of components, int32 scalar.
  """

  in_forest: chex.Array
  labels: chex.Array
  count: chex.Array


def nearest_neighbors(points: chex.Array, k: int) -> tuple[chex.Array, chex.Array]:
  """Returns indices and distances of each point's k nearest others, nearest first.

  Exhaustive, a block of rows at a time: O(N² D) work, O(N) memory.

  Args:
    points: [N, D]. A point with NaN or infinities is infinitely far from all others.
    k: 1 to N - 1.

  Returns:
    [N, k] int32 indices and [N, k] Euclidean distances.
  """
  chex.assert_rank(points, 2)
  chex.assert_type(points, float)
  count = points.shape[0]
  if not 1 <= k < count:
    raise ValueError(f"{count} points have 1 to {count - 1} neighbours, not {k}")
  points = jnp.asarray(points)
  is_finite = jnp.all(jnp.isfinite(points), axis=-1)
  points = jnp.where(is_finite[:, None], points, 0.0)
  squares = jnp.where(is_finite, jnp.sum(jnp.square(points), axis=-1), jnp.inf)

  def neighbors(index):
    products = jnp.matmul(points, points[index], precision="highest")
    squared = jnp.where(jnp.arange(count) == index, jnp.inf, squares - 2 * products)
    found = jax.lax.top_k(-squared, k)[1]
    # The difference of squares above has lost digits; k differences are cheap.
    distances = jnp.linalg.norm(points[found] - points[index], axis=-1)
    distances = jnp.where(is_finite[found] & is_finite[index], distances, jnp.inf)
    order = jnp.argsort(distances)
    return found[order], distances[order]

  rows = jnp.arange(count)
  return jax.lax.map(neighbors, rows, batch_size=min(count, _ROWS_AT_ONCE))


def spanning_forest(
  pairs: chex.Array, lengths: chex.Array, mask: chex.Array, num_nodes: int
) -> Forest:
  """Returns a minimum spanning forest, by Borůvka's algorithm.

  Args:
    pairs: [E, 2] nodes that an edge joins, in any direction.
    lengths: [E] of the edges; of equal ones the earlier edge counts as shorter.
    mask: [E] which edges exist.
    num_nodes: N.
  """
  chex.assert_shape(pairs, (None, 2))
  chex.assert_shape([lengths, mask], (pairs.shape[0],))
  num_edges = pairs.shape[0]

  def leaves(labels):
    ends = labels[pairs]
    return ends, mask & (ends[:, 0] != ends[:, 1])

  def merge(state):
    in_forest, labels = state
    ends, is_leaving = leaves(labels)

    def least(values):
      """Returns the least of values [E, 2] at the edges' ends in each component."""
      return jax.ops.segment_min(values.ravel(), ends.ravel(), num_segments=num_nodes)

    length = jnp.where(is_leaving, lengths, jnp.inf)[:, None]
    shortest = least(jnp.broadcast_to(length, ends.shape))
    is_shortest = is_leaving[:, None] & (length == shortest[ends])
    chosen = least(jnp.where(is_shortest, jnp.arange(num_edges)[:, None], num_edges))
    has_edge = chosen < num_edges
    chosen = jnp.where(has_edge, chosen, num_edges)
    in_forest = in_forest.at[chosen].set(True, mode="drop")
    # Each component points at the one its edge leads to; of two that point at each
    # other the smaller becomes the root.
    nodes = jnp.arange(num_nodes)
    one, other = jnp.moveaxis(ends[jnp.minimum(chosen, num_edges - 1)], -1, 0)
    parent = jnp.where(has_edge, jnp.where(one == nodes, other, one), nodes)
    parent = jnp.where((parent[parent] == nodes) & (nodes < parent), nodes, parent)
    parent = jax.lax.while_loop(
      lambda parent: jnp.any(parent != parent[parent]),
      lambda parent: parent[parent],
      parent,
    )
    return in_forest, parent[labels]

  state = jnp.zeros(num_edges, bool), jnp.arange(num_nodes)
  if num_edges:
    state = jax.lax.while_loop(lambda state: jnp.any(leaves(state[1])[1]), merge, state)
  in_forest, labels = state
  # The label of a component becomes its rank among the first nodes of all.
  first = jax.ops.segment_min(jnp.arange(num_nodes), labels, num_segments=num_nodes)[
    labels
  ]
  is_first = first == jnp.arange(num_nodes)
  return Forest(in_forest, (jnp.cumsum(is_first) - 1)[first], jnp.sum(is_first))


def connected_components(pairs: chex.Array, mask: chex.Array, num_nodes: int) -> Forest:
  """Returns any spanning forest, for its `labels` and `count`.

  Args:
    pairs: [E, 2] nodes that an edge joins.
    mask: [E] which edges exist.
    num_nodes: N.
  """
  return spanning_forest(pairs, jnp.zeros(pairs.shape[0]), mask, num_nodes)
