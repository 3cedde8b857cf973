"""How fast a graph convolution, skinning and the whole network are."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.nn.graph_convolution import normalized_adjacency
from jaxvision.ops import skinning, sparse
from jaxvision.papers.graph_cmr import body
from jaxvision.papers.graph_cmr.variants import VARIANTS, Sizes, network

NODES, CHANNELS, NEIGHBOURS = 1723, 256, 6


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns a row for each operation.

  Args:
    seconds: call -> its median time in seconds.
  """
  rng = np.random.default_rng(0)
  # As irregular as a mesh: each node has the next ones, in a random order, around it.
  order = rng.permutation(NODES)
  steps = np.arange(1, NEIGHBOURS // 2 + 1)
  row = np.repeat(order, len(steps))
  column = order[(np.arange(NODES)[:, None] + steps) % NODES].reshape(-1)
  matrix = normalized_adjacency(
    np.concatenate([row, column]), np.concatenate([column, row]), NODES
  )
  matrix = jax.tree.map(jnp.asarray, matrix)
  dense = sparse.to_dense(matrix)
  x = jax.random.normal(jax.random.key(0), (NODES, CHANNELS))

  def gradient(product):
    return jax.jit(jax.grad(lambda a, x: jnp.sum(jnp.square(product(a, x))), 1))

  table = []
  size = f"{NODES} nodes x {CHANNELS} channels"
  for name, operation, operand in (
    ("sparse", jax.jit(sparse.matmul), matrix),
    ("dense", jax.jit(jnp.matmul), dense),
    ("sparse, with gradient", gradient(sparse.matmul), matrix),
    ("dense, with gradient", gradient(jnp.matmul), dense),
  ):
    duration = seconds(functools.partial(operation, operand, x))
    table.append(_row(f"mean over neighbours, {size}, {name}", duration))

  sizes = body.Sizes()
  smpl = body.zeros(sizes)
  rotations = jnp.broadcast_to(jnp.eye(3), (16, sizes.joints, 3, 3))
  shape = jnp.zeros((16, sizes.shapes))
  forward = jax.jit(skinning.forward)
  duration = seconds(functools.partial(forward, smpl.model, rotations, shape))
  table.append(_row("SMPL's mesh, 6890 vertices", duration, 16))

  net = network(VARIANTS["graph"], Sizes(), sizes)
  images = jnp.zeros((1, 224, 224, 3))
  shapes = jax.eval_shape(net.init, jax.random.key(0), images, smpl)
  variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01), shapes)
  duration = seconds(functools.partial(jax.jit(net.apply), variables, images, smpl))
  table.append(_row("the paper's network, 224 x 224", duration))
  return table


def _row(name: str, duration: float, examples: int = 1) -> dict:
  return {
    "name": f"graph_cmr/{name}",
    "batch": examples,
    "milliseconds": 1e3 * duration,
    "milliseconds_per_example": 1e3 * duration / examples,
  }
