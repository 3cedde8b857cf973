"""What coarse-to-fine extraction and refinement cost and bring (C3)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import chex
import flax.linen as nn
import numpy as np

from jaxvision.ops import mise
from jaxvision.papers.occupancy_networks import claims, evaluation, generation
from jaxvision.papers.occupancy_networks.generation import Generation, generate

_FINE = Generation(resolution=32, steps=2)


def compare(
  run,
  net: nn.Module,
  variables: Any,
  codes: Sequence[chex.Array],
  tau: float,
  settings: Generation,
) -> None:
  """Claims what MISE evaluates and gives, and what refinement does to meshes.

  Args:
    run: the Run.
    net: an `OccupancyNetwork`.
    variables: trained.
    codes: conditions [C] of a few shapes.
    tau: threshold of the probability.
    settings: of the refined meshes.
  """
  surface = generate(net, variables, None, codes[0], threshold=tau, settings=_FINE)
  whole = (_FINE.resolution * 2**_FINE.steps + 1) ** 3
  claims.claim_extraction(run, sum(surface.counts), whole, extraction_difference())
  errors = []
  for steps in (0, settings.refinement):
    chosen = dataclasses.replace(settings, refinement=steps)
    errors.append([])
    for code in codes:
      surface = generate(net, variables, None, code, threshold=tau, settings=chosen)
      if len(surface.faces):
        mesh = surface.vertices, surface.faces
        error = evaluation.refinement_error(net, variables, code, *mesh, tau)
        errors[-1].append(error)
  if errors[0]:
    claims.claim_refinement(run, *errors)


def extraction_difference() -> float:
  """Returns how far MISE's mesh of a smooth field is from the dense grid's (C3).

  The field is a torus with a bump, the grid 64^3; infinite where the meshes have
  another number of vertices or other faces.
  """

  def field(points):
    x, y, z = np.asarray(points).T
    return 0.13 + 0.03 * np.sin(9 * x) - np.hypot(np.hypot(x, z) - 0.3, y)

  found = mise.extract(field, resolution=16, steps=2)
  axis = np.linspace(-generation.HALF, generation.HALF, 65)
  grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
  dense = field(grid.reshape(-1, 3)).reshape(grid.shape[:3])
  vertices, faces = generation.surface_of(found.values, 0.0)
  true_vertices, true_faces = generation.surface_of(dense, 0.0)
  if not np.array_equal(faces, true_faces):
    return float("inf")
  return float(np.max(np.abs(vertices - true_vertices)))
