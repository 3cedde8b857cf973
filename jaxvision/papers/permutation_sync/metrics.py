"""How right, and how consistent, maps are."""

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import assignment


def recall(maps: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the share of true matches that are found, Eq. 18.

  Args:
    maps: [M, n, n] relative maps of the edges, permutations.
    truth: [M, n, n] true relative permutations.
  """
  chex.assert_equal_shape([maps, truth])
  size = truth.shape[-1]
  return jnp.sum(maps * truth, axis=(-3, -2, -1)) / (size * truth.shape[-3])


def choice_recall(choices: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the share of points whose true match is among their K candidates.

  Args:
    choices: [M, n, K] columns.
    truth: [M, n, n] true relative permutations.
  """
  right = jnp.argmax(truth, axis=-1)
  chex.assert_equal_shape([choices[..., 0], right])
  return jnp.mean(jnp.any(choices == right[..., None], axis=-1).astype(jnp.float32))


def fix_gauge(permutations: chex.Array, reference: int = 0) -> chex.Array:
  """Returns X_i X_rᵀ [N, n, n]: the same relative maps, the identity at image r."""
  turn = jnp.swapaxes(permutations[reference], -1, -2)
  return jnp.matmul(permutations, turn, precision="highest")


def triangles(edges: np.ndarray) -> np.ndarray:
  """Returns the edges' numbers of all triangles i < j < k, [T, 3] as ij, jk, ik.

  Args:
    edges: [M, 2]; of an edge that is there twice, in any direction, the last counts.
  """
  number = {}
  for index, (one, other) in enumerate(np.asarray(edges).tolist()):
    number[min(one, other), max(one, other)] = index
  above = {}
  for one, other in number:
    above.setdefault(one, set()).add(other)
  found = [
    (number[i, j], number[j, k], number[i, k])
    for i, j in sorted(number)
    for k in sorted(above[i] & above.get(j, set()))
  ]
  return np.array(found, np.int32).reshape(-1, 3)


def cycle_consistency(
  maps: chex.Array, edges: np.ndarray, corners: np.ndarray | None = None
) -> chex.Array:
  """Returns the share of points that come back to themselves around triangles.

  Args:
    maps: [M, n, n] relative permutations.
    edges: [M, 2] their images.
    corners: `triangles(edges)`, where it is known.

  Returns:
    1 when the maps are consistent; NaN for a graph without triangles.
  """
  corners = triangles(edges) if corners is None else corners
  if not len(corners):
    return jnp.full((), jnp.nan)
  is_upward = (edges[:, 0] < edges[:, 1])[:, None, None]
  upward = jnp.where(is_upward, maps, jnp.swapaxes(maps, -1, -2))
  first, second, direct = (upward[corners[:, index]] for index in range(3))
  around = jnp.sum(jnp.matmul(first, second) * direct, axis=(-2, -1))
  return jnp.mean(around) / maps.shape[-1]


def round_maps(maps: chex.Array) -> chex.Array:
  """Returns the permutations nearest to soft maps [..., n, n]."""
  return assignment.permutation(maps)
