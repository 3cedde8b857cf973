"""Class, parts and normals of the user's own clouds and meshes."""

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxvision.data import archives, clouds, files, ply
from jaxvision.data.meshes import Mesh, read_mesh
from jaxvision.errors import UserError
from jaxvision.ops.mesh_sampling import sample_surface
from jaxvision.papers.rscnn import data, figures, metrics, shapes
from jaxvision.papers.rscnn.training import Model

FEWEST = 16  # points of a cloud
SAMPLES = 2048  # points drawn from a mesh


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What the networks say of one file.

  Attributes:
    file: its path.
    points: [N, 3] float32, in the unit sphere, as the networks saw them.
    probabilities: {class: probability}; none where nothing classifies.
    parts: {"category", "names" of its parts, "parts" [N] numbers from 0}, or none.
    normals: [N, 3] unit vectors, or None.
  """

  file: str
  points: np.ndarray
  probabilities: Mapping[str, float]
  parts: Mapping | None
  normals: np.ndarray | None

  def line(self) -> str:
    """Returns the prediction in one line."""
    said = []
    if self.probabilities:
      best = max(self.probabilities, key=self.probabilities.get)
      said.append(f"{best} ({self.probabilities[best]:.0%})")
    if self.parts:
      names = self.parts["names"]
      shares = np.bincount(self.parts["parts"], minlength=len(names))
      shares = shares / len(self.points)
      listed = ", ".join(f"{n} {s:.0%}" for n, s in zip(names, shares, strict=True))
      said.append(f"as {self.parts['category']}: {listed}")
    if self.normals is not None:
      said.append("normals")
    return f"{self.file}: {'; '.join(said)}"


def read_points(path: epath.PathLike, fewest: int) -> np.ndarray:
  """Returns the points [N, 3] float32 of a cloud, or of a mesh's surface.

  Args:
    path: .ply, .obj or .off (mesh or cloud), .pcd, .npy or .npz ("points"), .txt, .xyz
      or .pts (x y z and anything else a line).
    fewest: points that a cloud must have.

  Raises:
    UserError: missing or damaged file, another suffix, coordinates that are not
      finite, or too few points; names the path.
  """
  path = epath.Path(path)
  suffix = path.suffix.lower()
  if suffix == ".pcd":
    points = clouds.points(clouds.read_pcd(path))
  elif suffix == ".npy":
    with files.decoding(path, "NPY array"):
      points = np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False)
  elif suffix == ".npz":
    arrays = archives.read_npz(path)
    if "points" not in arrays:
      raise UserError(f"{path}: has no array 'points', but {', '.join(arrays)}")
    points = arrays["points"]
  elif suffix in (".txt", ".xyz", ".pts"):
    with files.decoding(path, "text of points"):
      content = files.read_bytes(path).replace(b",", b" ")
      points = np.loadtxt(io.BytesIO(content), ndmin=2) if content.strip() else _NONE
  elif suffix in (".ply", ".obj", ".off"):
    points = _of_mesh(read_mesh(path))
  else:
    raise UserError(
      f"{path}: points are read from .ply, .obj, .off, .pcd, .npy, .npz, .txt, .xyz "
      "and .pts files"
    )
  points = np.asarray(points)
  if points.ndim != 2 or points.shape[1] < 3 or points.dtype.kind not in "fiu":
    raise UserError(f"{path}: {list(points.shape)} {points.dtype} are no points [N, 3]")
  points = points[:, :3].astype(np.float32)
  bad = int(np.sum(~np.isfinite(points).all(axis=1)))
  if bad:
    raise UserError(f"{path}: {bad} of {len(points)} points are not finite")
  if len(points) < fewest:
    raise UserError(f"{path}: {len(points)} points, fewer than {fewest}")
  if np.ptp(points, axis=0).max() == 0:
    raise UserError(f"{path}: all points are in one place")
  return points


def choose(points: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
  """Returns `count` points [count, 3] in the unit sphere, in random order.

  Of more points as many are drawn, of fewer some are repeated.
  """
  rng = np.random.default_rng(seed)
  order = rng.permutation(len(points))[:count]
  if len(order) < count:
    order = np.concatenate([order, rng.integers(len(points), size=count - len(order))])
  return data.unit_sphere(points[order])


def predict(
  file: str,
  points: np.ndarray,
  networks: Mapping[str, tuple[Model, Mapping]],
  sources: Mapping[str, tuple[str, int, int]],
) -> Prediction:
  """Returns what the networks say of one cloud.

  Args:
    file: its path.
    points: [N, 3].
    networks: (model, variables) of "rscnn", "parts" and "normals", any of them.
    sources: (data set, stored points, points that it sees) of each.
  """
  most = max((count for _, _, count in sources.values()), default=len(points))
  cloud = choose(points, most)
  seen = {
    name: {"points": jnp.asarray(cloud[:count])[None]}
    for name, (_, _, count) in sources.items()
  }
  probabilities, parts, normals = {}, None, None
  if "rscnn" in networks:
    about = data.source(*sources["rscnn"][:2])
    logits = _run(*networks["rscnn"], seen["rscnn"])
    shares = np.asarray(jax.nn.softmax(logits))[0]
    probabilities = dict(zip(about.classes, map(float, shares), strict=True))
  if "parts" in networks:
    about = data.source(*sources["parts"][:2])
    parts = _label(*networks["parts"], seen["parts"], about, probabilities)
  if "normals" in networks:
    normals = np.asarray(_run(*networks["normals"], seen["normals"]))[0]
  return Prediction(file, cloud, probabilities, parts, normals)


def _run(model, variables, batch):
  return jax.jit(model.apply)(variables, batch)


def _label(model, variables, batch, about, probabilities):
  """Returns the category and parts of a cloud.

  The category is the likeliest by the classifier among those that have parts; where
  they share no names, the one whose parts the network is surest of.
  """
  names = list(about.classes)
  of_class = {name.lower(): share for name, share in probabilities.items()}
  known = [index for index, name in enumerate(names) if name.lower() in of_class]
  if known:
    known = [max(known, key=lambda index: of_class[names[index].lower()])]
  best = None
  for index in known or range(len(names)):
    label = jnp.full(1, index, jnp.int32)
    logits = np.asarray(_run(model, variables, batch | {"label": label}))[0]
    own = list(about.parts[names[index]])
    sure = float(np.mean(np.max(np.asarray(jax.nn.softmax(logits))[:, own], axis=1)))
    if best is None or sure > best[0]:
      best = sure, index, metrics.predicted_parts(logits, own) - own[0]
  _, index, found = best
  named = shapes.PARTS.get(names[index])
  listed = list(named or (f"part {number}" for number in about.parts[names[index]]))
  return {"category": names[index], "names": listed, "parts": found}


def write(directory: epath.Path, predictions: Sequence[Prediction]) -> None:
  """Writes predictions.json; of each file a coloured picture and a PLY cloud.

  Args:
    directory: where to.
    predictions: of the files.
  """
  from matplotlib import pyplot as plt

  report = []
  for number, one in enumerate(predictions):
    row = {"points": (one.points, None)}
    columns = {axis: one.points[:, i] for i, axis in enumerate("xyz")}
    entry = {"file": one.file, "probabilities": dict(one.probabilities)}
    if one.parts:
      colors = figures.part_colors(one.parts["parts"])
      row[f"parts of a {one.parts['category']}"] = (one.points, colors)
      shades = np.round(255 * colors).astype(np.uint8)
      columns |= {c: shades[:, i] for i, c in enumerate(("red", "green", "blue"))}
      columns["part"] = one.parts["parts"].astype(np.int32)
      entry |= {"category": one.parts["category"], "parts": one.parts["names"]}
    if one.normals is not None:
      row["normals"] = (one.points, figures.normal_colors(one.normals))
      columns |= {f"n{axis}": one.normals[:, i] for i, axis in enumerate("xyz")}
    stem = f"{number:04d}-{epath.Path(one.file).stem}"
    best = max(one.probabilities, key=one.probabilities.get, default="")
    legend = one.parts["names"] if one.parts else ()
    figure = figures.cloud_figure([row], [best], legend)
    encoded = io.BytesIO()
    figure.savefig(encoded, format="png", dpi=160, facecolor="white")
    plt.close(figure)
    files.write_bytes(directory / f"{stem}.png", encoded.getvalue())
    ply.write_ply_vertices(directory / f"{stem}.ply", columns)
    report.append(entry | {"cloud": f"{stem}.ply", "picture": f"{stem}.png"})
  text = json.dumps(report, indent=2) + "\n"
  files.write_bytes(directory / "predictions.json", text.encode())


_NONE = np.zeros((0, 3), np.float32)


def _of_mesh(mesh: Mesh) -> np.ndarray:
  """Returns points on the surface of a mesh, or the vertices of a cloud."""
  if not len(mesh.faces):
    return mesh.vertices
  points, *_ = sample_surface(
    jax.random.key(0),
    np.asarray(mesh.vertices, np.float32),
    mesh.faces,
    SAMPLES,
  )
  return np.asarray(points)
