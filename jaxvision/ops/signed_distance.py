"""Distances between points and triangle meshes, exhaustive and jittable.

All take O(M F) work and O(M + F) memory for M points and F faces, and are vectorised
along the points. Faces' corners turn counter-clockwise seen from outside.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

_FACES_AT_ONCE = 4
_POINTS_AT_ONCE = 2048


class Closest(NamedTuple):
  """What is closest to each point.

  Attributes:
    points: [M, 3] on the mesh.
    distances: [M], infinite where the point, or every face, is not finite.
    faces: [M] int32 face of each; the first of equally near ones.
  """

  points: chex.Array
  distances: chex.Array
  faces: chex.Array


def closest_on_triangles(points: chex.Array, corners: chex.Array) -> chex.Array:
  """Returns the closest point of one triangle to each point.

  Args:
    points: [..., 3].
    corners: [..., 3, 3], corner by corner. A triangle may be a segment or a point.

  Returns:
    [..., 3].
  """
  chex.assert_type([points, corners], float)
  chex.assert_axis_dimension(points, -1, 3)
  chex.assert_shape(corners, (*points.shape, 3))
  xyz = tuple(points[..., axis] for axis in range(3))
  triangle = tuple(
    tuple(corners[..., corner, axis] for axis in range(3)) for corner in range(3)
  )
  offset = _nearest_offset(xyz, triangle)[1]
  return points + jnp.stack(offset, axis=-1)


def closest_point(
  points: chex.Array, vertices: chex.Array, faces: chex.Array
) -> Closest:
  """Returns the closest point of a mesh to each point.

  Args:
    points: [M, 3].
    vertices: [V, 3] in the points' unit.
    faces: [F, 3] integers, F ≥ 1; faces without area count as their edges.

  Raises:
    ValueError: there is no face.
  """
  corners = _corners(points, vertices, faces)

  def chunk(xyz):
    def compare(best, triangle):
      square, _ = _nearest_offset(xyz, triangle[0])
      is_nearer = square < best[0]  # False for NaN
      found = jnp.where(is_nearer, triangle[1], best[1])
      return (jnp.where(is_nearer, square, best[0]), found), None

    start = jnp.full_like(xyz[0], jnp.inf), jnp.zeros(xyz[0].shape, jnp.int32)
    order = jnp.arange(faces.shape[0], dtype=jnp.int32)
    # Unrolled, so that the running minimum stays in registers between faces.
    (square, found), _ = jax.lax.scan(
      compare, start, (corners, order), unroll=_FACES_AT_ONCE
    )
    return square, found

  _, found = _in_chunks(chunk, points)
  nearest = closest_on_triangles(points, vertices[faces[found]])
  distances = jnp.sqrt(jnp.sum(jnp.square(points - nearest), axis=-1))
  distances = jnp.where(jnp.isfinite(distances), distances, jnp.inf)
  return Closest(nearest, distances, found)


def winding_number(
  points: chex.Array, vertices: chex.Array, faces: chex.Array
) -> chex.Array:
  """Returns how often a mesh winds around each point.

  Of a closed mesh it is 1 inside and 0 outside (-1 inside, if it is turned inside
  out); of an open one something between, 1/2 being the best guess of the border.

  Args:
    points: [M, 3]; on the mesh the number is undefined, but finite.
    vertices: [V, 3].
    faces: [F, 3] integers, F ≥ 1; faces without area add nothing.

  Returns:
    [M].

  Raises:
    ValueError: there is no face.

  Source: van Oosterom and Strackee, 1983, for the solid angle of a triangle; Jacobson
    et al., SIGGRAPH 2013.
  """
  corners = _corners(points, vertices, faces)

  def chunk(xyz):
    def add(total, triangle):
      a, b, c = (_minus(corner, xyz) for corner in triangle)
      la, lb, lc = (jnp.sqrt(_dot(side, side)) for side in (a, b, c))
      volume = _dot(a, _cross(b, c))
      rest = la * lb * lc + _dot(a, b) * lc + _dot(b, c) * la + _dot(c, a) * lb
      return total + jnp.arctan2(volume, rest), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(xyz[0]), corners, unroll=_FACES_AT_ONCE)
    return total / (2 * jnp.pi)

  return _in_chunks(chunk, points)


def signed_distance(
  points: chex.Array, vertices: chex.Array, faces: chex.Array
) -> chex.Array:
  """Returns the signed distance of points to a watertight mesh, negative inside.

  Inside is where the mesh winds around a point more than half: small holes do no harm,
  and a mesh turned inside out has the same inside.

  Args:
    points: [M, 3].
    vertices: [V, 3] in the points' unit.
    faces: [F, 3] integers, F ≥ 1.

  Returns:
    [M], infinite where the point is not finite.

  Raises:
    ValueError: there is no face.
  """
  distances = closest_point(points, vertices, faces).distances
  is_inside = jnp.abs(winding_number(points, vertices, faces)) > 0.5
  return jnp.where(is_inside, -distances, distances)


def _corners(points, vertices, faces):
  """Returns three corners of three coordinates, each [F], after checks."""
  chex.assert_shape([points, vertices, faces], (None, 3))
  chex.assert_type([points, vertices, faces], [float, float, int])
  if not faces.shape[0]:
    raise ValueError("a mesh without faces has no distance")
  return tuple(
    tuple(vertices[faces[:, corner], axis] for axis in range(3)) for corner in range(3)
  )


def _in_chunks(function, points):
  """Returns function((x, y, z)) of chunks of points that stay in the cache."""
  count = points.shape[0]
  size = max(1, min(count, _POINTS_AT_ONCE))
  padded = jnp.pad(points, ((0, -count % size), (0, 0)))
  chunks = padded.reshape(-1, size, 3)
  results = jax.lax.map(lambda chunk: function(tuple(chunk.T)), chunks)
  return jax.tree.map(lambda leaf: leaf.reshape(-1)[:count], results)


def _nearest_offset(point, triangle):
  """Returns the square and the vector from points to the nearest of a triangle."""
  a, b, c = triangle
  sides = _minus(b, a), _minus(c, b), _minus(a, c)
  away = _minus(a, point), _minus(b, point), _minus(c, point)
  normal = _cross(sides[0], _minus(c, a))
  area = _dot(normal, normal)

  best = None
  is_over = area > 0
  for side, corner in zip(sides, away, strict=True):
    length = _dot(side, side)
    along = -_dot(corner, side) / jnp.where(length > 0, length, 1.0)
    along = jnp.clip(along, 0.0, 1.0)
    offset = tuple(o + along * s for o, s in zip(corner, side, strict=True))
    square = _dot(offset, offset)
    is_over &= _dot(_cross(side, corner), normal) <= 0
    if best is None:
      best = square, offset
    else:
      is_nearer = square < best[0]
      best = (
        jnp.where(is_nearer, square, best[0]),
        tuple(
          jnp.where(is_nearer, new, old)
          for new, old in zip(offset, best[1], strict=True)
        ),
      )
  # Over the inside of the triangle its plane is nearer than its border.
  height = _dot(away[0], normal) / jnp.where(area > 0, area, 1.0)
  square = jnp.where(is_over, jnp.square(height) * area, best[0])
  offset = tuple(
    jnp.where(is_over, height * n, o) for n, o in zip(normal, best[1], strict=True)
  )
  return square, offset


def _minus(a, b):
  return tuple(i - j for i, j in zip(a, b, strict=True))


def _dot(a, b):
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a, b):
  return (
    a[1] * b[2] - a[2] * b[1],
    a[2] * b[0] - a[0] * b[2],
    a[0] * b[1] - a[1] * b[0],
  )
