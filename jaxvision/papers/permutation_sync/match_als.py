"""MatchALS: a matrix of low rank near all relative maps, by alternating solves."""

import chex
import jax
import jax.numpy as jnp

from jaxvision.papers.permutation_sync.match_lift import edge_blocks
from jaxvision.papers.permutation_sync.problem import Problem
from jaxvision.papers.permutation_sync.spectral import block_matrix


def match_als(
  problem: Problem,
  num_nodes: int,
  *,
  iterations: int = 200,
  rank_factor: float = 2.0,
  low_rank: float = 10.0,
  sparsity: float = 0.1,
  penalty: float = 64.0,
) -> chex.Array:
  """Returns soft relative maps of the edges, [M, n, n] in [0, 1].

  min -<W - α, X> + λ/2 (|A|² + |B|²) subject to X = A Bᵀ, X_ii = I, 0 ≤ X ≤ 1, by ADMM
  with a penalty that balances both residuals. Round each map (`metrics.round_maps`).

  Args:
    problem: of a connected graph.
    num_nodes: N.
    iterations: of ADMM.
    rank_factor: columns of A and B for each of the n points.
    low_rank: λ.
    sparsity: α, what a match costs.
    penalty: ρ of ADMM in the beginning.

  Source: Zhou, Zhu and Daniilidis, Multi-image matching via fast alternating
    minimization, ICCV 2015, Eq. 12-18.
  """
  size = problem.matches.shape[-1]
  rows = num_nodes * size
  rank = min(rows, round(rank_factor * size))
  observed = block_matrix(problem, num_nodes)
  node = jnp.repeat(jnp.arange(num_nodes), size)
  is_given = node[:, None] == node[None]

  def ridge(fixed, target, weight):
    """Returns the factor F that minimises |target - F fixedᵀ|² + weight |F|²."""
    system = fixed.T @ fixed + weight * jnp.eye(rank)
    return jax.scipy.linalg.solve(system, fixed.T @ target.T, assume_a="pos").T

  def step(state, _):
    constrained, dual, left, penalty = state
    target = constrained - (dual - observed + sparsity) / penalty
    right = ridge(left, target.T, low_rank / penalty)
    left = ridge(right, target, low_rank / penalty)
    product = jnp.matmul(left, right.T, precision="highest")
    free = jnp.clip(product + dual / penalty, 0.0, 1.0)
    updated = jnp.where(is_given, jnp.eye(rows), free)
    updated = 0.5 * (updated + updated.T)
    dual = dual + penalty * (product - updated)
    primal = jnp.linalg.norm(product - updated)
    change = penalty * jnp.linalg.norm(updated - constrained)
    factor = jnp.where(
      primal > 10 * change, 2.0, jnp.where(change > 10 * primal, 0.5, 1.0)
    )
    return (updated, dual, left, jnp.clip(penalty * factor, 1.0, 1e4)), None

  left = jax.random.uniform(jax.random.key(0), (rows, rank))
  state = observed, jnp.zeros_like(observed), left, jnp.asarray(penalty)
  (constrained, *_), _ = jax.lax.scan(step, state, length=iterations)
  return edge_blocks(constrained, problem.edges, size)
