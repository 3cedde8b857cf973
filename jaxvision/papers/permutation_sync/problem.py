"""The problem, its energy U and U's Euclidean gradient."""

from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import UserError
from jaxvision.ops import graph


class Problem(NamedTuple):
  """Relative matches between images; a batch of problems has a leading axis.

  Attributes:
    edges: [M, 2] int32 images i and j. An edge that is there twice counts twice.
    matches: [M, n, n] P_ij: entry (a, b) is 1 where point a of i matches b of j.
  """

  edges: chex.Array
  matches: chex.Array


def energy(points: chex.Array, problem: Problem) -> chex.Array:
  """Returns U = Σ |P_ij - X_i X_jᵀ|² over the edges, a scalar.

  Args:
    points: [N, n, n] X, the absolute maps.
    problem: of N images with n key points.

  Source: Eq. 8-13; M3.
  """
  return jnp.sum(jnp.square(residuals(points, problem)))


def residuals(points: chex.Array, problem: Problem) -> chex.Array:
  """Returns X_i X_jᵀ - P_ij of each edge, [M, n, n]."""
  return relative(points, problem.edges) - problem.matches


def relative(points: chex.Array, edges: chex.Array) -> chex.Array:
  """Returns X_i X_jᵀ of edges [M, 2], [M, n, n]."""
  size = points.shape[-1]
  chex.assert_shape([points, edges], [(None, size, size), (None, 2)])
  one, other = points[edges[:, 0]], points[edges[:, 1]]
  return jnp.einsum("mab,mcb->mac", one, other, precision="highest")


def gradient(points: chex.Array, problem: Problem) -> chex.Array:
  """Returns the Euclidean gradient ∂U/∂X, [N, n, n].

  Source: M3.
  """
  one, other = problem.edges[:, 0], problem.edges[:, 1]
  residual = residuals(points, problem)
  to_one = jnp.matmul(residual, points[other], precision="highest")
  to_other = jnp.einsum("mab,mac->mbc", residual, points[one], precision="highest")
  zero = jnp.zeros_like(points)
  return 2 * zero.at[one].add(to_one).at[other].add(to_other)


def energy_and_gradient(
  points: chex.Array, problem: Problem
) -> tuple[chex.Array, chex.Array]:
  """Returns U and ∂U/∂X with half the products that their definitions take.

  |X_i X_jᵀ|² = <X_iᵀ X_i, X_jᵀ X_j> needs no product an edge; what is left is P_ij X_j
  and P_ijᵀ X_i. U loses its digits where it is small beside |P|²: the solver's
  tolerance says so.
  """
  one, other = problem.edges[:, 0], problem.edges[:, 1]
  num_nodes = points.shape[0]
  matched = jnp.matmul(problem.matches, points[other], precision="highest")
  back = jnp.einsum("mab,mac->mbc", problem.matches, points[one], precision="highest")
  pulls = jnp.zeros_like(points).at[one].add(matched).at[other].add(back)
  counts = jnp.zeros((num_nodes, num_nodes), points.dtype)
  counts = counts.at[one, other].add(1.0).at[other, one].add(1.0)
  grams = jnp.einsum("nab,nac->nbc", points, points, precision="highest")
  spread = jnp.matmul(counts, grams.reshape(num_nodes, -1), precision="highest")
  spread = spread.reshape(grams.shape)
  # Both sums count each edge at both its ends.
  agreement = jnp.sum(points * pulls)
  size = 0.5 * jnp.sum(grams * spread)
  value = jnp.sum(jnp.square(problem.matches)) + size - agreement
  pushes = jnp.matmul(points, spread, precision="highest")
  return value, 2 * (pushes - pulls)


def components(edges: chex.Array, num_nodes: int) -> tuple[chex.Array, chex.Array]:
  """Returns the connected component [N] of each image, and their number."""
  forest = graph.connected_components(edges, jnp.ones(len(edges), bool), num_nodes)
  return forest.labels, forest.count


def check(edges: np.ndarray, matches: np.ndarray, name: str = "problem") -> Problem:
  """Returns a Problem of arrays that somebody else has made.

  Args:
    edges: [M, 2] whole numbers, counted from 0.
    matches: [M, n, n] total permutations, or doubly stochastic.
    name: where they are from, for messages.

  Raises:
    UserError: wrong shapes, NaN, an edge of an image with itself, or a match that is
      not doubly stochastic: some points of i or j match none (partial), or several.
  """
  edges, matches = np.asarray(edges), np.asarray(matches)
  if edges.dtype.kind not in "iuf" or matches.dtype.kind not in "biuf":
    raise UserError(f"{name}: edges and matches are numbers")
  if edges.ndim != 2 or edges.shape[1:] != (2,):
    raise UserError(f"{name}: edges are [M, 2], not {list(edges.shape)}")
  if matches.ndim != 3 or matches.shape[1] != matches.shape[2]:
    raise UserError(f"{name}: matches are [M, n, n], not {list(matches.shape)}")
  if len(edges) != len(matches):
    raise UserError(f"{name}: {len(edges)} edges, but {len(matches)} matches")
  if not matches.size:
    raise UserError(f"{name}: there are no matches")
  if not np.all(np.isfinite(edges)) or np.any(edges != np.rint(edges)):
    raise UserError(f"{name}: edges are whole numbers")
  if np.any(edges < 0):
    raise UserError(f"{name}: edges count images from 0, one has {edges.min():g}")
  loops = edges[:, 0] == edges[:, 1]
  if np.any(loops):
    image = int(edges[np.argmax(loops), 0])
    raise UserError(f"{name}: an edge joins image {image} with itself")
  matches = matches.astype(np.float32)
  wrong = ~np.all(np.isfinite(matches), axis=(1, 2))
  _refuse(name, edges, wrong, "holds NaN or infinity")
  wrong = np.any(matches < -1e-4, axis=(1, 2))
  _refuse(name, edges, wrong, "has negative entries")
  sums = np.stack([matches.sum(axis=1), matches.sum(axis=2)], axis=1)
  _refuse(
    name,
    edges,
    np.any(sums < 1 - 1e-3, axis=(1, 2)),
    "is partial: a point has no match, and total permutations are synchronized here",
  )
  _refuse(
    name, edges, np.any(sums > 1 + 1e-3, axis=(1, 2)), "matches a point more than once"
  )
  return Problem(edges.astype(np.int32), matches)


def _refuse(name: str, edges: np.ndarray, wrong: np.ndarray, why: str) -> None:
  if np.any(wrong):
    index = int(np.argmax(wrong))
    one, other = map(int, edges[index])
    raise UserError(f"{name}: edge {index} ({one}, {other}) {why}")
