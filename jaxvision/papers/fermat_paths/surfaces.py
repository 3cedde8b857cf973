"""Hidden surfaces as samples: analytic patches and triangle meshes.

The wall is the plane z = 0 and surfaces lie at z > 0; lengths are in centimetres.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

Patch = Callable[[chex.Array], chex.Array]  # [2] in the unit square -> [3]

_GOLDEN = np.uint32(2654435769)  # 2^32 over the golden ratio


class Samples(NamedTuple):
  """Points that stand for pieces of a surface.

  Attributes:
    points: [N, 3] in cm.
    normals: [N, 3] unit, on the side that reflects.
    areas: [N] in cm².
  """

  points: chex.Array
  normals: chex.Array
  areas: chex.Array


def rectangle(width: float, height: float, depth: float) -> Patch:
  """Returns a rectangle at z = depth, centred on the z axis, facing the wall."""

  def point(uv):
    return jnp.stack([(0.5 - uv[0]) * width, (uv[1] - 0.5) * height, depth + 0 * uv[0]])

  return point


def cap(
  center: tuple[float, float, float],
  radius: float,
  angle: float,
  *,
  concave: bool = False,
) -> Patch:
  """Returns a cap of a sphere around the z axis through its centre.

  Args:
    center: of the sphere, cm.
    radius: cm.
    angle: between the axis and the rim, in (0, π].
    concave: whether it is the far side, seen from inside; else the near one from
      outside.
  """
  side = 1.0 if concave else -1.0

  def point(uv):
    cosine = 1 - uv[0] * (1 - np.cos(angle))  # equal areas for equal steps
    sine = jnp.sqrt((1 - cosine) * (1 + cosine))
    turn = -2 * jnp.pi * uv[1]
    ring = jnp.stack([jnp.cos(turn) * sine, jnp.sin(turn) * sine, side * cosine])
    return jnp.array(center) + radius * ring

  return point


def paraboloid(
  depth: float, curvatures: tuple[float, float], half_size: float
) -> Patch:
  """Returns z = depth + k_x x² / 2 + k_y y² / 2 over a square, facing the wall.

  Args:
    depth: of the apex, cm.
    curvatures: k_x and k_y in 1/cm, positive where it bends away from the wall.
    half_size: half the square's side, cm.
  """

  def point(uv):
    x, y = (1 - 2 * uv[0]) * half_size, (2 * uv[1] - 1) * half_size
    return jnp.stack([x, y, depth + (curvatures[0] * x**2 + curvatures[1] * y**2) / 2])

  return point


def revolution(profile: Callable, height: float, depth: float) -> Patch:
  """Returns a surface of revolution around an axis parallel to y, such as a vase.

  Args:
    profile: of s in [0, 1] from the lower to the upper end, radius in cm.
    height: cm.
    depth: z of the axis, cm.
  """

  def point(uv):
    turn, radius = 2 * jnp.pi * uv[0], profile(uv[1])
    y = (uv[1] - 0.5) * height
    return jnp.stack([radius * jnp.cos(turn), y, depth - radius * jnp.sin(turn)])

  return point


def vase_profile(s: chex.Array) -> chex.Array:
  """Returns the radius in cm of a vase with a belly and a neck, s in [0, 1]."""
  return 8.0 + 4.0 * jnp.sin(2 * jnp.pi * (0.85 * s + 0.02))


def lattice(count: int) -> chex.Array:
  """Returns [count, 2] points of the Fibonacci lattice in the unit square.

  No two share a coordinate, so that surfaces of revolution have no rings of samples
  of one path length.
  """
  index = jnp.arange(count, dtype=jnp.uint32)
  second = (index * _GOLDEN).astype(float) * 2.0**-32
  return jnp.stack([(index.astype(float) + 0.5) / count, second], axis=-1)


def sample_patch(patch: Patch, count: int) -> Samples:
  """Returns `count` samples of a patch; its normal is along x_u × x_v."""

  def sample(uv):
    along = jax.jacfwd(patch)(uv)
    normal = jnp.cross(along[:, 0], along[:, 1])
    area = jnp.linalg.norm(normal)
    return patch(uv), normal / jnp.where(area > 0, area, 1.0), area / count

  return Samples(*jax.vmap(sample)(lattice(count)))


def sample_mesh(vertices: np.ndarray, faces: np.ndarray, count: int) -> Samples:
  """Returns `count` samples of equal area of a triangle mesh, spread evenly.

  Args:
    vertices: [V, 3] in cm.
    faces: [F, 3] indices; the normal is on the side from which they turn
      counter-clockwise.
    count: of the samples.

  Raises:
    ValueError: the mesh has no area.
  """
  chex.assert_shape([vertices, faces], (None, 3))
  corners = np.asarray(vertices, np.float64)[faces]
  normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
  doubled = np.linalg.norm(normals, axis=1)
  total = doubled.sum()
  if not total > 0:
    raise ValueError("the mesh has no area")
  # A systematic sample of the area, as float64 has the digits for.
  ends = np.cumsum(doubled) / total
  index = np.arange(count, dtype=np.uint32)
  position = (index + 0.5) / count
  face = np.minimum(np.searchsorted(ends, position, side="right"), len(faces) - 1)
  within = (position - (ends - doubled / total)[face]) / (doubled[face] / total)
  first = np.sqrt(np.clip(within, 0, 1))[:, None]
  second = ((index * _GOLDEN) * 2.0**-32)[:, None]
  a, b, c = (corners[face, corner] for corner in range(3))
  points = a + first * ((b - a) + second * (c - b))
  unit = normals[face] / doubled[face, None]
  areas = np.full(count, total / 2 / count)
  return Samples(*(jnp.asarray(part, float) for part in (points, unit, areas)))


def sample_curve(curve: Callable, count: int) -> Samples:
  """Returns samples of a profile, a scene of two dimensions in the plane y = 0.

  Args:
    curve: of s in [0, 1], [2] coordinates x and z in cm; it reflects to the left of
      its direction, seen with x to the right and z up.
    count: of the samples, at equal steps of s.

  Returns:
    samples whose areas are lengths in cm, so that transients are those of a
    two-dimensional scene up to the geometric falloff.

  Source: Section 3, Figure 2.
  """

  def sample(s):
    x, z = curve(s)
    dx, dz = jax.jacfwd(curve)(s)
    length = jnp.sqrt(dx**2 + dz**2)
    zero = jnp.zeros_like(x)
    normal = jnp.stack([-dz, zero, dx]) / length
    return jnp.stack([x, zero, z]), normal, length / count

  return Samples(*jax.vmap(sample)((jnp.arange(count) + 0.5) / count))
