"""Convolutions on graphs whose nodes, and neighbours, are always the same."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import sparse


def normalized_adjacency(
  row: np.ndarray,
  column: np.ndarray,
  nodes: int,
  *,
  hops: int = 1,
) -> sparse.SparseMatrix:
  """Returns the mean over each node and its neighbours, on the host.

  Args:
    row: [E] a node of each edge; the edge goes in both directions only if it is given
      in both.
    column: [E] its neighbour.
    nodes: N.
    hops: neighbours of neighbours count too when 2, and so on.

  Returns:
    [N, N] with 1 / (neighbours + 1) at each neighbour and the node itself.

  Source: Kolotouros et al., CVPR 2019 (utils/mesh.py); rows sum to 1, which
    D^-1/2 A D^-1/2 of Kipf and Welling's does not.
  """
  from scipy import sparse as scipy_sparse

  ones = np.ones(len(row), np.float64)
  reach = scipy_sparse.coo_matrix((ones, (row, column)), (nodes, nodes))
  reach = (reach + scipy_sparse.eye(nodes)).tocsr()
  reach = (reach**hops).tocoo()
  reach.sum_duplicates()
  neighbours = np.bincount(reach.row, minlength=nodes)
  return sparse.from_elements(
    reach.row, reach.col, 1.0 / neighbours[reach.row], (nodes, nodes)
  )


def edges_of_faces(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the edges (row, column), in both directions, of triangles [F, 3]."""
  pairs = np.concatenate([faces[:, (0, 1)], faces[:, (1, 2)], faces[:, (2, 0)]])
  pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64), axis=0)
  return pairs[:, 0], pairs[:, 1]


def symmetric_uniform(bound: float) -> nn.initializers.Initializer:
  """Returns an initialiser that draws from U(-bound, bound)."""

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


class GraphConvolution(nn.Module):
  """Y = Ã (X W) + b: a linear map, then a mean over each node's neighbourhood.

  Attributes:
    features: width of Y.

  Source: Kipf and Welling, ICLR 2017, with Kolotouros et al.'s initial range.
  """

  features: int

  @nn.compact
  def __call__(
    self, x: chex.Array, adjacency: sparse.SparseMatrix | chex.Array | None
  ) -> chex.Array:
    """Returns [..., N, features].

    Args:
      x: [..., N, C].
      adjacency: [N, N], sparse or dense; None for the identity.
    """
    bound = 6.0 / np.sqrt(x.shape[-1] + self.features)
    init = symmetric_uniform(bound)
    kernel = self.param("kernel", init, (x.shape[-1], self.features))
    bias = self.param("bias", init, (self.features,))
    flat = x.reshape(-1, x.shape[-1]) @ kernel
    y = flat.reshape(*x.shape[:-1], self.features)
    if isinstance(adjacency, sparse.SparseMatrix):
      y = sparse.matmul(adjacency, y)
    elif adjacency is not None:
      y = jnp.matmul(adjacency, y)
    return y + bias
