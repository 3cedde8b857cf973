"""What is reconstructed of test shapes, and by what it is measured."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.data import meshes, shape_families
from jaxvision.data.shape_families import Shapes
from jaxvision.ops import mesh_sampling
from jaxvision.papers.deepsdf import (
  data,
  dataset,
  evaluation,
  inference,
  meshing,
)
from jaxvision.papers.deepsdf import decoder as decoders
from jaxvision.papers.deepsdf.decoder import Decoder

_SHAPES_LOOKED_AT = 8


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
  refine = meshing.is_refinable(resolution)
  meshes = [
    meshing.mesh(decoder, params, code, resolution, refine=refine) for code in codes
  ]
  return [sample(*mesh, count) for mesh in meshes]


def normal_agreement(
  decoder: Decoder, params: Mapping[str, Any], known: data.ShapeSet
) -> float:
  """Returns the mean |cosine| of gradients and normals of a few known shapes.

  Args:
    decoder: the network.
    params: {"decoder", "codes"} of its training on these shapes.
    known: the shapes.
  """
  found = jax.jit(functools.partial(decoders.normals, decoder))(
    params["decoder"],
    params["codes"][:_SHAPES_LOOKED_AT],
    known.points[:_SHAPES_LOOKED_AT, :1000],
  )
  true = known.normals[: len(found), :1000]
  return float(np.mean(np.abs(np.sum(found * true, axis=-1))))


def chamfers(found: list[Surface], truth: np.ndarray) -> np.ndarray:
  """Returns the Chamfer distances [S] to true points [S, K, 3]."""
  return np.array(
    [
      evaluation.chamfer(surface.points, points)
      for surface, points in zip(found, truth, strict=True)
    ]
  )


def measures(found: list[Surface], test: data.ShapeSet) -> list[dict[str, float]]:
  """Returns all measures of the paper of each test shape's surface."""
  truth = zip(test.points, test.normals, strict=True)
  return [
    evaluation.measure((surface.points, surface.normals), true)
    for surface, true in zip(found, truth, strict=True)
  ]


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


def reconstruct_split(
  run,
  decoder: Decoder,
  params: Mapping[str, Any],
  fit: Callable,
  instances: Sequence[dataset.Instance],
  *,
  at_once: int,
  resolution: int,
  epoch: int,
) -> list[tuple[dataset.Instance, float]]:
  """Reconstructs ShapeNet's shapes and writes what the authors' evaluation writes.

  Args:
    run: the Run; reads its data_dir, writes into Reconstructions/ and Evaluation/.
    decoder: the network.
    params: trained.
    fit: as `inference.compiled_fit` returns it.
    instances: what is reconstructed.
    at_once: shapes whose codes are fitted together.
    resolution: of the meshes.
    epoch: that names the folders.

  Returns:
    each shape's Chamfer distance, in its mesh's own frame.
  """
  source = dataset.SampleSource(run.data_dir, instances)
  folder = run.workdir / "Reconstructions" / str(epoch)
  rows = []
  for start in range(0, len(instances), at_once):
    some = instances[start : start + at_once]
    examples = [source[start + index] for index in range(len(some))]
    observed = inference.observe(
      [e["pos"] for e in examples], [e["neg"] for e in examples]
    )
    codes = fit(params, observed, jax.random.key(start)).codes
    for instance, code in zip(some, codes, strict=True):
      vertices, faces = meshing.mesh(decoder, params, code, resolution)
      frame = dataset.read_normalization(
        instance.path(run.data_dir / "NormalizationParameters", ".npz")
      )
      vertices = frame.invert(vertices.astype(np.float64))
      truth = dataset.read_surface(
        instance.path(run.data_dir / "SurfaceSamples", ".ply")
      )
      found = sample(vertices, faces, evaluation.CHAMFER_POINTS)
      rows.append((instance, evaluation.chamfer(found.points, truth)))
      if run.is_main:
        mesh = meshes.Mesh(vertices, faces)
        dataset.write_reconstruction(folder, instance, mesh, np.asarray(code))
  if run.is_main:
    table = run.workdir / "Evaluation" / str(epoch) / "chamfer.csv"
    dataset.write_chamfer(table, rows)
  return rows


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
