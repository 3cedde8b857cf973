"""What the weight of a neighbour is made from: relations of two points (M2)."""

import chex
import jax.numpy as jnp

# Channels of each relation. "released" is what made the paper's numbers.
RELATIONS = {
  "released": 10,  # |d|, 0, d, d
  "paper": 10,  # |d|, x_i, x_j, d
  "distance": 1,  # |d|
  "offset": 4,  # |d|, d
  "planar_xy": 10,  # as "released", projected onto two axes
  "planar_xz": 10,
  "planar_yz": 10,
  "normals": 7,  # cos(n_i, n_j), n_i, n_j
  "none": 0,  # no relation: features are mapped, not weighted (Table 4, A)
}
_DROPPED = {"planar_xy": 2, "planar_xz": 1, "planar_yz": 0}


def relation(
  kind: str,
  points: chex.Array,
  offsets: chex.Array,
  normals: chex.Array | None = None,
) -> chex.Array:
  """Returns the relation of each neighbour to its centroid.

  d is x_j - x_i. The authors' code calls two of its channels absolute coordinates, but
  subtracts the centroid from them in place, so that they are 0 and d again, and nothing
  depends on where the shape lies.

  Args:
    kind: a key of RELATIONS other than "none".
    points: [..., K, 3] neighbours x_j, the centroid x_i first.
    offsets: [..., K, 3] d.
    normals: [..., K, 3] of the neighbours, for "normals".

  Returns:
    [..., K, RELATIONS[kind]].

  Source: Eq. 3, Table 6; the authors' utils/pytorch_utils/pytorch_utils.py.
  """
  chex.assert_equal_shape([points, offsets])
  if kind in _DROPPED:
    keep = jnp.arange(3) != _DROPPED[kind]
    offsets = jnp.where(keep, offsets, 0.0)
  distances = safe_norm(offsets)
  if kind == "released" or kind in _DROPPED:
    parts = [distances, jnp.zeros_like(offsets), offsets, offsets]
  elif kind == "paper":
    centroids = jnp.broadcast_to(points[..., :1, :], points.shape)
    parts = [distances, centroids, points, offsets]
  elif kind == "distance":
    parts = [distances]
  elif kind == "offset":
    parts = [distances, offsets]
  elif kind == "normals":
    if normals is None:
      raise ValueError("the relation of normals needs normals")
    own = jnp.broadcast_to(normals[..., :1, :], normals.shape)
    parts = [jnp.sum(own * normals, axis=-1, keepdims=True), own, normals]
  else:
    raise ValueError(f"relation {kind!r} is none of {', '.join(RELATIONS)}")
  return jnp.concatenate(parts, axis=-1)


def safe_norm(vectors: chex.Array) -> chex.Array:
  """Returns [..., 1] lengths of [..., 3] vectors, whose gradient at 0 is 0."""
  squares = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
  positive = squares > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)
