"""Samples, surfaces, frames and results on disk, in the authors' layout.

Under one data directory:

  SdfSamples/<dataset>/<class>/<id>.npz               "pos", "neg" [n, 4]: x, y, z, s
  SurfaceSamples/<dataset>/<class>/<id>.ply           points in the mesh's own frame
  NormalizationParameters/<dataset>/<class>/<id>.npz  "offset" [3], "scale" [1]
  .datasources.json                                   {dataset: folder of its meshes}

and a split is a JSON file {dataset: {class: [ids]}}, e.g. the authors'
examples/splits/sv2_chairs_train.json.
"""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from jaxvision.data import archives, files, meshes, ply
from jaxvision.errors import UserError
from jaxvision.papers.deepsdf import preprocessing
from jaxvision.papers.deepsdf.preprocessing import Normalization, Samples

SURFACE_POINTS = 30_000


class Instance(NamedTuple):
  """A shape's place in a data set."""

  dataset: str
  category: str
  name: str

  def path(self, folder: epath.PathLike, suffix: str) -> epath.Path:
    """Returns the file of this shape below a folder."""
    directory = epath.Path(folder) / self.dataset / self.category
    return directory / f"{self.name}{suffix}"


def read_json(path: epath.PathLike) -> Any:
  """Returns what a JSON file holds.

  Raises:
    UserError: missing or damaged; names the path.
  """
  content = files.read_bytes(path)
  with files.decoding(path, "JSON file"):
    return json.loads(content)


def read_split(path: epath.PathLike) -> list[Instance]:
  """Returns the shapes of a split, in its order.

  Raises:
    UserError: missing, damaged or not a split; names the path.
  """
  tree = read_json(path)
  with files.decoding(path, "split {dataset: {class: [ids]}}"):
    instances = [
      Instance(dataset, category, name)
      for dataset, categories in tree.items()
      for category, names in categories.items()
      for name in names
    ]
  if not instances:
    raise UserError(f"{path}: the split is empty")
  return instances


def first_shapes(
  data_dir: epath.Path | None, split: str, count: int, *, option: str
) -> list[Instance]:
  """Returns the first `count` shapes of a split.

  Args:
    data_dir: see the module; None where none was given.
    split: file below it.
    count: number of shapes.
    option: what the user sets to another count, for the message.

  Raises:
    UserError: there is no directory, or the split is missing or shorter.
  """
  if data_dir is None:
    raise UserError(
      "ShapeNet's samples (SdfSamples/, SurfaceSamples/, NormalizationParameters/, "
      "splits/) are read from --data_dir=DIR"
    )
  instances = read_split(data_dir / split)
  if len(instances) < count:
    raise UserError(
      f"{data_dir / split} has {len(instances)} shapes: {option}={len(instances)}"
    )
  return instances[:count]


def write_split(path: epath.PathLike, instances: Sequence[Instance]) -> None:
  """Writes a split of shapes."""
  tree: dict[str, dict[str, list[str]]] = {}
  for dataset, category, name in instances:
    tree.setdefault(dataset, {}).setdefault(category, []).append(name)
  files.write_bytes(path, json.dumps(tree, indent=1).encode())


def read_samples(path: epath.PathLike) -> Samples:
  """Returns the samples of one shape, without rows whose distance is NaN.

  Raises:
    UserError: missing, damaged, of another shape, or without samples on either side;
      names the path.
  """
  arrays = archives.read_npz(path)
  sides = []
  for side in ("pos", "neg"):
    rows = arrays.get(side)
    if rows is None or rows.ndim != 2 or rows.shape[1] != 4:
      raise UserError(f"{path}: lacks samples {side!r} [n, 4]")
    rows = rows[~np.isnan(rows[:, 3])].astype(np.float32)
    if not len(rows):
      raise UserError(f"{path}: has no sample in {side!r}")
    sides.append(rows)
  return Samples(*sides)


def write_samples(path: epath.PathLike, samples: Samples) -> None:
  """Writes the samples of one shape; folders are made."""
  epath.Path(path).parent.mkdir(parents=True, exist_ok=True)
  arrays = {side: rows.astype(np.float32) for side, rows in samples._asdict().items()}
  archives.write_npz(path, arrays)


def read_normalization(path: epath.PathLike) -> Normalization:
  """Returns how a shape's mesh was moved into the unit sphere.

  Raises:
    UserError: missing, damaged, or without a usable offset and scale; names the path.
  """
  arrays = archives.read_npz(path)
  with files.decoding(path, "file of offset [3] and scale [1]"):
    offset = np.asarray(arrays["offset"], np.float64).reshape(3)
    scale = float(np.asarray(arrays["scale"], np.float64).reshape(()))
  if not (np.all(np.isfinite(offset)) and np.isfinite(scale) and scale > 0):
    raise UserError(f"{path}: offset or scale is out of range")
  return Normalization(offset, scale)


def write_normalization(path: epath.PathLike, frame: Normalization) -> None:
  """Writes how a shape's mesh was moved; folders are made."""
  epath.Path(path).parent.mkdir(parents=True, exist_ok=True)
  offset = np.asarray(frame.offset, np.float32)
  scale = np.asarray([frame.scale], np.float32)
  archives.write_npz(path, {"offset": offset, "scale": scale})


def read_surface(path: epath.PathLike) -> np.ndarray:
  """Returns the [N, 3] points of a surface, in the mesh's own frame.

  Raises:
    UserError: missing, damaged, empty or not finite; names the path.
  """
  columns = ply.read_ply_vertices(path)
  if not {"x", "y", "z"} <= columns.keys():
    raise UserError(f"{path}: has no points x, y, z")
  points = np.stack([columns[axis] for axis in "xyz"], axis=-1)
  if not len(points) or not np.all(np.isfinite(points)):
    raise UserError(f"{path}: has no points, or one that is not finite")
  return points


def write_surface(path: epath.PathLike, points: np.ndarray) -> None:
  """Writes [N, 3] points; folders are made."""
  epath.Path(path).parent.mkdir(parents=True, exist_ok=True)
  columns = zip("xyz", np.asarray(points, np.float32).T, strict=True)
  ply.write_ply_vertices(path, dict(columns))


def preprocess(
  mesh_path: epath.PathLike,
  data_dir: epath.PathLike,
  instance: Instance,
  *,
  seed: int = 0,
  is_test: bool = False,
  count: int | None = None,
  **options: Any,
) -> bool:
  """Writes samples, surface and frame of one mesh; returns whether the mesh is good.

  Args:
    mesh_path: .ply, .obj or .off file.
    data_dir: see the module.
    instance: whose files are written.
    seed: of the draws.
    is_test: whether codes will be fitted to the samples: half as many, and wider.
    count: samples drawn, if not the authors' number.
    **options: cameras and size of `preprocessing.visible_shell`.

  Raises:
    UserError: the mesh is missing, damaged, empty or without size; nothing is written.
  """
  mesh = meshes.read_mesh(mesh_path)
  first = preprocessing.TEST_VARIANCE if is_test else preprocessing.VARIANCE
  usual = preprocessing.TEST_SAMPLES if is_test else preprocessing.TRAINING_SAMPLES
  samples, frame, shell = preprocessing.sample_mesh(
    seed,
    mesh.vertices,
    mesh.faces,
    count=count or usual,
    variances=(first, preprocessing.SECOND_VARIANCE),
    **options,
  )
  rng = np.random.default_rng(seed)
  chosen = rng.choice(len(shell.points), SURFACE_POINTS)
  surface = frame.invert(shell.points[chosen].astype(np.float64))
  folder = epath.Path(data_dir)
  write_samples(instance.path(folder / "SdfSamples", ".npz"), samples)
  write_surface(instance.path(folder / "SurfaceSamples", ".ply"), surface)
  write_normalization(instance.path(folder / "NormalizationParameters", ".npz"), frame)
  sources = folder / ".datasources.json"
  known = read_json(sources) if sources.exists() else {}
  known[instance.dataset] = str(epath.Path(mesh_path).parent)
  files.write_bytes(sources, json.dumps(known).encode())
  return shell.is_good


class SampleSource:
  """The samples of a split's shapes, read when they are asked for.

  Args:
    data_dir: see the module.
    instances: the split.

  Raises:
    UserError: files are missing; names the first and counts them.
  """

  def __init__(self, data_dir: epath.PathLike, instances: Sequence[Instance]):
    folder = epath.Path(data_dir) / "SdfSamples"
    self._paths = [instance.path(folder, ".npz") for instance in instances]
    missing = [path for path in self._paths if not path.exists()]
    if missing:
      raise UserError(
        f"{missing[0]} and {len(missing) - 1} more files of samples are missing: "
        "preprocess ShapeNetCore v2's meshes with "
        "jaxvision.papers.deepsdf.dataset.preprocess or the authors' code"
      )

  def __len__(self) -> int:
    return len(self._paths)

  def __getitem__(self, index: int) -> dict[str, Any]:
    return {"shape": np.int32(index), **read_samples(self._paths[index])._asdict()}


def write_reconstruction(
  folder: epath.PathLike, instance: Instance, mesh: meshes.Mesh, code: np.ndarray
) -> None:
  """Writes Meshes/.../<id>.ply and Codes/.../<id>.npz of one reconstruction.

  Args:
    folder: Reconstructions/<epoch> of an experiment.
    instance: what was reconstructed.
    mesh: in the frame wanted.
    code: [L]; the authors' .pth needs PyTorch to be written, so this is an .npz.
  """
  path = instance.path(epath.Path(folder) / "Meshes", ".ply")
  path.parent.mkdir(parents=True, exist_ok=True)
  meshes.write_mesh(path, mesh)
  path = instance.path(epath.Path(folder) / "Codes", ".npz")
  path.parent.mkdir(parents=True, exist_ok=True)
  archives.write_npz(path, {"code": code})


def write_chamfer(path: epath.PathLike, rows: Sequence[tuple[Instance, float]]) -> None:
  """Writes Evaluation/<checkpoint>/chamfer.csv, a line a shape."""
  stream = io.StringIO()
  writer = csv.writer(stream, lineterminator="\n")
  writer.writerow(["shape", "chamfer_dist"])
  for instance, distance in rows:
    writer.writerow(["/".join(instance), distance])
  epath.Path(path).parent.mkdir(parents=True, exist_ok=True)
  files.write_bytes(path, stream.getvalue().encode())
