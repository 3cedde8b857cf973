"""What the demo looks at beyond numbers: completions, interpolation, pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
import jax
import numpy as np

from jaxvision.data import mesh_pictures, shape_families
from jaxvision.papers.deepsdf import (
  completion,
  data,
  figures,
  inference,
  meshing,
  raycasting,
  reconstruction,
)
from jaxvision.papers.deepsdf.decoder import Decoder
from jaxvision.papers.deepsdf.reconstruction import Surface

_TRUTH_RESOLUTION = 97
_PICTURE = 150  # pixels
_TRACED = 90  # of pictures that are traced, ray by ray


def interpolate(
  decoder: Decoder,
  params: Mapping[str, Any],
  codes: chex.Array,
  test: data.ShapeSet,
  pairs: int,
  resolution: int,
  points: int,
) -> tuple[list[float], list[float]]:
  """Returns how far midpoints of codes, and of distance grids, are from a family.

  Args:
    decoder: the network.
    params: its parameters.
    codes: [S, L] of the test shapes.
    test: the shapes.
    pairs: of each family.
    resolution: of meshes.
    points: of each surface.

  Returns:
    Chamfer distances to the best member of the pair's family, one a pair: of midpoints
    of codes, and of means of both shapes' true distances.
  """
  between, averaged = [], []
  for first, second in reconstruction.family_pairs(test, pairs):
    middle = data.midpoint(test.shape(first), test.shape(second))
    code = (codes[first] + codes[second])[None] / 2
    (by_code,) = reconstruction.surfaces(decoder, params, code, resolution, points)
    grid = reconstruction.average_grid(
      test.shape(first), test.shape(second), resolution
    )
    by_grid = reconstruction.sample(*meshing.surface(grid), points)
    for surface, misfits in ((by_code, between), (by_grid, averaged)):
      misfits.append(reconstruction.family_misfit(surface, middle, points))
  return between, averaged


def two_of_each_family(test: data.ShapeSet) -> list[int]:
  """Returns the first two test shapes of each family: those that pictures show."""
  return [
    int(index)
    for family in range(len(shape_families.FAMILIES))
    for index in np.flatnonzero(test.shapes.family == family)[:2]
  ]


def keep_reconstructions(
  run, test: data.ShapeSet, found: Mapping[str, Sequence[Surface]]
) -> None:
  """Keeps pictures of what was made of all samples, and of half of each shape.

  Args:
    run: the Run.
    test: the shapes.
    found: surfaces [S] named "full", "half", "untrained" and perhaps "folded".
  """
  picked = two_of_each_family(test)
  truth = [true_mesh(test, index) for index in picked]

  def of(name):
    return [found[name][index] for index in picked]

  rows = figures.both_sides(truth, "truth") | figures.both_sides(of("full"), "ours")
  if "folded" in found:
    rows |= figures.both_sides(of("folded"), "AtlasNet-\nSphere")
  run.figure("reconstructions", figures.rows_figure(rows), "Held-out shapes.")

  clouds = [test.points[i][test.points[i][:, 2] > 0][:1500] for i in picked]
  rows = {
    "seen: z > 0": [figures.draw(c, colors=figures.CLOUD) for c in clouds],
    **figures.both_sides(of("half"), "completed"),
    "truth": [figures.draw(*mesh) for mesh in truth],
  }
  if any(len(mesh.faces) for mesh in of("untrained")):
    rows["untrained\ndecoder"] = [figures.draw(*mesh[:2]) for mesh in of("untrained")]
  caption = "Completion from the samples of half of each shape, near its surface."
  run.figure("completion", figures.rows_figure(rows), caption)


def keep_view_completion(
  run,
  test: data.ShapeSet,
  fit: Callable[[inference.Observations], chex.Array],
  surfaces: Callable[[chex.Array], list[Surface]],
  *,
  offset: float,
  seed: int,
) -> None:
  """Completes one shape of each family from a depth map (M11); keeps a figure.

  Args:
    run: the Run.
    test: the shapes.
    fit: what finds codes [S, L] of observations.
    surfaces: what makes surfaces of codes.
    offset: η.
    seed: of the free space.
  """
  picked = two_of_each_family(test)[::2]
  pos, neg, clouds = [], [], []
  rng = np.random.default_rng(seed)
  for index in picked:
    view = completion.depth_view(
      *true_mesh(test, index), azimuth=0.6, elevation=0.45, size=64
    )
    outside, inside = completion.observe_surface(
      view.points, view.normals, offset=offset
    )
    free = completion.free_space(
      rng, view.points, view.toward, len(view.points) // 2, offset=offset
    )
    pos.append(np.concatenate([outside, free]))
    neg.append(inside)
    clouds.append(view.points)
  found = surfaces(fit(inference.observe(pos, neg)))
  distances = reconstruction.chamfers(found, test.points[picked])
  run.result(
    "completion from one depth map: mean CD × 10³",
    1e3 * float(np.mean(distances)),
    note="one shape of each family",
  )
  rows = {
    "depth map's\npoints": [figures.draw(c, colors=figures.CLOUD) for c in clouds],
    **figures.both_sides(found, "completed"),
    "truth, behind": [figures.draw(*true_mesh(test, i), view=1) for i in picked],
  }
  caption = "Completion from one depth map each, with what is seen to be empty."
  run.figure("depth_maps", figures.rows_figure(rows), caption)


def keep_interpolation(
  run,
  decoder: Decoder,
  params: Mapping[str, Any],
  ends: tuple[chex.Array, chex.Array],
  resolution: int,
) -> None:
  """Keeps a figure of what lies between two codes, meshed and sphere-traced (M13)."""
  shares = np.linspace(0, 1, 7)
  path = [(1 - share) * ends[0] + share * ends[1] for share in shares]
  walk = reconstruction.surfaces(decoder, params, path, resolution, 1)
  # The camera of the pictures of meshes, whose vertical axis is z.
  axes = np.float32(mesh_pictures.camera(*figures.VIEWS[0])[:, (2, 0, 1)])

  @jax.jit
  def trace(params, code, origins, directions):
    hit = raycasting.trace(decoder, params, code, origins, directions)
    return raycasting.shade(hit, axes, _TRACED)

  rays = raycasting.rays(axes, _TRACED)
  rows = {
    "meshes": [figures.draw(*mesh[:2], size=_PICTURE) for mesh in walk],
    "sphere\ntracing": [np.asarray(trace(params, code, *rays)) for code in path],
  }
  run.figure(
    "interpolation",
    figures.rows_figure(rows, [f"t = {share:.2f}" for share in shares]),
    "Between the codes of two shapes: marching cubes, and sphere tracing of the field.",
  )


def true_mesh(test: data.ShapeSet, index: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mesh of a test shape."""
  return shape_families.mesh(test.shape(index), _TRUTH_RESOLUTION)
