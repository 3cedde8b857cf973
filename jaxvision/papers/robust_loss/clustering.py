"""Generalised robust continuous clustering (gRCC).

Every point owns a representative that is drawn to the point and, along the edges of a
neighbourhood graph, to the representatives next to it. Under a robust loss the edges
between clusters let go, and clusters collapse.

Source: Section 3.4; Shah, Koltun, Robust Continuous Clustering, PNAS 2017 (α = -2).
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import graph, robust

ITERATIONS = 100
_ITERATIONS_PER_LEVEL = 4
_CG_TOLERANCE = 1e-3
_CG_ITERATIONS = 30
_POWER_ITERATIONS = 30


class Edges(NamedTuple):
  """A neighbourhood graph.

  Attributes:
    pairs: [E, 2] nodes.
    lengths: [E] distances of the points.
    weights: [E] > 0, or 0 where there is no edge.
  """

  pairs: chex.Array
  lengths: chex.Array
  weights: chex.Array


class Clustering(NamedTuple):
  """The result of `solve`.

  Attributes:
    labels: [N] cluster of each point, 0, 1, ...; -1 where a point is not finite.
    count: number of clusters.
    representatives: [N, D].
  """

  labels: chex.Array
  count: chex.Array
  representatives: chex.Array


def neighborhood(points: chex.Array, k: int = 10) -> Edges:
  """Returns the mutual k-nearest-neighbour graph joined with a spanning forest.

  Args:
    points: [N, D], N ≥ 2. Points with NaN or infinities get no edges.
    k: neighbours; N - 1 where there are no more.

  Returns:
    Edges with E = N k, of weight (mean degree) / √(degree degree).

  Raises:
    ValueError: there are fewer than two points.
  """
  chex.assert_rank(points, 2)
  count = points.shape[0]
  if count < 2:
    raise ValueError(f"clustering needs at least two points, not {count}")
  indices, distances = graph.nearest_neighbors(points, min(k, count - 1))
  start = jnp.broadcast_to(jnp.arange(count)[:, None], indices.shape)
  is_mutual = jnp.any(indices[indices] == start[..., None], axis=-1)
  # A mutual edge is found from both of its ends and counts once.
  is_first = (~is_mutual | (start < indices)) & jnp.isfinite(distances)
  pairs = jnp.stack([start, indices], axis=-1).reshape(-1, 2)
  lengths, is_mutual, is_first = (
    array.ravel() for array in (distances, is_mutual, is_first)
  )
  forest = graph.spanning_forest(pairs, lengths, is_first, count)
  exists = is_first & (is_mutual | forest.in_forest)

  degrees = _scatter(pairs, exists.astype(points.dtype), count, sign=1)
  mean = jnp.sum(degrees) / count
  weights = mean / jnp.sqrt(jnp.maximum(jnp.prod(degrees[pairs], axis=-1), 1))
  return Edges(pairs, lengths, jnp.where(exists, weights, 0))


def solve(points: chex.Array, edges: Edges, alpha: chex.Numeric) -> Clustering:
  """Returns the clusters that minimise Σ |x - u|² + λ Σ w ρ(|u_p - u_q|, α, c).

  Args:
    points: [N, D] x. Those with NaN or infinities are left out.
    edges: of `neighborhood(points)`.
    alpha: shape α ≤ 2 of the loss; -2 is the original algorithm.
  """
  chex.assert_type(points, float)
  chex.assert_rank(points, 2)
  count = points.shape[0]
  is_finite = jnp.all(jnp.isfinite(points), axis=-1)
  points = jnp.where(is_finite[:, None], points, 0.0)
  tiny = jnp.finfo(points.dtype).tiny
  exists = edges.weights > 0
  longest = jnp.max(jnp.where(exists, edges.lengths, 0))
  near = _mean_of_shortest(edges.lengths, exists)
  points_norm = jnp.sqrt(_spectral_norm(lambda v: points.T @ (points @ v), points[0]))

  def laplacian(strengths, u):
    shape = -1, *[1] * (u.ndim - 1)
    return _scatter(edges.pairs, strengths.reshape(shape) * _along(edges, u), count)

  def step(state, iteration):
    u, mu, balance = state
    is_due = iteration % _ITERATIONS_PER_LEVEL == 0
    mu = jnp.where(is_due & (iteration > 0), jnp.maximum(mu / 2, least_mu), mu)
    distances = jnp.linalg.norm(_along(edges, u), axis=-1)
    # The weight of α = -2 at c² = μ / 4 is that of RCC, (μ / (μ + r²))².
    strengths = edges.weights * robust.weight(distances, alpha, jnp.sqrt(mu) / 2)

    def rebalance():
      """Lets the graph weigh as much as the points, by their spectral norms."""
      norm = _spectral_norm(lambda v: laplacian(strengths, v), points[:, 0])
      return points_norm / jnp.maximum(norm, tiny)

    balance = jax.lax.cond(is_due, rebalance, lambda: balance)
    u, _ = jax.scipy.sparse.linalg.cg(
      lambda u: u + balance * laplacian(strengths, u),
      points,
      x0=u,
      tol=_CG_TOLERANCE,
      maxiter=_CG_ITERATIONS,
    )
    return (u, mu, balance), None

  least_mu = jnp.maximum(near / 2, tiny)
  first_mu = jnp.maximum(3 * jnp.square(longest), tiny)
  state = points, first_mu, jnp.zeros_like(first_mu)
  (u, *_), _ = jax.lax.scan(step, state, jnp.arange(ITERATIONS))
  is_close = exists & (jnp.linalg.norm(_along(edges, u), axis=-1) <= near)
  found = graph.connected_components(edges.pairs, is_close, count)
  # Points that are not finite are components of their own, which do not count.
  holds_point = jax.ops.segment_max(is_finite, found.labels, num_segments=count)
  rank = jnp.cumsum(holds_point) - 1
  labels = jnp.where(is_finite, rank[found.labels], -1)
  return Clustering(labels, jnp.max(labels) + 1, u)


def _along(edges, u):
  """Returns differences of values u [N, ...] along the edges, [E, ...]."""
  return u[edges.pairs[:, 0]] - u[edges.pairs[:, 1]]


def _scatter(pairs, values, count, sign=-1):
  """Adds values [E, ...] to the first nodes, and sign times to the second ones."""
  zeros = jnp.zeros((count, *values.shape[1:]), values.dtype)
  return zeros.at[pairs[:, 0]].add(values).at[pairs[:, 1]].add(sign * values)


def _spectral_norm(apply, like):
  """Returns the largest eigenvalue of a positive semidefinite map of vectors."""

  def iterate(vector, _):
    image = apply(vector)
    norm = jnp.linalg.norm(image)
    return image / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny), norm

  start = jax.random.normal(jax.random.key(0), like.shape, like.dtype)
  start /= jnp.linalg.norm(start)
  return jax.lax.scan(iterate, start, length=_POWER_ITERATIONS)[1][-1]


def _mean_of_shortest(lengths, exists, share=0.01):
  ranked = jnp.sort(jnp.where(exists, lengths, jnp.inf))
  count = jnp.maximum(jnp.floor(share * jnp.sum(exists)), 1)
  return jnp.sum(jnp.where(jnp.arange(lengths.size) < count, ranked, 0)) / count
