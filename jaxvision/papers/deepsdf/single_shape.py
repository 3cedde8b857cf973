"""One shape in one network, without a code (M12)."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxvision.data import meshes, shape_families, wheel_meshes
from jaxvision.papers.deepsdf import (
  claims,
  evaluation,
  figures,
  preprocessing,
  reconstruction,
)
from jaxvision.papers.deepsdf.decoder import Decoder

_TABLE_SEED = 7
_PICTURE = 250  # pixels


def example(
  seed: int, *, samples: int, resolution: int, cameras: int, size: int
) -> tuple[str, meshes.Mesh, preprocessing.Samples]:
  """Returns a mesh's name, the normalised mesh, and its samples (M1 to M3).

  It is a bunny where a package that brings one is installed, or else a table.

  Args:
    seed: of the samples.
    samples: that are drawn.
    resolution: of the table's mesh.
    cameras, size: see `preprocessing.visible_shell`.
  """
  path = wheel_meshes.find(["bunny", "low bunny"])
  if path is not None:
    mesh, name = meshes.read_mesh(path), path.stem
    vertices, faces = mesh.vertices, mesh.faces
  else:
    shape = jax.tree.map(
      lambda leaf: leaf[0],
      shape_families.random_shapes(
        jax.random.key(_TABLE_SEED), np.array([shape_families.TABLE], np.int32)
      ),
    )
    vertices, faces = shape_families.mesh(shape, resolution)
    name = "table (no package with a bunny is installed)"
  found, frame, _ = preprocessing.sample_mesh(
    seed, vertices, faces, count=samples, cameras=cameras, size=size
  )
  vertices = frame.apply(np.asarray(vertices, np.float64))
  return name, meshes.Mesh(vertices, faces), found


def record(
  run,
  decoder: Decoder,
  params: Mapping[str, Any],
  name: str,
  mesh: meshes.Mesh,
  *,
  resolution: int,
  seed: int,
) -> None:
  """Measures, claims and shows the network of one shape.

  Args:
    run: the Run.
    decoder: without code.
    params: trained.
    name, mesh: of the shape.
    resolution: of the network's mesh.
    seed: of the training.
  """
  found = reconstruction.surfaces(
    decoder, params, np.zeros((1, 0)), resolution, evaluation.CHAMFER_POINTS
  )[0]
  truth = reconstruction.sample(mesh.vertices, mesh.faces, evaluation.CHAMFER_POINTS)
  distance = evaluation.chamfer(found.points, truth.points)
  run.result("single shape: CD × 10³", 1e3 * distance, note=name)
  claims.claim_single(run, name, distance, seed)
  options = {"up": "y" if name.startswith("bunny") else "z", "size": _PICTURE}
  shown = (mesh.vertices, mesh.faces)
  run.figure(
    "single_shape",
    figures.rows_figure(
      figures.both_sides([shown], "mesh", **options)
      | figures.both_sides([found], "its network", **options)
    ),
    f"One network of one shape: {name}.",
  )
