"""Normals of real meshes that installed packages bring, the meshes' own the truth."""

from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import wheel_meshes
from jaxvision.data.meshes import Mesh, read_mesh
from jaxvision.ops.mesh_sampling import sample_surface
from jaxvision.ops.point_normals import estimate_normals
from jaxvision.papers.rscnn.data import unit_sphere

NAMES = ("bunny", "cow", "airplane", "ant", "nut", "duck", "mug", "teddy")
RANDOM_OBJECTS = 4
NEIGHBOURS = 12  # of a fitted plane


def read_installed() -> dict[str, Mesh]:
  """Returns the meshes of pymeshlab, pyvista and pybullet, as far as installed."""
  found = {name: wheel_meshes.find([name]) for name in NAMES}
  paths = {name: path for name, path in found.items() if path is not None}
  for path in wheel_meshes.random_objects(RANDOM_OBJECTS):
    paths[f"object {path.stem}"] = path
  meshes = {name: read_mesh(path) for name, path in paths.items()}
  return {name: mesh for name, mesh in meshes.items() if len(mesh.faces)}


def errors(
  meshes: Mapping[str, Mesh],
  estimators: Mapping[str, Callable[[chex.Array], chex.Array]],
  count: int,
) -> list[dict]:
  """Returns the mean 1 - |cos| of the normals' angles, a row a mesh.

  Args:
    meshes: by name, z up or not.
    estimators: points [1, count, 3] to normals [1, count, 3], by name; planes fitted
      to neighbours are added.
    count: points drawn from each mesh.

  Returns:
    rows of "mesh" and, by estimator, its error.
  """

  @jax.jit
  def planes(points):
    return estimate_normals(points[0], min(NEIGHBOURS, count)).normals[None]

  table = []
  for number, (name, mesh) in enumerate(meshes.items()):
    vertices = np.asarray(mesh.vertices, np.float32)
    points, normals, _ = sample_surface(
      jax.random.key(number), vertices, mesh.faces, count
    )
    if not np.isfinite(points).all():
      continue  # a mesh without area has no normals
    cloud = jnp.asarray(unit_sphere(points))[None]
    row = {"mesh": name}
    for title, estimate in (dict(estimators) | {"fitted planes": planes}).items():
      cosines = np.sum(np.asarray(estimate(cloud))[0] * np.asarray(normals), axis=1)
      row[title] = float(np.mean(1 - np.abs(cosines)))
    table.append(row)
  return table
