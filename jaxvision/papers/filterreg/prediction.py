"""The user's own two clouds: read, registered, written."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxvision.data import clouds, files, meshes, ply
from jaxvision.errors import UserError
from jaxvision.ops import rigid
from jaxvision.papers.filterreg import data, figures, registration
from jaxvision.papers.filterreg.registration import Registration, Settings

_TEXT = (".txt", ".xyz", ".csv", ".pts", ".asc")
SUFFIXES = (".pcd", ".ply", ".obj", ".off", ".npy", *_TEXT)


def read_cloud(path: epath.PathLike) -> np.ndarray:
  """Returns the finite points [N, 3] of a file, float64; z = 0 for those of a plane.

  Raises:
    UserError: missing, damaged, of another type, or fewer than 3 finite points.
  """
  suffix = os.path.splitext(os.fspath(path))[1].lower()
  if suffix not in SUFFIXES:
    raise UserError(f"{path}: point clouds are {', '.join(SUFFIXES)} files")
  if suffix in (".obj", ".off"):
    points = meshes.read_mesh(path).vertices
  elif suffix in (".pcd", ".ply"):
    reader = clouds.read_pcd if suffix == ".pcd" else ply.read_ply_vertices
    columns = reader(path)
    if not {"x", "y", "z"} <= columns.keys():
      raise UserError(f"{path}: has no coordinates x, y and z")
    points = clouds.points(columns)
  else:
    content = files.read_bytes(path)
    with files.decoding(path, "table of points"):
      points = _read_table(content, suffix)
  points = np.asarray(points, np.float64)
  if points.ndim != 2 or points.shape[1] < 2:
    raise UserError(f"{path}: points have two or three coordinates a row")
  if points.shape[1] == 2:
    points = np.concatenate([points, np.zeros_like(points[:, :1])], axis=1)
  points = points[:, :3]
  points = points[np.isfinite(points).all(axis=1)]
  if len(points) < 3:
    raise UserError(f"{path}: {len(points)} finite points; registration needs 3")
  if not np.ptp(points, axis=0).max() > 0:
    raise UserError(f"{path}: all points are at one place")
  return points


def _read_table(content: bytes, suffix: str) -> np.ndarray:
  if suffix == ".npy":
    import io

    return np.load(io.BytesIO(content), allow_pickle=False)
  lines = content.decode().replace(",", " ").replace(";", " ").splitlines()
  rows = [line.split() for line in lines if line.strip() and line.strip()[0] != "#"]
  if rows and not _is_number(rows[0][0]):
    rows = rows[1:]  # names of the columns
  if rows and len(rows[0]) == 1 and suffix == ".pts":
    rows = rows[1:]  # the number of points
  return np.array(rows, np.float64)


def _is_number(word: str) -> bool:
  try:
    float(word)
  except ValueError:
    return False
  return True


@dataclasses.dataclass(frozen=True)
class Alignment:
  """The registration of two files, in their own unit.

  Attributes:
    transform: [4, 4] of the model onto the observation, float64.
    aligned: [M, 3] the model's points after it.
    sigma: σ at the end, in the clouds' unit.
    weight: mean weight of the model's points, near 1 where all are explained.
    iterations: of EM.
    is_converged, is_valid: see `registration.Registration`.
  """

  transform: np.ndarray
  aligned: np.ndarray
  sigma: float
  weight: float
  iterations: int
  is_converged: bool
  is_valid: bool


def align(model: np.ndarray, observation: np.ndarray, settings: Settings) -> Alignment:
  """Registers two clouds of any unit, from where they are and from common centres.

  Args:
    model: [M, 3] finite points that move.
    observation: [N, 3] finite points that stay.
    settings: for clouds whose longest side is `data.SIZE`.
  """
  center = observation.mean(axis=0)
  scale = data.SIZE / max(np.ptp(cloud, axis=0).max() for cloud in (model, observation))
  small = [
    jnp.asarray((cloud - center) * scale, jnp.float32) for cloud in (model, observation)
  ]
  moved = np.eye(4, dtype=np.float32)
  moved[:3, 3] = -small[0].mean(axis=0)
  solve: Callable[..., Registration] = functools.partial(
    registration.solve, *small, settings
  )
  found = jax.vmap(lambda initial: solve(initial=initial))(
    jnp.stack([jnp.eye(4), moved])
  )
  weights = np.asarray(jnp.mean(found.weights, axis=1))
  best = int(np.argmax(np.where(np.asarray(found.is_valid), weights, -1.0)))
  found = jax.tree.map(lambda leaf: np.asarray(leaf)[best], found)
  transform = found.transform.astype(np.float64)
  transform[:3, 3] = transform[:3, 3] / scale + center - transform[:3, :3] @ center
  return Alignment(
    transform=transform,
    aligned=model @ transform[:3, :3].T + transform[:3, 3],
    sigma=float(found.sigma / scale),
    weight=float(weights[best]),
    iterations=int(found.iterations),
    is_converged=bool(found.is_converged),
    is_valid=bool(found.is_valid),
  )


def write(
  out: epath.Path,
  names: tuple[str, str],
  model: np.ndarray,
  observation: np.ndarray,
  alignment: Alignment,
) -> None:
  """Writes transform.json, aligned.ply and before_after.png.

  Args:
    out: directory.
    names: of both files.
    model: [M, 3] as read.
    observation: [N, 3] as read.
    alignment: of both.
  """
  import io

  from matplotlib import pyplot as plt

  figure = figures.cloud_figure(
    {"before": (model, observation), "after": (alignment.aligned, observation)}
  )
  picture = io.BytesIO()
  figure.savefig(picture, format="png", dpi=130, facecolor="white")
  plt.close(figure)
  vector = np.asarray(rigid.log_rotation(jnp.asarray(alignment.transform[:3, :3])))
  said = dataclasses.asdict(alignment)
  del said["aligned"]
  said |= {
    "transform": alignment.transform.tolist(),
    "rotation_degrees": float(np.rad2deg(np.linalg.norm(vector))),
    "model": names[0],
    "observation": names[1],
  }
  columns = alignment.aligned.astype(np.float32).T
  ply.write_ply_vertices(out / "aligned.ply", dict(zip("xyz", columns, strict=True)))
  files.write_bytes(out / "before_after.png", picture.getvalue())
  files.write_bytes(
    out / "transform.json", (json.dumps(said, indent=2) + "\n").encode()
  )
