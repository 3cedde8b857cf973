"""Baselines in closed form: spectral synchronization and MatchEIG."""

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import assignment
from jaxvision.papers.permutation_sync.problem import Problem

# Up to this size all eigenvectors are computed; above, the n needed are iterated.
_DENSE = 1024
_SPARE = 8  # directions that are iterated beside those needed
_ROUNDS = 60
_CONVERGED = 1e-4


def block_matrix(problem: Problem, num_nodes: int) -> chex.Array:
  """Returns W [N n, N n]: blocks P_ij, P_ji = P_ijᵀ, the identity as its diagonal."""
  one, other = problem.edges[:, 0], problem.edges[:, 1]
  size = problem.matches.shape[-1]
  blocks = jnp.zeros((num_nodes, num_nodes, size, size), problem.matches.dtype)
  blocks = blocks.at[one, other].add(problem.matches)
  blocks = blocks.at[other, one].add(jnp.swapaxes(problem.matches, 1, 2))
  nodes = jnp.arange(num_nodes)
  blocks = blocks.at[nodes, nodes].add(jnp.eye(size))
  return blocks.transpose(0, 2, 1, 3).reshape(num_nodes * size, num_nodes * size)


def eigenvectors(problem: Problem, num_nodes: int) -> tuple[chex.Array, chex.Array]:
  """Returns the n greatest eigenvalues of W [n], ascending, and eigenvectors.

  Returns:
    [n] and [N, n, n]: block i is rows i n to (i + 1) n of the eigenvectors.
  """
  size = problem.matches.shape[-1]
  if num_nodes * size <= _DENSE:
    values, vectors = jnp.linalg.eigh(block_matrix(problem, num_nodes))
    return values[-size:], vectors[:, -size:].reshape(num_nodes, size, size)
  values, vectors = _iterate(problem, num_nodes)
  return values[-size:], vectors[..., -size:]


def _multiply(problem, vectors):
  """Returns W times [N, n, K] without forming W."""
  one, other = problem.edges[:, 0], problem.edges[:, 1]
  to_one = jnp.matmul(problem.matches, vectors[other], precision="highest")
  transposed = jnp.swapaxes(problem.matches, 1, 2)
  to_other = jnp.matmul(transposed, vectors[one], precision="highest")
  return vectors.at[one].add(to_one).at[other].add(to_other)


def _iterate(problem, num_nodes):
  """Orthogonal iteration with Rayleigh and Ritz's projection.

  W is shifted by a positive multiple of the identity, so that of eigenvalues of one
  size the positive is greater, as in bipartite graphs.
  """
  size = problem.matches.shape[-1]
  shape = (num_nodes, size, size + _SPARE)
  degree = 2 * problem.edges.shape[0] / num_nodes
  shift = degree**0.5

  def orthonormal(vectors):
    flat = vectors.reshape(-1, shape[-1])
    return jnp.linalg.qr(flat)[0].reshape(shape)

  def step(state):
    rounds, vectors, values, _ = state
    image = _multiply(problem, vectors)
    projected = jnp.einsum("nak,nal->kl", vectors, image, precision="highest")
    found, rotation = jnp.linalg.eigh(0.5 * (projected + projected.T))
    vectors, image = vectors @ rotation, image @ rotation
    change = jnp.max(jnp.abs(found - values)[-size:]) / found[-1]
    return rounds + 1, orthonormal(image + shift * vectors), found, change

  start = orthonormal(jax.random.normal(jax.random.key(0), shape))
  state = 0, start, jnp.zeros(shape[-1]), jnp.inf
  _, vectors, values, _ = jax.lax.while_loop(
    lambda state: (state[0] < _ROUNDS) & (state[3] > _CONVERGED), step, state
  )
  return values, vectors


def spectral(problem: Problem, num_nodes: int) -> chex.Array:
  """Returns absolute permutations [N, n, n], X_i = Hungarian(U_i U_1ᵀ).

  Source: Pachauri, Kondor and Singh, Solving the multi-way matching problem by
    permutation synchronization, NIPS 2013.
  """
  _, vectors = eigenvectors(problem, num_nodes)
  return assignment.permutation(_products(vectors, vectors[:1]))


def absolute_maps(problem: Problem, num_nodes: int) -> chex.Array:
  """Returns MatchEIG's maps of all images to the first, [N, n, n] permutations."""
  vectors = scaled_eigenvectors(problem, num_nodes)
  return assignment.permutation(_products(vectors, vectors[:1]))


def match_eig(problem: Problem, num_nodes: int) -> chex.Array:
  """Returns MatchEIG's relative permutations of the edges, [M, n, n].

  They are those of each pair for itself, and so not cycle-consistent.

  Source: Maset, Arrigoni and Fusiello, Practical and efficient multi-view matching,
    ICCV 2017.
  """
  vectors = scaled_eigenvectors(problem, num_nodes)
  ends = vectors[problem.edges]
  return assignment.permutation(_products(ends[:, 0], ends[:, 1]))


def scaled_eigenvectors(problem: Problem, num_nodes: int) -> chex.Array:
  """Returns the eigenvectors [N, n, n] times the roots of their eigenvalues."""
  values, vectors = eigenvectors(problem, num_nodes)
  return vectors * jnp.sqrt(jnp.maximum(values, 0.0))


def _products(one, other):
  return jnp.matmul(one, jnp.swapaxes(other, -1, -2), precision="highest")
