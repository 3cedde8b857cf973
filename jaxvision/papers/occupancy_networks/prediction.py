"""Meshes of the user's own point clouds, voxel grids and images."""

import dataclasses
import io
import json
import pathlib

import jax
import numpy as np
from etils import epath

from jaxvision.data import archives, binvox, clouds, files, images, meshes
from jaxvision.errors import UserError
from jaxvision.ops import mesh_sampling, voxels
from jaxvision.papers.occupancy_networks import data, figures
from jaxvision.papers.occupancy_networks.generation import Surface
from jaxvision.papers.occupancy_networks.variants import Task

_MESHES = (".ply", ".obj", ".off")
_IMAGES = (".png", ".jpg", ".jpeg", ".ppm")
_DRAWN = 4096  # points on a mesh's faces
_SHOWN = 3000  # points of a cloud in a picture


@dataclasses.dataclass(frozen=True)
class Observation:
  """What was read from one file.

  Attributes:
    path: the file.
    task: which network it is for.
    values: points [N, 3] in the unit cube, voxels [R, R, R] booleans, or an image
      [H, W, 3] uint8.
    center, size: where the unit cube lies, in the file's unit.
  """

  path: epath.Path
  task: Task
  values: np.ndarray
  center: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))
  size: float = 1.0


def read(path: epath.PathLike) -> Observation:
  """Reads a cloud (.ply, .obj, .off, .pcd, .npz, .npy), a grid or an image.

  Points are moved and scaled so that their bounding box is centred and its longest edge
  is 1; of a mesh with faces, points on its surface are drawn.

  Raises:
    UserError: missing or damaged file, of no known kind, or without anything in it.
  """
  path = epath.Path(path)
  suffix = pathlib.PurePath(path.name).suffix.lower()
  if suffix in _IMAGES:
    return Observation(path, "image", images.read_rgb(path))
  if suffix == ".binvox":
    grid = binvox.read_binvox(path)
    if not grid.occupied.any():
      raise UserError(f"{path}: no voxel is occupied")
    center = np.array(grid.translate) + grid.scale / 2
    return Observation(path, "voxels", grid.occupied, center, grid.scale)
  points = _read_points(path, suffix)
  if points.ndim != 2 or points.shape[1] != 3 or not len(points):
    raise UserError(f"{path}: a cloud is [N, 3] points, not {list(points.shape)}")
  if not np.all(np.isfinite(points)):
    bad = int(np.sum(~np.isfinite(points).all(axis=1)))
    raise UserError(f"{path}: {bad} of {len(points)} points are not finite")
  low, high = points.min(axis=0), points.max(axis=0)
  center, size = (low + high) / 2, float((high - low).max())
  if not size > 0:
    raise UserError(f"{path}: all of its {len(points)} points are one")
  unit = ((points - center) / size).astype(np.float32)
  return Observation(path, "pointcloud", unit, center, size)


def _read_points(path, suffix):
  if suffix in _MESHES:
    mesh = meshes.read_mesh(path)
    if not len(mesh.faces):
      return mesh.vertices
    points, _, _ = jax.jit(mesh_sampling.sample_surface, static_argnums=3)(
      jax.random.key(0), mesh.vertices.astype(np.float32), mesh.faces, _DRAWN
    )
    return np.asarray(points, np.float64)
  if suffix == ".pcd":
    return clouds.points(clouds.read_pcd(path)).astype(np.float64)
  if suffix == ".npz":
    arrays = archives.read_npz(path)
    if "points" not in arrays:
      raise UserError(f"{path}: lacks points")
    return arrays["points"].astype(np.float64)
  if suffix == ".npy":
    content = files.read_bytes(path)
    with files.decoding(path, "NPY file"):
      return _decode_npy(content)
  known = ", ".join((*_MESHES, ".pcd", ".npz", ".npy", ".binvox", *_IMAGES))
  raise UserError(f"{path}: not one of {known}")


def _decode_npy(content):
  return np.load(io.BytesIO(content), allow_pickle=False).astype(np.float64)


def inputs_of(
  observation: Observation, *, cloud: int, noise: float, resolution: int, image: int
) -> np.ndarray:
  """Returns what a network takes, without a batch axis.

  Args:
    observation: as `read` returns it.
    cloud: points that are drawn of a cloud, with replacement.
    noise: of the clouds the network was trained on; none is added.
    resolution: of the voxels it was trained on.
    image: pixels along an image's sides; others are resized.

  Raises:
    UserError: a grid has another resolution.
  """
  del noise
  values = observation.values
  if observation.task == "pointcloud":
    chosen = np.random.default_rng(0).integers(len(values), size=cloud)
    return values[chosen]
  if observation.task == "voxels":
    if values.shape != (resolution,) * 3:
      raise UserError(
        f"{observation.path}: a grid of {list(values.shape)} voxels; the network was "
        f"trained on {resolution}^3"
      )
    return values.astype(np.float32)
  return data.resize(values, image)


def picture_of(task: Task, values: np.ndarray) -> np.ndarray:
  """Returns what was observed as `figures.draw` shows it: [2 H, H, 3]."""
  if task == "pointcloud":
    return figures.draw(values[:: max(1, len(values) // _SHOWN)])
  if task == "voxels":
    return figures.draw(*voxels.boundary_mesh(values > 0))
  blank = figures.draw(np.zeros((0, 3), np.float32))
  side = blank.shape[1]
  blank[:side] = data.resize(
    values if values.dtype == np.uint8 else np.uint8(255 * values), side
  )
  return blank


def write(
  out: epath.Path, observations: list[Observation], surfaces: list[Surface]
) -> list[dict]:
  """Writes NAME.ply, NAME.png for each file, and predictions.json; returns its rows.

  Vertices are in the file's own unit; of an image, in the object's unit cube.
  """
  rows, named = [], {}
  for observation, surface in zip(observations, surfaces, strict=True):
    stem = pathlib.PurePath(observation.path.name).stem
    named[stem] = named.get(stem, -1) + 1
    if named[stem]:
      stem = f"{stem}-{named[stem]}"
    placed = surface.vertices * observation.size + observation.center
    mesh = meshes.Mesh(placed.astype(np.float32), surface.faces)
    meshes.write_mesh(out / f"{stem}.ply", mesh)
    shown = {
      "input": picture_of(observation.task, observation.values),
      "mesh": figures.draw(surface.vertices, surface.faces),
    }
    picture = np.concatenate(list(shown.values()), axis=1)
    images.write_png(out / f"{stem}.png", np.uint8(np.round(255 * picture)))
    rows.append(
      {
        "file": str(observation.path),
        "task": observation.task,
        "mesh": f"{stem}.ply",
        "vertices": len(surface.vertices),
        "faces": len(surface.faces),
        "points_evaluated": int(sum(surface.counts)),
      }
    )
  files.write_bytes(out / "predictions.json", json.dumps(rows, indent=2).encode())
  return rows
