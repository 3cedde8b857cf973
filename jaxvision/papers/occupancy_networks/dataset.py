"""ShapeNet as the authors prepare it, read and written in their layout.

  metadata.yaml                     {synset: {id, name}}, of which only names are read
  <synset>/{train,val,test}.lst     one model a line
  <synset>/<model>/points.npz       points [N, 3] float16, occupancies (packed bits)
  <synset>/<model>/pointcloud.npz   points, normals [N, 3] float16
  <synset>/<model>/model.binvox     32^3 solid voxels
  <synset>/<model>/img_choy2016/    000.jpg, ..., 023.jpg and cameras.npz

Both NPZ files also hold loc [3] and scale, of the mesh before it was normalised.
`points_surface.npz`, in the layout of points.npz, is read for the variant "surface".
"""

import functools
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from jaxvision.data import (
  archives,
  binvox,
  files,
  images,
  meshes,
  pipeline,
  wheel_meshes,
)
from jaxvision.errors import UserError
from jaxvision.ops import mesh_sampling, voxels
from jaxvision.papers.occupancy_networks.shapes import HALF
from jaxvision.papers.occupancy_networks.variants import Variant

_INSTRUCTIONS = (
  "the authors' code (autonomousvision/occupancy_networks) downloads the prepared data "
  "with scripts/download_data.sh"
)
_IMAGES = "img_choy2016"
# Half precision puts points onto a coarse lattice.
_LATTICE_NOISE = 1e-4


class ShapeNet:
  """A split at random access, in the authors' layout; see `data` for its examples."""

  def __init__(
    self,
    root: epath.PathLike,
    split: str,
    variant: Variant,
    categories: Sequence[str] = (),
  ):
    """Lists the models; they are read when they are asked for.

    Args:
      root: the folder of `metadata.yaml` and the categories.
      split: "train", "val" or "test".
      variant: decides which files of a model are read.
      categories: synsets, or names as in metadata.yaml; all there are when empty.

    Raises:
      UserError: there is no such folder, category or list.
    """
    self._root = epath.Path(root)
    self._variant = variant
    names = category_names(self._root)
    found = [name for name in names if (self._root / name / f"{split}.lst").exists()]
    if categories:
      by_word = {word: s for s, name in names.items() for word in name.split(",")}
      chosen = [by_word.get(category, category) for category in categories]
      missing = sorted(set(chosen) - set(found))
      if missing:
        raise UserError(f"{root}: no {split}.lst of {', '.join(missing)}")
      found = chosen
    if not found:
      raise UserError(f"{root}: no <synset>/{split}.lst; {_INSTRUCTIONS}")
    self.models = []
    for category in found:
      listed = files.read_bytes(self._root / category / f"{split}.lst").decode()
      self.models += [(category, model) for model in listed.split()]
    if not self.models:
      raise UserError(f"{root}: the lists of {split} are empty")

  def __len__(self) -> int:
    return len(self.models)

  def __getitem__(self, index: int) -> dict[str, Any]:
    category, model = self.models[index]
    folder = self._root / category / model
    variant = self._variant
    example = {"index": np.int32(index), "category": category}
    points, occupancies = read_points(folder / "points.npz", seed=index)
    example |= {"points": points, "occupancies": occupancies}
    if variant.sampling == "surface":
      near = read_points(folder / "points_surface.npz", seed=index)
      example |= dict(zip(("near_points", "near_occupancies"), near, strict=True))
    if variant.task == "pointcloud" or variant.output == "psgn":
      cloud, normals = read_cloud(folder / "pointcloud.npz")
      example |= {"cloud": cloud, "normals": normals}
    if variant.task == "voxels" or variant.output == "r2n2":
      grid = binvox.read_binvox(folder / "model.binvox").occupied
      example |= {"voxels": grid, "voxels32": grid}
    if variant.task == "image":
      example["images"] = Views(folder / _IMAGES)
    return example


class Views:
  """The pictures of a model, each read when it is asked for."""

  def __init__(self, folder: epath.Path):
    self._files = sorted([*folder.glob("*.jpg"), *folder.glob("*.png")])
    if not self._files:
      raise UserError(f"{folder}: no pictures; {_INSTRUCTIONS}")

  def __len__(self) -> int:
    return len(self._files)

  def __getitem__(self, index: int) -> np.ndarray:
    return images.read_rgb(self._files[index])


@functools.cache
def category_names(root: epath.Path) -> dict[str, str]:
  """Returns {synset: its names, separated by commas}; folders where none are listed.

  Raises:
    UserError: the folder is missing.
  """
  if not root.is_dir():
    raise UserError(f"{root}: no such folder; {_INSTRUCTIONS}")
  names = {folder.name: "" for folder in sorted(root.iterdir()) if folder.is_dir()}
  if (root / "metadata.yaml").exists():
    text = files.read_bytes(root / "metadata.yaml").decode()
    entries = re.findall(r"^'?(\w+)'?:\s*$((?:\n +.*)*)", text, re.MULTILINE)
    for synset, fields in entries:
      name = re.search(r"name:\s*(.+)", fields)
      if synset in names and name:
        names[synset] = name[1].strip().strip("'\"")
  return names


def read_points(path: epath.PathLike, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns points [N, 3] float32 and occupancies [N] of a points.npz.

  Args:
    path: the file.
    seed: of the noise of 1e-4 that half-precision points get.

  Raises:
    UserError: missing, damaged, or of another layout; names the path.
  """
  arrays = _read(path, ("points", "occupancies"))
  points, occupancies = arrays["points"], arrays["occupancies"]
  with files.decoding(path, "points.npz"):
    if occupancies.dtype == np.uint8:
      occupancies = np.unpackbits(occupancies)[: len(points)]
    if (
      points.ndim != 2 or points.shape[1] != 3 or occupancies.shape != points.shape[:1]
    ):
      raise ValueError(f"points {points.shape}, occupancies {occupancies.shape}")
    full = points.astype(np.float32)
    if points.dtype == np.float16:
      rng = np.random.default_rng(seed)
      full += _LATTICE_NOISE * rng.standard_normal(full.shape, np.float32)
    if not np.all(np.isfinite(full)):
      raise ValueError("points are not finite")
  return full, occupancies.astype(bool)


def read_cloud(path: epath.PathLike) -> tuple[np.ndarray, np.ndarray]:
  """Returns points and normals [N, 3] float32 of a pointcloud.npz.

  Raises:
    UserError: missing, damaged, or of another layout; names the path.
  """
  arrays = _read(path, ("points", "normals"))
  with files.decoding(path, "pointcloud.npz"):
    points, normals = (arrays[name].astype(np.float32) for name in arrays)
    if points.ndim != 2 or points.shape[1] != 3 or normals.shape != points.shape:
      raise ValueError(f"points {points.shape}, normals {normals.shape}")
    if not np.all(np.isfinite(points)):
      raise ValueError("points are not finite")
  return points, normals


def read_cameras(path: epath.PathLike) -> tuple[np.ndarray, np.ndarray]:
  """Returns world [V, 3, 4] and camera [V, 3, 3] matrices of a cameras.npz.

  Raises:
    UserError: missing, damaged, or of another layout; names the path.
  """
  arrays = archives.read_npz(path)
  with files.decoding(path, "cameras.npz"):
    count = sum(name.startswith("world_mat_") for name in arrays)
    world = np.stack([arrays[f"world_mat_{index}"] for index in range(count)])
    camera = np.stack([arrays[f"camera_mat_{index}"] for index in range(count)])
    if world.shape[1:] != (3, 4) or camera.shape[1:] != (3, 3):
      raise ValueError(f"matrices {world.shape[1:]} and {camera.shape[1:]}")
  return world, camera


def write_model(folder: epath.PathLike, example: dict[str, Any]) -> None:
  """Writes a model's files in the authors' layout, as far as an example holds them.

  Args:
    folder: `<root>/<synset>/<model>`; made where it is missing.
    example: see `data`; points and clouds are stored in half precision.
  """
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  place = {"loc": np.zeros(3), "scale": np.float64(1.0)}

  def half(name):
    return np.asarray(example[name], np.float16)

  for file, prefix in (("points", ""), ("points_surface", "near_")):
    if f"{prefix}points" in example:
      bits = np.packbits(example[f"{prefix}occupancies"])
      arrays = {"points": half(f"{prefix}points"), "occupancies": bits}
      archives.write_npz(folder / f"{file}.npz", arrays | place)
  if "cloud" in example:
    arrays = {"points": half("cloud"), "normals": half("normals")}
    archives.write_npz(folder / "pointcloud.npz", arrays | place)
  grid = example.get("voxels32", example.get("voxels"))
  if grid is not None:
    stored = binvox.Voxels(np.asarray(grid), (-0.5, -0.5, -0.5), 1.0)
    binvox.write_binvox(folder / "model.binvox", stored)
  if "images" in example:
    (folder / _IMAGES).mkdir(exist_ok=True)
    for index, picture in enumerate(example["images"]):
      images.write_jpeg(folder / _IMAGES / f"{index:03d}.jpg", picture)


def mesh_paths(
  data_dir: epath.Path | None, first: int, count: int
) -> list[epath.PathLike]:
  """Returns watertight meshes' files: of a folder, or of pybullet where installed.

  Args:
    data_dir: the folder, or None.
    first: number of the first one, in order of name.
    count: at most so many.

  Raises:
    UserError: there are none.
  """
  if data_dir is None:
    paths = wheel_meshes.random_objects()
  else:
    paths = sorted(p for s in ("ply", "obj", "off") for p in data_dir.glob(f"*.{s}"))
  if not paths[first : first + count]:
    raise UserError(
      f"no meshes from number {first} on: give --data_dir=DIR with more .ply, .obj or "
      ".off files, or install pybullet"
    )
  return paths[first : first + count]


def of_meshes(
  paths: Sequence[epath.PathLike], *, points: int, surface: int, resolution: int
) -> pipeline.ArraySource:
  """Returns examples of watertight mesh files, in memory.

  Args:
    paths: PLY, OBJ or OFF files.
    points, surface, resolution: see `describe_mesh`.

  Raises:
    UserError: a file is missing, damaged, or has no faces; names it.
  """
  examples = []
  for index, path in enumerate(paths):
    mesh = meshes.read_mesh(path)
    # Few sizes are compiled: faces of zeros enclose nothing.
    more = -len(mesh.faces) % 4096
    faces = np.pad(mesh.faces, ((0, more), (0, 0)))
    with files.decoding(path, "watertight mesh"):
      described = describe_mesh(
        mesh.vertices,
        faces if len(mesh.faces) else mesh.faces,
        index,
        points=points,
        surface=surface,
        resolution=resolution,
      )
    examples.append(described | {"index": np.int32(index)})
  stacked = {name: np.stack([e[name] for e in examples]) for name in examples[0]}
  return pipeline.ArraySource(stacked)


def describe_mesh(
  vertices: np.ndarray,
  faces: np.ndarray,
  seed: int,
  *,
  points: int,
  surface: int,
  resolution: int = 32,
) -> dict[str, np.ndarray]:
  """Returns an example of a watertight mesh: points, occupancies, cloud, voxels.

  The mesh is moved and scaled so that its bounding box is centred and its longest edge
  1. Occupancies count crossings of its faces along z (see `voxels.contains`).

  Args:
    vertices: [V, 3] finite.
    faces: [F, 3] indices, F ≥ 1.
    seed: of the random points.
    points: drawn uniformly in the cube [-0.55, 0.55]^3.
    surface: drawn on the surface.
    resolution: of the observed voxels; those of 32^3 are there too.

  Raises:
    ValueError: the mesh has no faces, extent or area, or vertices that are not finite.
  """
  if not len(faces) or not np.all(np.isfinite(vertices[faces])):
    raise ValueError("the mesh has no faces, or vertices that are not finite")
  low, high = vertices[faces].min(axis=(0, 1)), vertices[faces].max(axis=(0, 1))
  size = (high - low).max()
  if not size > 0:
    raise ValueError("the mesh has no extent")
  unit = ((vertices - (low + high) / 2) / size).astype(np.float32)
  drawn = np.random.default_rng(seed).uniform(-HALF, HALF, (points, 3))
  drawn = drawn.astype(np.float32)
  cloud, normals, _ = _sample(jax.random.key(seed), unit, faces, surface)
  if not np.all(np.isfinite(cloud)):
    raise ValueError("the mesh has no area")
  example = {
    "points": drawn,
    "occupancies": _contains(drawn, unit, faces),
    "cloud": cloud,
    "normals": normals,
    "voxels": _voxelize(unit, faces, resolution),
    "voxels32": _voxelize(unit, faces, 32),
  }
  return {name: np.asarray(array) for name, array in example.items()}


_sample = jax.jit(mesh_sampling.sample_surface, static_argnums=3)
_voxelize = jax.jit(voxels.voxelize_solid, static_argnums=2)
_contains = jax.jit(voxels.contains)


def _read(path, names):
  arrays = archives.read_npz(path)
  missing = [name for name in names if name not in arrays]
  if missing:
    raise UserError(f"{path}: lacks {', '.join(missing)}; {_INSTRUCTIONS}")
  return {name: arrays[name] for name in names}
