"""The user's meshes and partial clouds in, completed meshes and pictures out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from jaxvision.data import files, images, mesh_pictures, meshes, ply
from jaxvision.errors import UserError
from jaxvision.papers.deepsdf import completion, inference, meshing, preprocessing
from jaxvision.papers.deepsdf.decoder import Decoder

_LARGEST_RADIUS = 1.5  # of a cloud that claims to be normalised


class Request(NamedTuple):
  """One file, ready to be fitted to.

  Attributes:
    name: of the file, without suffix.
    pos, neg: rows as `inference.observe` takes them.
    frame: of the mesh; None for a cloud, which is normalised already.
    seen: what a picture of the input shows: vertices and faces, normalised.
  """

  name: str
  pos: np.ndarray
  neg: np.ndarray
  frame: preprocessing.Normalization | None
  seen: tuple[np.ndarray, np.ndarray]


def read(
  path: epath.PathLike,
  *,
  samples: int,
  viewpoint: tuple[float, ...] = (),
  seed: int = 0,
  cameras: int = 100,
  size: int = 200,
) -> Request:
  """Returns what a mesh or a partial cloud says of its shape.

  A mesh is moved into the unit sphere and sampled as in training. A cloud is a view in
  the normalised frame; normals are read from a PLY file (nx, ny, nz) or estimated, and
  where a viewpoint is given, what lies between it and the points is empty.

  Args:
    path: .ply, .obj or .off file.
    samples: drawn of a mesh.
    viewpoint: (x, y, z) of the camera that saw a cloud; () when unknown.
    seed: of the draws.
    cameras, size: see `preprocessing.visible_shell`.

  Raises:
    UserError: naming the file: missing, damaged, empty, not finite, or a cloud that is
      not normalised; or the viewpoint is none.
  """
  if len(viewpoint) not in (0, 3):
    raise UserError(f"a viewpoint has 3 coordinates, not {len(viewpoint)}")
  path = epath.Path(path)
  mesh = meshes.read_mesh(path)
  try:
    if len(mesh.faces):
      return _of_mesh(path.stem, mesh, samples, seed, cameras, size)
    return _of_cloud(path, mesh.vertices, viewpoint, seed)
  except UserError as error:
    raise UserError(f"{path}: {error}") from error


def _of_mesh(name, mesh, samples, seed, cameras, size):
  found, frame, _ = preprocessing.sample_mesh(
    seed, mesh.vertices, mesh.faces, count=samples, cameras=cameras, size=size
  )
  seen = frame.apply(mesh.vertices), mesh.faces
  return Request(name, found.pos, found.neg, frame, seen)


def _of_cloud(path, points, viewpoint, seed):
  if not len(points):
    raise UserError("holds no points")
  if not np.all(np.isfinite(points)):
    raise UserError("has points that are not finite")
  if np.linalg.norm(points, axis=1).max() > _LARGEST_RADIUS:
    raise UserError("a cloud is expected in the normalised frame, within radius 1")
  if np.all(points == points[0]):
    raise UserError("all points are in one place")
  camera = np.array(viewpoint) if len(viewpoint) == 3 else None
  normals = _stored_normals(path)
  if normals is None:
    normals = completion.estimate_normals(points, camera)
  pos, neg = completion.observe_surface(points, normals)
  if camera is not None:
    toward = camera - points
    toward = toward / np.linalg.norm(toward, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    free = completion.free_space(rng, points, toward, len(points) // 2 + 1)
    pos = np.concatenate([pos, free])
  return Request(path.stem, pos, neg, None, (points, np.zeros((0, 3), np.int32)))


def _stored_normals(path):
  if path.suffix.lower() != ".ply":
    return None
  columns = ply.read_ply_vertices(path)
  if not {"nx", "ny", "nz"} <= columns.keys():
    return None
  normals = np.stack([columns[axis] for axis in ("nx", "ny", "nz")], axis=-1)
  length = np.linalg.norm(normals, axis=1, keepdims=True)
  if not np.all(length > 0):
    raise UserError("has normals without length")
  return (normals / length).astype(np.float32)


def observations(requests: Sequence[Request]) -> inference.Observations:
  """Returns all requests as one problem."""

  def wide(rows):
    if rows.shape[1] == 5:
      return rows
    band = np.full((len(rows), 1), inference.losses.BAND, np.float32)
    return np.concatenate([rows, band], axis=1)

  return inference.observe(
    [wide(request.pos) for request in requests],
    [wide(request.neg) for request in requests],
  )


def write_all(
  run,
  requests: Sequence[Request],
  found: inference.Fit,
  decoder: Decoder,
  params: Mapping[str, Any],
  resolution: int,
) -> None:
  """Meshes what was found of each request, tells of it, and writes it.

  Args:
    run: the Run, into whose `out` files are written.
    requests: what was asked.
    found: of all requests.
    decoder, params: the network.
    resolution: of the meshes.
  """
  for request, code, errors in zip(requests, found.codes, found.errors, strict=True):
    refine = meshing.is_refinable(resolution)
    mesh = meshing.mesh(decoder, params, code, resolution, refine=refine)
    error = float(np.mean(errors[-10:]))
    run.log(
      f"{request.name}: {len(mesh[1])} faces, mean clamped error {error:.4f}"
      + ("" if len(mesh[1]) else " (the field has no surface)")
    )
    if run.is_main:
      write(run.out, request, mesh, np.asarray(code), error)


def write(
  out: epath.PathLike,
  request: Request,
  mesh: tuple[np.ndarray, np.ndarray],
  code: np.ndarray,
  error: float,
  *,
  up: str = "z",
) -> None:
  """Writes NAME.ply (in the input's own frame), NAME.png and NAME.json.

  Args:
    out: folder; made where missing.
    request: of the file.
    mesh: normalised vertices and faces.
    code: [L].
    error: mean clamped error of the samples.
    up: "y" or "z", the vertical axis of the picture.
  """
  out = epath.Path(out)
  out.mkdir(parents=True, exist_ok=True)
  vertices, faces = mesh
  placed = vertices if request.frame is None else request.frame.invert(vertices)
  found = meshes.Mesh(np.asarray(placed, np.float64), faces)
  meshes.write_mesh(out / f"{request.name}.ply", found)
  views = [
    mesh_pictures.draw_mesh(*shape, azimuth=azimuth, elevation=0.4, extent=1.05, up=up)
    for azimuth in (0.6, 0.6 + np.pi)
    for shape in (request.seen, mesh)
  ]
  picture = np.concatenate(
    [np.concatenate(views[:2], axis=1), np.concatenate(views[2:], axis=1)]
  )
  images.write_png(
    out / f"{request.name}.png", np.round(255 * picture).astype(np.uint8)
  )
  summary = {
    "vertices": len(vertices),
    "faces": len(faces),
    "error": error,
    "code": [float(number) for number in code],
  }
  files.write_bytes(
    out / f"{request.name}.json", (json.dumps(summary, indent=1) + "\n").encode()
  )
