"""Normals and random points of triangle meshes, jittable.

A mesh is vertices [V, 3] in any unit and faces [F, 3] of their indices, whose corners
turn counter-clockwise seen from outside.
"""

import chex
import jax
import jax.numpy as jnp


def face_vectors(vertices: chex.Array, faces: chex.Array) -> chex.Array:
  """Returns [F, 3] vectors along the faces' normals, twice their areas long."""
  _check(vertices, faces)
  first, second, third = (vertices[faces[:, corner]] for corner in range(3))
  return jnp.cross(second - first, third - first)


def face_normals(vertices: chex.Array, faces: chex.Array) -> chex.Array:
  """Returns the [F, 3] unit normals of faces; 0 where a face has no area."""
  return _unit(face_vectors(vertices, faces))


def face_areas(vertices: chex.Array, faces: chex.Array) -> chex.Array:
  """Returns the [F] areas of faces, in squares of the vertices' unit."""
  return 0.5 * jnp.linalg.norm(face_vectors(vertices, faces), axis=-1)


def vertex_normals(vertices: chex.Array, faces: chex.Array) -> chex.Array:
  """Returns [V, 3] unit means of the adjoining faces' normals, weighted by area.

  It is 0 where a vertex belongs to no face that has an area.
  """
  vectors = face_vectors(vertices, faces)
  total = jnp.zeros_like(vertices)
  for corner in range(3):
    total = total.at[faces[:, corner]].add(vectors)
  return _unit(total)


def sample_surface(
  key: chex.PRNGKey, vertices: chex.Array, faces: chex.Array, count: int
) -> tuple[chex.Array, chex.Array, chex.Array]:
  """Returns random points, uniform over a mesh's area.

  Args:
    key: of the draw.
    vertices: [V, 3].
    faces: [F, 3] integers, F ≥ 1. A face without area is never drawn.
    count: number of points.

  Returns:
    [count, 3] points, [count, 3] unit normals of their faces and [count] int32 faces.
    Where no face has an area, or a vertex of one is not finite, points are NaN.

  Raises:
    ValueError: there is no face.
  """
  _check(vertices, faces)
  if not faces.shape[0]:
    raise ValueError("a mesh without faces has no surface to draw points from")
  vectors = face_vectors(vertices, faces)
  areas = jnp.linalg.norm(vectors, axis=-1)
  face_key, place_key = jax.random.split(key)
  ends = jnp.cumsum(areas)
  # In (0, 1]: the first face whose end reaches the draw has an area.
  draws = 1.0 - jax.random.uniform(face_key, (count,), vertices.dtype)
  chosen = jnp.searchsorted(ends, draws * ends[-1])
  chosen = jnp.minimum(chosen, faces.shape[0] - 1).astype(jnp.int32)
  u, v = jax.random.uniform(place_key, (2, count, 1), vertices.dtype)
  # A point of the parallelogram's other half is turned into the triangle.
  is_beyond = u + v > 1
  u, v = jnp.where(is_beyond, 1 - u, u), jnp.where(is_beyond, 1 - v, v)
  first, second, third = (vertices[faces[chosen, corner]] for corner in range(3))
  points = first + u * (second - first) + v * (third - first)
  points = jnp.where((ends[-1] > 0) & jnp.isfinite(ends[-1]), points, jnp.nan)
  return points, _unit(vectors[chosen]), chosen


def _check(vertices, faces):
  chex.assert_shape([vertices, faces], (None, 3))
  chex.assert_type([vertices, faces], [float, int])


def _unit(vectors):
  squares = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
  has_length = squares > 0
  return jnp.where(
    has_length, vectors * jax.lax.rsqrt(jnp.where(has_length, squares, 1.0)), 0.0
  )
