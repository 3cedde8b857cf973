"""MatchLift: the semidefinite relaxation of all relative maps at once, by ADMM."""

import chex
import jax
import jax.numpy as jnp

from jaxvision.papers.permutation_sync.problem import Problem
from jaxvision.papers.permutation_sync.spectral import block_matrix


def match_lift(
  problem: Problem,
  num_nodes: int,
  *,
  iterations: int = 100,
  penalty: float = 1.0,
  sparsity: float | None = None,
) -> chex.Array:
  """Returns soft relative maps of the edges, [M, n, n] in [0, 1].

  max <W - λ, X> subject to X_ii = I, X ≥ 0 and [[n, 1ᵀ], [1, X]] positive
  semidefinite: the matrix of all relative maps, lifted by a row for the n points of the
  universe. Round each map (`metrics.round_maps`).

  Args:
    problem: of a connected graph.
    num_nodes: N. An iteration decomposes a matrix of N n + 1 rows.
    iterations: of ADMM.
    penalty: ρ of ADMM.
    sparsity: λ, what a match costs; sqrt(M) / (2 N) when None.

  Source: Chen, Guibas and Huang, Near-optimal joint object matching via convex
    relaxation, ICML 2014, Eq. 5-8, the universe's size known.
  """
  size = problem.matches.shape[-1]
  rows = num_nodes * size
  if sparsity is None:
    sparsity = problem.edges.shape[0] ** 0.5 / (2 * num_nodes)
  # The border and the diagonal blocks are given; the rest is free.
  block = jnp.repeat(jnp.arange(num_nodes), size)
  is_given = jnp.pad(block[:, None] == block[None], ((1, 0), (1, 0)), constant_values=1)
  given = jnp.pad(jnp.eye(rows), ((1, 0), (1, 0)), constant_values=1.0)
  given = given.at[0, 0].set(size)
  gain = jnp.pad(block_matrix(problem, num_nodes) - sparsity, ((1, 0), (1, 0)))

  def step(state, _):
    definite, dual, _ = state
    free = definite - dual + gain / penalty
    lifted = jnp.where(is_given, given, jnp.clip(free, 0.0, 1.0))
    values, vectors = jnp.linalg.eigh(lifted + dual)
    definite = jnp.matmul(
      vectors * jnp.maximum(values, 0.0), vectors.T, precision="highest"
    )
    return (definite, dual + lifted - definite, lifted), None

  state = given, jnp.zeros_like(given), given
  (_, _, lifted), _ = jax.lax.scan(step, state, length=iterations)
  return edge_blocks(lifted[1:, 1:], problem.edges, size)


def edge_blocks(matrix: chex.Array, edges: chex.Array, size: int) -> chex.Array:
  """Returns the blocks [M, n, n] of edges [M, 2] in a matrix [N n, N n]."""
  nodes = matrix.shape[0] // size
  blocks = matrix.reshape(nodes, size, nodes, size).transpose(0, 2, 1, 3)
  return blocks[edges[:, 0], edges[:, 1]]
