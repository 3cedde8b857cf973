"""What is reconstructed of test shapes, and by what it is measured."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.data import shape_families
from jaxvision.data.shape_families import Shapes
from jaxvision.ops import mesh_sampling
from jaxvision.papers.deepsdf import (
  data,
  evaluation,
  inference,
  meshing,
)
from jaxvision.papers.deepsdf.decoder import Decoder


class Surface(NamedTuple):
  """A mesh and random points of it.

  Attributes:
    vertices: [V, 3].
    faces: [F, 3].
    points: [K, 3], empty where there is no face.
    normals: [K, 3].
  """

  vertices: np.ndarray
  faces: np.ndarray
  points: np.ndarray
  normals: np.ndarray


def sample(vertices: np.ndarray, faces: np.ndarray, count: int) -> Surface:
  """Returns a mesh with `count` random points, the same for the same mesh."""
  if not len(faces):
    nothing = np.zeros((0, 3), np.float32)
    return Surface(vertices, faces, nothing, nothing)
  # Padded with faces without area, so that few sizes are compiled for.
  size = 1 << int(np.ceil(np.log2(max(len(faces), len(vertices)))))
  padded = np.pad(faces, ((0, size - len(faces)), (0, 0)))
  filled = np.pad(np.float32(vertices), ((0, size - len(vertices)), (0, 0)))
  points, normals, _ = _draw(jax.random.key(0), filled, padded, count)
  return Surface(vertices, faces, np.asarray(points), np.asarray(normals))


_draw = jax.jit(mesh_sampling.sample_surface, static_argnums=3)


def surfaces(
  decoder: Decoder,
  params: Mapping[str, Any],
  codes: chex.Array,
  resolution: int,
  count: int,
) -> list[Surface]:
  """Returns the surfaces of codes [S, L], refined where the resolution allows it."""
  refine = resolution in (65, 129, 257)
  meshes = [
    meshing.mesh(decoder, params, code, resolution, refine=refine) for code in codes
  ]
  return [sample(*mesh, count) for mesh in meshes]


def chamfers(found: list[Surface], truth: np.ndarray) -> np.ndarray:
  """Returns the Chamfer distances [S] to true points [S, K, 3]."""
  return np.array(
    [
      evaluation.chamfer(surface.points, points)
      for surface, points in zip(found, truth, strict=True)
    ]
  )


def nearest_training(train: data.ShapeSet, test: data.ShapeSet) -> np.ndarray:
  """Returns the Chamfer distances [S] of test shapes to the nearest training shapes.

  Which is nearest is found with a tenth of the points.
  """
  few = max(1, test.points.shape[1] // 10)
  distances = []
  for points in test.points:
    rough = [evaluation.chamfer(one[:few], points[:few]) for one in train.points]
    nearest = train.points[int(np.argmin(rough))]
    distances.append(evaluation.chamfer(nearest, points))
  return np.array(distances)


def observations(test: data.ShapeSet, *, half: bool = False) -> inference.Observations:
  """Returns all samples of each shape, or those of half of it (z > 0, |s| < 0.08)."""
  some = [data.half_seen(one) if half else one for one in test.samples]
  longest = max(len(side) for one in test.samples for side in one)
  return inference.observe(
    [one.pos for one in some], [one.neg for one in some], length=longest
  )


def family_pairs(test: data.ShapeSet, most: int) -> list[tuple[int, int]]:
  """Returns pairs of neighbouring test shapes of one family, at most `most` each."""
  pairs = []
  for family in range(len(shape_families.FAMILIES)):
    (members,) = np.nonzero(test.shapes.family == family)
    pairs += list(itertools.pairwise(members))[:most]
  return [(int(a), int(b)) for a, b in pairs]


def average_grid(first: Shapes, second: Shapes, resolution: int) -> np.ndarray:
  """Returns the mean of two shapes' true distances on the grid of M10."""
  return np.asarray(_average_grid(first, second, resolution))


def _grids(first, second, resolution):
  axis = jnp.linspace(-1.0, 1.0, resolution)
  grid = jnp.stack(jnp.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
  return jax.lax.map(
    lambda plane: (
      (
        shape_families.signed_distance(first, plane)
        + shape_families.signed_distance(second, plane)
      )
      / 2
    ),
    grid,
  )


_average_grid = jax.jit(_grids, static_argnums=2)


def family_misfit(found: Surface, start: Shapes, count: int) -> float:
  """Returns the Chamfer distance of a surface to the best member of a family.

  The member is found by descent from `start`: its distances at points of the surface,
  squared, are made small.
  """
  if not len(found.points):
    return float("inf")
  _, points = _best_member(start, found.points[:1000], count)
  return evaluation.chamfer(found.points, np.asarray(points))


def _fit_member(start, points, count):
  bounds = jnp.asarray([shape_families.ranges(family) for family in range(3)])
  low, high = 0.8 * bounds[start.family, :, 0], 1.2 * bounds[start.family, :, 1]

  def loss(parameters):
    shape = start._replace(parameters=jnp.clip(parameters, low, high))
    return jnp.mean(jnp.square(shape_families.signed_distance(shape, points)))

  adam = optax.adam(optax.cosine_decay_schedule(0.01, 150))

  def update(state, _):
    parameters, moments = state
    change, moments = adam.update(jax.grad(loss)(parameters), moments)
    return (parameters + change, moments), None

  begin = start.parameters, adam.init(start.parameters)
  (parameters, _), _ = jax.lax.scan(update, begin, length=150)
  member = start._replace(parameters=jnp.clip(parameters, low, high))
  return member, shape_families.sample_surface(jax.random.key(5), member, count)[0]


_best_member = jax.jit(_fit_member, static_argnums=2)
