"""Voxels of a mesh, points inside one, meshes of voxels, intersection over union.

Grids are [R, R, R] with axes x, y, z over a cube; a cell's value is of its centre.
Crossings along z are counted, below and above: a point is inside where both are odd, so
that a hole in the mesh errs towards outside. Edges shared by two triangles belong to
exactly one of them (a half-open rule), whatever the rounding.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

_POINTS_AT_ONCE = 64


def cell_centers(resolution: int, low: float = -0.5, high: float = 0.5) -> np.ndarray:
  """Returns the centres [R, R, R, 3] of a cube's cells, float32."""
  chex.assert_scalar_positive(resolution)
  axis = low + (high - low) * (np.arange(resolution) + 0.5) / resolution
  grid = np.meshgrid(axis, axis, axis, indexing="ij")
  return np.stack(grid, axis=-1).astype(np.float32)


def iou(first: chex.Array, second: chex.Array) -> chex.Array:
  """Returns the intersection over union [...] of boolean sets [..., N].

  Two empty sets agree: 1.
  """
  chex.assert_equal_shape([first, second])
  chex.assert_type([first, second], bool)
  union = jnp.sum(first | second, axis=-1)
  shared = jnp.sum(first & second, axis=-1)
  return jnp.where(union > 0, shared / jnp.maximum(union, 1), 1.0)


def lookup(
  grid: chex.Array, points: chex.Array, low: float = -0.5, high: float = 0.5
) -> chex.Array:
  """Returns the values [...] of the cells in which points [..., 3] lie; 0 outside.

  Args:
    grid: [R, R, R] of any type.
    points: in the cube's unit.
    low, high: the cube's extent along every axis.
  """
  chex.assert_rank(grid, 3)
  chex.assert_axis_dimension(points, -1, 3)
  sizes = jnp.array(grid.shape)
  cell = jnp.floor((points - low) / (high - low) * sizes).astype(jnp.int32)
  inside = jnp.all((cell >= 0) & (cell < sizes), axis=-1)
  x, y, z = jnp.moveaxis(jnp.clip(cell, 0, sizes - 1), -1, 0)
  return jnp.where(inside, grid[x, y, z], jnp.zeros((), grid.dtype))


def contains(points: chex.Array, vertices: chex.Array, faces: chex.Array) -> chex.Array:
  """Returns which points are inside a mesh: O(M F) work, O(M + F) memory.

  Args:
    points: [M, 3]; one that is not finite is outside.
    vertices: [V, 3].
    faces: [F, 3] indices; F = 0 encloses nothing. Triangles without area, or parallel
      to z, are crossed nowhere.

  Returns:
    [M] booleans.

  Source: im2mesh's check_mesh_contains, which counts the same crossings.
  """
  chex.assert_shape([points, vertices, faces], (None, 3))
  if not faces.shape[0] or not points.shape[0]:
    return jnp.zeros(points.shape[0], bool)
  corners = vertices[faces]

  def one(point):
    crossed, height = _crossing(corners, point[:2])
    above = jnp.sum(crossed & (height > point[2]))
    below = jnp.sum(crossed & (height < point[2]))
    return (above % 2 == 1) & (below % 2 == 1)

  return jax.lax.map(one, points, batch_size=min(points.shape[0], _POINTS_AT_ONCE))


def voxelize_solid(
  vertices: chex.Array,
  faces: chex.Array,
  resolution: int,
  low: float = -0.5,
  high: float = 0.5,
) -> chex.Array:
  """Returns the cells [R, R, R] whose centres are inside a mesh: O(F R^2) work.

  Args:
    vertices: [V, 3] in the cube's unit; what is outside the cube counts too.
    faces: [F, 3] indices.
    resolution: R, cells along an axis.
    low, high: the cube's extent along every axis.
  """
  chex.assert_shape([vertices, faces], (None, 3))
  shape = (resolution,) * 3
  if not faces.shape[0]:
    return jnp.zeros(shape, bool)
  centers = jnp.asarray(cell_centers(resolution, low, high)[0, 0, :, 2])
  x, y = jnp.meshgrid(centers, centers, indexing="ij")
  column = jnp.arange(resolution)

  def add(counts, triangle):
    crossed, height = _crossing(triangle, (x, y))
    first = jnp.searchsorted(centers, height)  # the first centre at or above it
    return counts.at[column[:, None], column, first].add(
      crossed.astype(jnp.int32)
    ), None

  # Crossings by the first centre above them: cumulated, those below each centre.
  counts = jnp.zeros((resolution, resolution, resolution + 1), jnp.int32)
  counts, _ = jax.lax.scan(add, counts, vertices[faces])
  below = jnp.cumsum(counts, axis=-1)
  above = below[..., -1:] - below
  return (below[..., :-1] % 2 == 1) & (above[..., :-1] % 2 == 1)


def voxelize_surface(
  vertices: chex.Array,
  faces: chex.Array,
  resolution: int,
  low: float = -0.5,
  high: float = 0.5,
) -> chex.Array:
  """Returns the cells [R, R, R] that a mesh's triangles touch: O(F R^3) work.

  Arguments as `voxelize_solid`. A triangle without area touches what its edges touch.

  Source: Akenine-Möller, Fast 3D triangle-box overlap testing, 2001.
  """
  chex.assert_shape([vertices, faces], (None, 3))
  shape = (resolution,) * 3
  if not faces.shape[0]:
    return jnp.zeros(shape, bool)
  # In units of cells, centred: a cell is the cube of half width 0.5 about (i, j, k).
  scaled = (vertices - low) * (resolution / (high - low)) - 0.5
  axis = jnp.arange(resolution, dtype=scaled.dtype)

  def add(touched, corners):
    edges = jnp.roll(corners, -1, axis=0) - corners
    mask = jnp.ones(shape, bool)
    for one in range(3):  # the cell's own axes
      overlaps = (axis + 0.5 >= jnp.min(corners[:, one])) & (
        axis - 0.5 <= jnp.max(corners[:, one])
      )
      mask &= jnp.expand_dims(overlaps, [a for a in range(3) if a != one])
    # Edges crossed with axes: each test reads the two other coordinates only.
    for one in range(3):
      u, v = [a for a in range(3) if a != one]
      overlaps = jnp.ones((resolution, resolution), bool)
      for edge in edges:
        normal = jnp.stack([-edge[v], edge[u]])
        along = corners[:, u] * normal[0] + corners[:, v] * normal[1]
        center = axis[:, None] * normal[0] + axis * normal[1]
        reach = 0.5 * jnp.sum(jnp.abs(normal))
        overlaps &= (center + reach >= jnp.min(along)) & (
          center - reach <= jnp.max(along)
        )
      mask &= jnp.expand_dims(overlaps, one)
    normal = jnp.cross(edges[0], edges[1])
    center = (
      axis[:, None, None] * normal[0] + axis[:, None] * normal[1] + axis * normal[2]
    )
    offset = jnp.dot(corners[0], normal, precision="highest")
    mask &= jnp.abs(center - offset) <= 0.5 * jnp.sum(jnp.abs(normal))
    return touched | mask, None

  touched, _ = jax.lax.scan(add, jnp.zeros(shape, bool), scaled[faces])
  return touched


def boundary_mesh(
  occupied: np.ndarray, low: float = -0.5, high: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the surface of voxels as triangles, in numpy.

  Args:
    occupied: [R, R, R] booleans.
    low, high: the cube's extent along every axis.

  Returns:
    [V, 3] float32 vertices, each used, and [F, 3] int32 faces, two for each side
    between an occupied and a free cell, oriented outwards; both empty without any.
  """
  chex.assert_rank(occupied, 3)
  chex.assert_type(occupied, bool)
  padded = np.pad(occupied, 1)
  inner = padded[1:-1, 1:-1, 1:-1]
  quads = []
  for axis in range(3):
    u, v = np.eye(3, dtype=int)[[(axis + 1) % 3, (axis + 2) % 3]]
    for side in (0, 1):
      free = ~np.roll(padded, 1 - 2 * side, axis=axis)[1:-1, 1:-1, 1:-1]
      base = np.argwhere(inner & free) + side * np.eye(3, dtype=int)[axis]
      corners = [base, base + u, base + u + v, base + v]
      quads.append(np.stack(corners if side else corners[::-1], axis=1))
  corners = np.concatenate(quads)
  unique, faces = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
  a, b, c, d = faces.reshape(-1, 4).T
  triangles = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=1)
  sizes = np.array(occupied.shape)
  vertices = low + (high - low) * unique / sizes
  return vertices.astype(np.float32), triangles.reshape(-1, 3).astype(np.int32)


def _crossing(corners, position):
  """Returns whether vertical lines cross triangles, and at which height.

  Args:
    corners: [..., 3, 3] of triangles.
    position: x and y, each of a shape that goes with [...].
  """
  x, y = position
  inside = False
  for start, end in ((0, 1), (1, 2), (2, 0)):
    a, b = corners[..., start, :2], corners[..., end, :2]
    # Both triangles of an edge compute with its ends in the same order.
    swap = (a[..., 1] > b[..., 1])[..., None]
    lower, upper = jnp.where(swap, b, a), jnp.where(swap, a, b)
    rise = upper[..., 1] - lower[..., 1]
    share = (y - lower[..., 1]) / jnp.where(rise > 0, rise, 1.0)
    meets = lower[..., 0] + share * (upper[..., 0] - lower[..., 0])
    inside ^= (lower[..., 1] <= y) & (y < upper[..., 1]) & (x < meets)
  a = corners[..., 0, :]
  edge1, edge2 = corners[..., 1, :] - a, corners[..., 2, :] - a
  nx = edge1[..., 1] * edge2[..., 2] - edge1[..., 2] * edge2[..., 1]
  ny = edge1[..., 2] * edge2[..., 0] - edge1[..., 0] * edge2[..., 2]
  nz = edge1[..., 0] * edge2[..., 1] - edge1[..., 1] * edge2[..., 0]
  slope = nx * (x - a[..., 0]) + ny * (y - a[..., 1])
  height = a[..., 2] - slope / jnp.where(nz == 0, 1.0, nz)
  return inside & (nz != 0), height
