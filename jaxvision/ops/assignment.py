"""Linear assignment: which column each row takes, at the least total cost.

Shortest augmenting paths with dual prices (Jonker and Volgenant), whole in one jitted
loop; exact up to the rounding of sums of costs, and exact for small whole numbers.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

_HUGE = 1e25  # sums along a path stay finite


class _Matching(NamedTuple):
  """Both directions of a partial assignment, -1 where there is none; and prices."""

  column_of: chex.Array  # [M]
  row_of: chex.Array  # [N]
  row_price: chex.Array  # [M]
  column_price: chex.Array  # [N]


def assign(costs: chex.Array) -> chex.Array:
  """Returns the columns that rows take in an assignment of least total cost.

  Args:
    costs: [..., M, N] in any unit, negative too. NaN and infinities count as a cost
      that is taken only where nothing else is left.

  Returns:
    [..., M] int32 columns, all different. Of M > N rows, those that get none have -1.
    Of several assignments of the same cost any one is returned.

  Source: Jonker and Volgenant, A shortest augmenting path algorithm for dense and
    sparse linear assignment problems, Computing 1987; Crouse 2016, for M < N.
  """
  chex.assert_type(costs, float)
  chex.assert_shape(costs, (..., None, None))
  rows, columns = costs.shape[-2:]
  if 0 in (rows, columns):
    return jnp.full(costs.shape[:-1], -1, jnp.int32)
  if rows > columns:
    flat = assign(jnp.swapaxes(costs, -1, -2)).reshape(-1, columns)
    empty = jnp.full((flat.shape[0], rows), -1, jnp.int32)
    order = jnp.arange(columns, dtype=jnp.int32)
    found = jax.vmap(lambda whole, taken: whole.at[taken].set(order))(empty, flat)
    return found.reshape(costs.shape[:-1])
  flat = costs.reshape(-1, rows, columns)
  return jax.vmap(_assign)(flat).reshape(costs.shape[:-1])


def permutation(scores: chex.Array) -> chex.Array:
  """Returns the permutation matrices of greatest <P, score>.

  Args:
    scores: [..., N, N].

  Returns:
    [..., N, N] of 0 and 1 in the type of the scores.
  """
  size = scores.shape[-1]
  chex.assert_shape(scores, (..., size, size))
  return jax.nn.one_hot(assign(-scores), size, dtype=scores.dtype)


def total(costs: chex.Array, columns: chex.Array) -> chex.Array:
  """Returns the cost [...] of the assignment `columns` [..., M] under [..., M, N]."""
  chex.assert_equal_shape([costs[..., 0], columns])
  index = jnp.maximum(columns, 0)[..., None]
  taken = jnp.take_along_axis(costs, index, axis=-1)[..., 0]
  return jnp.sum(jnp.where(columns < 0, 0.0, taken), axis=-1)


def _assign(costs):
  costs = _tame(costs)
  return jax.lax.while_loop(
    lambda matching: jnp.any(matching.column_of < 0),
    lambda matching: _augment(costs, matching),
    _greedy(costs),
  ).column_of


def _tame(costs):
  """Replaces what is not finite by a cost that all others together do not reach."""
  finite = jnp.isfinite(costs)
  known = jnp.clip(jnp.where(finite, costs, 0.0), -_HUGE, _HUGE)
  largest = (1 + 2 * jnp.max(jnp.abs(known))) * costs.shape[0]
  return jnp.where(finite, known, largest)


def _greedy(costs):
  """Gives each column to the first row that it is the cheapest for."""
  rows, columns = costs.shape
  best = jnp.argmin(costs, axis=1)
  # The smallest row for each column, or `rows` for none.
  first = jnp.full(columns, rows).at[best].min(jnp.arange(rows))
  is_first = first[best] == jnp.arange(rows)
  return _Matching(
    column_of=jnp.where(is_first, best, -1).astype(jnp.int32),
    row_of=jnp.where(first < rows, first, -1).astype(jnp.int32),
    row_price=jnp.min(costs, axis=1),
    column_price=jnp.zeros(columns, costs.dtype),
  )


def _augment(costs, matching):
  """Assigns one more row along the shortest path of alternating reduced costs."""
  rows, columns = costs.shape
  is_free = matching.column_of < 0
  # Under vmap a complete matching comes here too: it has no start, and no loop begins.
  start = jnp.where(jnp.any(is_free), jnp.argmax(is_free), -1).astype(jnp.int32)

  def extend(state):
    row, length, lengths, previous, is_reached, _ = state
    through = (length - matching.row_price[row]) + costs[row] - matching.column_price
    is_shorter = ~is_reached & (through < lengths)
    lengths = jnp.where(is_shorter, through, lengths)
    previous = jnp.where(is_shorter, row, previous)
    column = jnp.argmin(jnp.where(is_reached, jnp.inf, lengths))
    is_reached = is_reached.at[column].set(True)
    return (
      matching.row_of[column],
      lengths[column],
      lengths,
      previous,
      is_reached,
      column,
    )

  _, length, lengths, previous, is_reached, column = jax.lax.while_loop(
    lambda state: state[0] >= 0,
    extend,
    (
      start,
      jnp.zeros((), costs.dtype),
      jnp.full(columns, jnp.inf, costs.dtype),
      jnp.full(columns, -1, jnp.int32),
      jnp.zeros(columns, bool),
      jnp.full((), -1, jnp.int32),
    ),
  )
  # The prices keep all reduced costs at least 0, and those of the matching 0.
  gain = jnp.where(is_reached, length - lengths, 0.0)
  holder = jnp.where(matching.row_of < 0, rows, matching.row_of)
  row_price = matching.row_price.at[holder].add(gain, mode="drop")
  row_price = row_price.at[start].add(length)

  def flip(state):
    column, column_of, row_of = state
    row = previous[column]
    taken_before = column_of[row]
    return taken_before, column_of.at[row].set(column), row_of.at[column].set(row)

  # It begins at the free column and ends at the row that had none.
  _, column_of, row_of = jax.lax.while_loop(
    lambda state: state[0] >= 0,
    flip,
    (column.astype(jnp.int32), matching.column_of, matching.row_of),
  )
  return _Matching(column_of, row_of, row_price, matching.column_price - gain)
