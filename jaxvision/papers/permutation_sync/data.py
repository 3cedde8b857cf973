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


def random_permutations(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
  """Returns [count, size, size] permutation matrices."""
  orders = rng.permuted(np.tile(np.arange(size), (count, 1)), axis=1)
  return np.eye(size, dtype=np.float32)[orders]


def swap_problem(
  rng: np.random.Generator, edges: np.ndarray, num_nodes: int, size: int, rate: float
) -> tuple[Problem, np.ndarray]:
  """Returns a problem of swapped points, and the true permutations [N, n, n].

  Each edge has copies of its two permutations of its own, in which k = round(rate n)
  random pairs of rows are swapped: P_ij = swapped(P_i) swapped(P_j)ᵀ. (One swapped
  copy a node would leave the relative maps consistent.)

  Args:
    rng: of all that is random.
    edges: [M, 2] of the graph.
    num_nodes: N.
    size: n, at least 2 where anything is swapped.
    rate: swaps a point of one copy.
  """
  truth = random_permutations(rng, num_nodes, size)
  copies = 2 * len(edges)
  orders = np.tile(np.arange(size), (copies, 1))
  copy = np.arange(copies)
  for _ in range(round(rate * size)):
    one = rng.integers(size, size=copies)
    other = (one + rng.integers(1, size, size=copies)) % size
    orders[copy, one], orders[copy, other] = orders[copy, other], orders[copy, one]
  ends = truth[edges].reshape(copies, size, size)[copy[:, None], orders]
  ends = ends.reshape(len(edges), 2, size, size)
  matches = ends[:, 0] @ ends[:, 1].swapaxes(1, 2)
  return Problem(np.asarray(edges, np.int32), matches), truth


def view_problem(
  rng: np.random.Generator,
  edges: np.ndarray,
  num_nodes: int,
  size: int,
  *,
  spread: float = 1.2,
  noise: float = 0.06,
  growth: float = 1.5,
) -> tuple[Problem, np.ndarray]:
  """Returns a problem of 3-D points seen by cameras, and the true permutations.

  A point's descriptor is its unit direction, a code of three numbers, with noise that
  grows with the angle between the camera and the point's own normal; each edge matches
  the descriptors of its two images. So neighbours are mistaken for each other, and
  points seen from the side most.

  Args:
    rng: of all that is random.
    edges: [M, 2] of the graph.
    num_nodes: N.
    size: n.
    spread: standard deviation of the cameras' rotation about a common one, radians.
    noise: standard deviation of a descriptor's entry seen from the front.
    growth: of this with 1 - cos(angle).
  """
  normals = rng.normal(size=(size, 3))
  normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
  axes = spread * rng.normal(size=(num_nodes, 3)).astype(np.float32)
  axis = np.asarray(rigid.exp_rotation(axes))[:, 2]
  scale = noise * (1 + growth * (1 - axis @ normals.T))
  codes = normals + scale[..., None] * rng.normal(size=(num_nodes, size, 3))
  truth = random_permutations(rng, num_nodes, size)
  descriptors = np.asarray(truth @ codes, np.float32)
  edges = np.asarray(edges, np.int32)
  return Problem(edges, np.asarray(_match(descriptors, edges))), truth


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


_match = jax.jit(match_descriptors)


def relative_products(descriptors: chex.Array, edges: chex.Array) -> chex.Array:
  """Returns <d_ia, d_jb> of each edge, [M, n, n]."""
  ends = descriptors[edges]
  return jnp.einsum("mad,mbd->mab", ends[:, 0], ends[:, 1], precision="highest")


def true_maps(truth: chex.Array, edges: chex.Array) -> chex.Array:
  """Returns the true relative permutations of the edges, [M, n, n]."""
  return relative(truth, edges)
