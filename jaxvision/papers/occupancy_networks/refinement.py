"""Moving a mesh's vertices until the field has the level and its normals on it (M9)."""

import functools
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.mesh_sampling import face_vectors

RATE = 1e-4
NORMAL_WEIGHT = 0.01
_DECAY, _EPSILON = 0.99, 1e-8  # of RMSprop
_TINY = 1e-10


def refine(
  network: nn.Module,
  variables: Any,
  z: chex.Array | None,
  c: chex.Array | None,
  vertices: np.ndarray,
  faces: np.ndarray,
  key: chex.PRNGKey,
  *,
  threshold: float,
  steps: int = 30,
) -> np.ndarray:
  """Returns refined vertices [V, 3] of a mesh.

  Args:
    network: an `OccupancyNetwork`.
    variables: its variables.
    z, c: codes [Z] and [C], or None.
    vertices: [V, 3].
    faces: [F, 3] indices, F ≥ 1.
    key: of the points drawn on the faces.
    threshold: τ, a probability.
    steps: of RMSprop.

  Source: Section 3.3, Eq. 6.
  """
  chex.assert_shape([vertices, faces], (None, 3))
  # Few sizes are ever compiled: what is added is used by no face, or weighs nothing.
  more_vertices, more_faces = (-n % _bucket(n) for n in (len(vertices), len(faces)))
  padded = np.pad(vertices, ((0, more_vertices), (0, 0))).astype(np.float32)
  weights = np.pad(np.full(len(faces), 1 / len(faces), np.float32), (0, more_faces))
  faces = np.pad(faces, ((0, more_faces), (0, 0)))
  run = _refine(network, steps)
  refined = run(variables, z, c, padded, faces, weights, key, threshold)
  return np.asarray(refined)[: len(vertices)]


def loss(
  network: nn.Module,
  variables: Any,
  z: chex.Array | None,
  c: chex.Array | None,
  vertices: chex.Array,
  faces: chex.Array,
  barycentric: chex.Array,
  weights: chex.Array,
  threshold: chex.Numeric,
) -> chex.Array:
  """Returns what refinement descends, for one point on each face.

  Args:
    network, variables, z, c: see `refine`.
    vertices: [V, 3].
    faces: [F, 3] indices.
    barycentric: [F, 3] coordinates of the faces' points.
    weights: [F] of the faces; they sum to 1.
    threshold: τ.
  """
  codes = [None if code is None else code[None] for code in (z, c)]

  def total(points):
    logits = network.apply(variables, points[None], *codes, method="decode")[0]
    values = jax.nn.sigmoid(logits)
    return jnp.sum(values), values

  points = jnp.einsum("fk,fkd->fd", barycentric, vertices[faces])
  # The target's own derivative counts too: second order in the network.
  gradient, values = jax.grad(total, has_aux=True)(points)
  normals = face_vectors(vertices, faces)
  difference = _normalize(normals) - _normalize(-gradient)
  errors = jnp.square(values - threshold)
  errors += NORMAL_WEIGHT * jnp.sum(jnp.square(difference), axis=-1)
  return jnp.sum(weights * errors)


@functools.cache
def _refine(network, steps):
  @jax.jit
  def run(variables, z, c, vertices, faces, weights, key, threshold):
    def descend(carry, key):
      vertices, average = carry
      barycentric = jax.random.dirichlet(key, jnp.full(3, 0.5), (len(faces),))
      gradient = jax.grad(loss, argnums=4)(
        network, variables, z, c, vertices, faces, barycentric, weights, threshold
      )
      average = _DECAY * average + (1 - _DECAY) * jnp.square(gradient)
      vertices -= RATE * gradient / (jnp.sqrt(average) + _EPSILON)
      return (vertices, average), None

    start = vertices, jnp.zeros_like(vertices)
    (vertices, _), _ = jax.lax.scan(descend, start, jax.random.split(key, steps))
    return vertices

  return run


def _normalize(vectors):
  """Returns vectors / (length + tiny), with the gradient 0 where the length is."""
  squares = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
  is_positive = squares > 0
  length = jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, squares, 1.0)), 0.0)
  return vectors / (length + _TINY)


def _bucket(count: int) -> int:
  """Returns a power of two, an eighth of the count or less."""
  return max(256, 1 << max(count.bit_length() - 3, 0))
