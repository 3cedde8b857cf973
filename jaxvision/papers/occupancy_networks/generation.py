"""Meshes out of occupancy networks: MISE, marching cubes, simplification, refinement.

Source: Section 3.3 (M6 to M10).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import mesh_simplification, mise
from jaxvision.ops.marching_cubes import marching_cubes
from jaxvision.papers.occupancy_networks import refinement

HALF = 0.55  # of the cube that is searched; objects are 1 long
_OUTSIDE = -1e6  # logit around the cube, which closes the mesh


@dataclasses.dataclass(frozen=True)
class Generation:
  """How meshes are made.

  Attributes:
    resolution: coarse cells along an axis (the authors' generator: 16, steps 3).
    steps: how often they are halved.
    chunk: points that the network is asked for at once.
    faces: number of faces to simplify to; 0 leaves the mesh as it is.
    refinement: steps of refinement; the authors' setting is 30.
  """

  resolution: int = 32
  steps: int = 2
  chunk: int = 16384
  faces: int = 0
  refinement: int = 0


@dataclasses.dataclass(frozen=True)
class Surface:
  """A mesh of the level set.

  Attributes:
    vertices: [V, 3] float32, in the object's unit cube.
    faces: [F, 3] int32, oriented outwards; none where the set is empty.
    counts: points evaluated in each round of MISE.
  """

  vertices: np.ndarray
  faces: np.ndarray
  counts: tuple[int, ...]


def logit(probability: float) -> float:
  """Returns log p - log(1 - p)."""
  return float(np.log(probability) - np.log1p(-probability))


@functools.cache  # one compilation for all shapes of a network
def decoder_of(network: nn.Module) -> Callable[..., chex.Array]:
  """Returns (variables, z, c, points [M, 3]) -> logits [M], jitted, of one shape.

  z [Z] and c [C] may be None.
  """

  @jax.jit
  def decode(variables, z, c, points):
    codes = [None if code is None else code[None] for code in (z, c)]
    return network.apply(variables, points[None], *codes, method="decode")[0]

  return decode


@functools.cache
def normal_of(network: nn.Module) -> Callable[..., chex.Array]:
  """Returns (variables, z, c, points [M, 3]) -> outward unit normals [M, 3], jitted."""
  decode = decoder_of(network)

  @jax.jit
  def normal(variables, z, c, points):
    gradient = jax.grad(lambda p: jnp.sum(decode(variables, z, c, p)))(points)
    length = jnp.linalg.norm(gradient, axis=-1, keepdims=True)
    return -gradient / jnp.where(length > 0, length, 1.0)

  return normal


def generate(
  network: nn.Module,
  variables: Any,
  z: chex.Array | None,
  c: chex.Array | None,
  *,
  threshold: float,
  settings: Generation = Generation(),
  key: chex.PRNGKey | None = None,
) -> Surface:
  """Returns the mesh of one shape.

  Args:
    network: an `OccupancyNetwork`.
    variables: its variables.
    z: [Z] latent code, or None.
    c: [C] condition, or None.
    threshold: τ, the probability above which a point is inside.
    settings: how.
    key: of the points that refinement draws; `jax.random.key(0)` when None.
  """
  field = functools.partial(decoder_of(network), variables, z, c)
  extraction = mise.extract(
    lambda points: field(points.astype(np.float32)),
    resolution=settings.resolution,
    steps=settings.steps,
    level=logit(threshold),
    low=-HALF,
    high=HALF,
    chunk=settings.chunk,
  )
  vertices, faces = surface_of(extraction.values, logit(threshold))
  if settings.faces and len(faces):
    vertices, faces = mesh_simplification.simplify(vertices, faces, settings.faces)
  if settings.refinement and len(faces):
    vertices = refinement.refine(
      network,
      variables,
      z,
      c,
      vertices,
      faces,
      jax.random.key(0) if key is None else key,
      threshold=threshold,
      steps=settings.refinement,
    )
  return Surface(vertices, faces, extraction.counts)


def surface_of(
  values: np.ndarray, level: float, half: float = HALF
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the closed mesh around the grid points whose value is above the level.

  Args:
    values: [N, N, N] on a grid from -half to half.
    level: of the surface.
    half: of the cube's side.

  Returns:
    [V, 3] float32 vertices and [F, 3] int32 faces, oriented outwards.
  """
  chex.assert_rank(values, 3)
  spacing = 2 * half / (len(values) - 1)
  padded = np.pad(np.maximum(values, _OUTSIDE), 1, constant_values=_OUTSIDE)
  vertices, faces = marching_cubes(
    np.minimum(padded, -_OUTSIDE), level, origin=-half - spacing, spacing=spacing
  )
  return vertices, faces[:, ::-1]


def normals_of(
  network: nn.Module,
  variables: Any,
  z: chex.Array | None,
  c: chex.Array | None,
  points: np.ndarray,
  *,
  chunk: int = 16384,
) -> np.ndarray:
  """Returns outward unit normals [M, 3] of the field at points [M, 3] (M10)."""
  chex.assert_shape(points, (None, 3))
  padded = np.pad(points, ((0, -len(points) % chunk), (0, 0)))
  normal = functools.partial(normal_of(network), variables, z, c)
  parts = [np.asarray(normal(part)) for part in padded.reshape(-1, chunk, 3)]
  return np.concatenate(parts or [padded])[: len(points)]
