"""Synthetic problems with known answers: random swaps, and points seen by cameras."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import assignment, rigid
from jaxvision.papers.permutation_sync.problem import Problem, relative

# The paper's real sets, see `dataset`.
WILLOW = ("Car", "Duck", "Face", "Motorbike", "Winebottle")
CMU = ("house", "hotel")
REAL = (*WILLOW, *CMU)


def complete_graph(num_nodes: int) -> np.ndarray:
  """Returns all pairs i < j, [N (N - 1) / 2, 2] int32."""
  return np.stack(np.triu_indices(num_nodes, 1), axis=-1).astype(np.int32)


def random_graph(num_nodes: int, density: float, seed: int) -> np.ndarray:
  """Returns a connected random graph, [M, 2] int32 with i < j.

  Args:
    num_nodes: N.
    density: share of all pairs; at least the N - 1 edges of a random tree.
    seed: of the choice.
  """
  rng = np.random.default_rng(seed)
  order = rng.permutation(num_nodes)
  tree = {
    tuple(sorted((int(order[i]), int(order[rng.integers(i)]))))
    for i in range(1, num_nodes)
  }
  pairs = complete_graph(num_nodes)
  wanted = max(round(density * len(pairs)), len(tree))
  others = [tuple(p) for p in rng.permutation(pairs).tolist() if tuple(p) not in tree]
  return np.array(sorted([*tree, *others[: wanted - len(tree)]]), np.int32)


def random_permutations(key: chex.PRNGKey, count: int, size: int) -> chex.Array:
  """Returns [count, size, size] permutation matrices."""
  keys = jax.random.split(key, count)
  columns = jax.vmap(lambda key: jax.random.permutation(key, size))(keys)
  return jax.nn.one_hot(columns, size)


def swap_problem(
  key: chex.PRNGKey, edges: chex.Array, num_nodes: int, size: int, rate: float
) -> tuple[Problem, chex.Array]:
  """Returns a problem of swapped points, and the true permutations [N, n, n].

  Each edge has copies of its two permutations of its own, in which k = round(rate n)
  random pairs of rows are swapped: P_ij = swapped(P_i) swapped(P_j)ᵀ. (One swapped
  copy a node would leave the relative maps consistent.)

  Args:
    key: of all that is random.
    edges: [M, 2] of the graph.
    num_nodes: N.
    size: n.
    rate: swaps a point of one copy.
  """
  truth_key, swap_key = jax.random.split(key)
  truth = random_permutations(truth_key, num_nodes, size)
  swaps = round(rate * size)
  edges = jnp.asarray(edges, jnp.int32)
  keys = jax.random.split(swap_key, edges.shape)

  def swapped(key, node):
    def swap(order, key):
      one, other = jax.random.choice(key, size, (2,), replace=False)
      return order.at[jnp.stack([one, other])].set(order[jnp.stack([other, one])]), None

    order, _ = jax.lax.scan(swap, jnp.arange(size), jax.random.split(key, swaps))
    return truth[node][order]

  ends = jax.vmap(jax.vmap(swapped))(keys, edges)
  matches = jnp.einsum("mab,mcb->mac", ends[:, 0], ends[:, 1])
  return Problem(edges, matches), truth


def view_problem(
  key: chex.PRNGKey,
  edges: chex.Array,
  num_nodes: int,
  size: int,
  *,
  spread: float = 1.2,
  noise: float = 0.06,
  growth: float = 1.5,
) -> tuple[Problem, chex.Array]:
  """Returns a problem of 3-D points seen by cameras, and the true permutations.

  A point's descriptor is its unit direction, a code of three numbers, with noise that
  grows with the angle between the camera and the point's own normal; each edge matches
  the descriptors of its two images. So neighbours are mistaken for each other, and
  points seen from the side most.

  Args:
    key: of all that is random.
    edges: [M, 2] of the graph.
    num_nodes: N.
    size: n.
    spread: standard deviation of the cameras' rotation about a common one, radians.
    noise: standard deviation of a descriptor's entry seen from the front.
    growth: of this with 1 - cos(angle).
  """
  keys = jax.random.split(key, 4)
  normals = jax.random.normal(keys[0], (size, 3))
  normals /= jnp.linalg.norm(normals, axis=-1, keepdims=True)
  turns = rigid.exp_rotation(spread * jax.random.normal(keys[1], (num_nodes, 3)))
  cosine = turns[:, 2] @ normals.T
  scale = noise * (1 + growth * (1 - cosine))
  codes = normals + scale[..., None] * jax.random.normal(keys[2], (*scale.shape, 3))
  truth = random_permutations(keys[3], num_nodes, size)
  descriptors = jnp.einsum("nab,nbc->nac", truth, codes)
  edges = jnp.asarray(edges, jnp.int32)
  return Problem(edges, match_descriptors(descriptors, edges)), truth


def match_descriptors(descriptors: chex.Array, edges: chex.Array) -> chex.Array:
  """Returns P_ij [M, n, n]: the assignment of least squared distance on each edge.

  Args:
    descriptors: [N, n, D].
    edges: [M, 2].
  """
  chex.assert_rank([descriptors, edges], [3, 2])
  products = relative_products(descriptors, edges)
  squares = jnp.sum(jnp.square(descriptors), axis=-1)[edges]
  costs = squares[:, 0, :, None] + squares[:, 1, None, :] - 2 * products
  return assignment.permutation(-costs)


def relative_products(descriptors: chex.Array, edges: chex.Array) -> chex.Array:
  """Returns <d_ia, d_jb> of each edge, [M, n, n]."""
  ends = descriptors[edges]
  return jnp.einsum("mad,mbd->mab", ends[:, 0], ends[:, 1], precision="highest")


def true_maps(truth: chex.Array, edges: chex.Array) -> chex.Array:
  """Returns the true relative permutations of the edges, [M, n, n]."""
  return relative(truth, edges)
