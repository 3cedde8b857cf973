"""The user's own files: two clouds, a table of points, or photographs.

two files of points     rigid registration of row i onto row i; most may be wrong
one table of two columns  a line y = slope x + offset among outliers
photographs             the α and scale maps of their patches' density
"""

import json
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxvision.data import clouds, files, images, meshes
from jaxvision.errors import UserError
from jaxvision.ops import rigid
from jaxvision.papers.robust_loss import density, registration, regression

_IMAGES = (".png", ".jpg", ".jpeg", ".ppm")
_MESHES = (".ply", ".obj", ".off")
_TABLES = (".csv", ".txt", ".xyz")
_POINTS = (*_MESHES, *_TABLES, ".pcd", ".npy")


def predict(
  run,
  paths: Sequence[epath.PathLike],
  representation: str,
  rule: density.Fit,
  *,
  size: int = 32,
  count: int = 1000,
) -> None:
  """Fits what the files hold and writes the outcome into `run.out`.

  Args:
    run: jaxvision.train.run.Run.
    paths: the user's files, see above.
    representation: of photographs' patches, a key of REPRESENTATIONS.
    rule: how the densities of patches are fitted.
    size: of the patches.
    count: number of patches of each photograph.

  Raises:
    UserError: a bad file; nothing has been written then.
  """
  kind = kind_of(paths)
  if kind == "clouds":
    found = register(*paths)
    points = found.pop("points")
    if run.is_main:
      write_table(run.out / "registered.csv", ("x", "y", "z", "weight"), points)
      write_json(run.out / "registration.json", found)
    verdict = "registered" if found["is_valid"] else "NOT determined by these pairs"
    run.log(f"{verdict}: {found['inliers']} of {len(points)} pairs agree")
  elif kind == "line":
    line = fit_line(paths[0])
    if run.is_main:
      write_json(run.out / "line.json", line)
    run.log(f"y = {line['slope']:.6g} x + {line['offset']:.6g}")
  else:
    # All are read before anything is written.
    patches = [photograph_patches(path, size, count) for path in paths]
    for path, of_photograph in zip(paths, patches, strict=True):
      summary, alpha, scale = fit_patches(of_photograph, representation, rule)
      if run.is_main:
        name = pathlib.PurePath(path).stem
        write_json(run.out / f"{name}.json", summary)
        highest = rule.bounds.alpha_high
        write_map(run.out / f"{name}_alpha.png", alpha, highest)
        write_map(run.out / f"{name}_scale.png", scale, scale.max())
      run.log(
        f"{path}: {summary['log_likelihood']:.0f} nats a patch, "
        f"{summary['normal_log_likelihood']:.0f} under the normal density"
      )


def kind_of(paths: Sequence[epath.PathLike]) -> str:
  """Returns "images", "clouds" or "line": what can be done with these files.

  Raises:
    UserError: nothing can, or the files are of different kinds.
  """
  suffixes = [pathlib.PurePath(path).suffix.lower() for path in paths]
  for path, suffix in zip(paths, suffixes, strict=True):
    if suffix not in _IMAGES + _POINTS:
      known = ", ".join(_IMAGES + _POINTS)
      raise UserError(f"{path}: neither a photograph nor points: known are {known}")
  if all(suffix in _IMAGES for suffix in suffixes):
    return "images"
  if any(suffix in _IMAGES for suffix in suffixes):
    raise UserError("--inputs: give photographs or points, not both")
  if len(paths) > 2:
    raise UserError(f"--inputs: two clouds are registered, not {len(paths)}")
  return "clouds" if len(paths) == 2 else "line"


def read_points(path: epath.PathLike, columns: int) -> np.ndarray:
  """Returns [N, columns] float32 points of a file; rows may hold NaN.

  Args:
    path: a mesh or cloud (.ply, .obj, .off, .pcd), an array (.npy), or numbers with
      commas or spaces between them, a line a point (.csv, .txt, .xyz). A first line
      of names is left out.
    columns: of a point.

  Raises:
    UserError: a missing, damaged or empty file, or another number of columns.
  """
  suffix = pathlib.PurePath(path).suffix.lower()
  if suffix in _MESHES:
    points = meshes.read_mesh(path).vertices
  elif suffix == ".pcd":
    cloud = clouds.read_pcd(path)
    with files.decoding(path, "cloud with x, y and z"):
      points = clouds.points(cloud)
  else:
    encoded = files.read_bytes(path)
    with files.decoding(path, "table of numbers" if suffix != ".npy" else "NPY array"):
      points = _read_array(encoded) if suffix == ".npy" else _read_table(encoded)
  if points.ndim != 2 or points.shape[1] != columns or not len(points):
    shape = " x ".join(map(str, points.shape))
    raise UserError(f"{path}: needs points of {columns} numbers, this is {shape}")
  return np.asarray(points, np.float32)


def register(source_path: epath.PathLike, target_path: epath.PathLike) -> dict:
  """Returns the registration of two files of points, row onto row.

  Returns:
    "transform" [4, 4] of source onto target; "is_valid", see
    `registration.Registration`; "inliers", the number of pairs of weight above 1/2;
    "points", rows of the moved source and each pair's weight.

  Raises:
    UserError: a file is bad, or the numbers of points differ.
  """
  source, target = (read_points(path, 3) for path in (source_path, target_path))
  if len(source) != len(target):
    raise UserError(
      f"{source_path} has {len(source)} points and {target_path} {len(target)}: row i "
      "of the one must correspond to row i of the other"
    )
  schedule = registration.shape_annealed()
  found = jax.jit(registration.solve)(source, target, schedule)
  moved = rigid.apply(found.transform, jnp.asarray(source))
  points = np.concatenate([moved, found.weights[:, None]], axis=1)
  return {
    "transform": np.asarray(found.transform).tolist(),
    "is_valid": bool(found.is_valid),
    "inliers": int(jnp.sum(found.weights > 0.5)),
    "points": points,
  }


def fit_line(path: epath.PathLike) -> dict[str, float]:
  """Returns the adaptive line through a table of x and y, in the table's units.

  Raises:
    UserError: a bad file, fewer than three finite points, or all at one x.
  """
  points = read_points(path, 2).astype(float)
  points = points[np.all(np.isfinite(points), axis=1)]
  if len(points) < 3 or np.ptp(points[:, 0]) == 0:
    raise UserError(f"{path}: a line needs three finite points or more, not at one x")
  # Adam's steps are for numbers of about 1.
  low, span = np.min(points, axis=0), np.ptp(points, axis=0)
  span[1] = span[1] or 1.0
  x, y = ((points - low) / span).astype(np.float32).T
  line = regression.fit(x, y, "adaptive")
  slope = float(line.slope) * span[1] / span[0]
  return {
    "slope": slope,
    "offset": float(line.offset) * span[1] + low[1] - slope * low[0],
    "alpha": float(line.alpha),
    "scale": float(line.scale) * span[1],
  }


def photograph_patches(path: epath.PathLike, size: int, count: int) -> np.ndarray:
  """Returns [count, size, size, 3] random patches of a photograph.

  Raises:
    UserError: a bad file, or a photograph smaller than a patch.
  """
  photograph = images.read_rgb(path).astype(np.float32) / 255
  height, width = photograph.shape[:2]
  if min(height, width) < size:
    raise UserError(f"{path}: {width} x {height} pixels; patches have {size} x {size}")
  rng = np.random.default_rng(0)
  rows = rng.integers(height - size + 1, size=count)
  columns = rng.integers(width - size + 1, size=count)
  return np.stack(
    [
      photograph[row : row + size, column : column + size]
      for row, column in zip(rows, columns, strict=True)
    ]
  )


def fit_patches(
  patches: np.ndarray, representation: str, config: density.Fit
) -> tuple[dict, np.ndarray, np.ndarray]:
  """Returns what the adaptive density says of patches [N, S, S, 3].

  Returns:
    {"log_likelihood", "normal_log_likelihood": nats a patch, "mean_alpha"}, and the α
    and scale of every coefficient, [S, S, 3].
  """
  patches = jnp.asarray(patches)
  likelihoods = {}
  for distribution in ("normal", "adaptive"):
    names = distribution, representation
    found = density.fit(jax.random.key(0), patches, *names, config)
    likelihoods[distribution] = float(
      density.log_likelihood(found, patches, *names, config)
    )
  alpha, scale = map(np.asarray, density.shape_and_scale(found, config))
  summary = {
    "log_likelihood": likelihoods["adaptive"],
    "normal_log_likelihood": likelihoods["normal"],
    "mean_alpha": float(alpha.mean()),
  }
  return summary, alpha, scale


def write_json(path: epath.Path, content: object) -> None:
  """Writes a JSON file, all at once."""
  files.write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def write_table(path: epath.Path, names: Sequence[str], rows: np.ndarray) -> None:
  """Writes a CSV file with a first line of names, all at once."""
  lines = [",".join(names)] + [",".join(f"{v:.9g}" for v in row) for row in rows]
  files.write_bytes(path, ("\n".join(lines) + "\n").encode())


def write_map(path: epath.Path, values: np.ndarray, highest: float) -> None:
  """Writes [S, S, 3] values from 0 to `highest` as a picture, its pixels enlarged."""
  shown = np.clip(values / highest, 0, 1).repeat(8, axis=0).repeat(8, axis=1)
  images.write_png(path, np.round(255 * shown).astype(np.uint8))


def _read_array(encoded):
  import io

  array = np.load(io.BytesIO(encoded), allow_pickle=False)
  if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
    raise ValueError(f"it holds {array.dtype}")
  return array


def _read_table(encoded):
  lines = [line.split("#")[0] for line in encoded.decode().splitlines()]
  rows = [line.replace(",", " ").split() for line in lines]
  rows = [row for row in rows if row]
  if rows and not _are_numbers(rows[0]):
    rows = rows[1:]
  widths = {len(row) for row in rows}
  if len(widths) > 1:
    raise ValueError(f"its lines have from {min(widths)} to {max(widths)} numbers")
  return np.array(rows, float).reshape(len(rows), -1 if rows else 0)


def _are_numbers(words):
  try:
    [float(word) for word in words]
  except ValueError:
    return False
  return True
