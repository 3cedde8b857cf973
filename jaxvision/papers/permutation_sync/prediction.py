"""A user's own matches, or photographs, synchronized."""

import io
import json
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from jaxvision import published
from jaxvision.data import files, images
from jaxvision.errors import UserError
from jaxvision.papers.permutation_sync import data, keypoints, photo_views
from jaxvision.papers.permutation_sync.problem import Problem, check
from jaxvision.papers.permutation_sync.synchronization import Synchronization

MATCH_SUFFIXES = (".npz", ".mat", ".json")


class Request(NamedTuple):
  """What is to be synchronized.

  Attributes:
    problem: edges and matches, checked.
    names: of the images, one each where they are known.
    images: [H, W] grey in [0, 1] of each; none for matches from a file.
    points: [N, n, 2] key points, pixels (x, y); None for matches from a file.
  """

  problem: Problem
  names: list[str]
  images: list[np.ndarray]
  points: np.ndarray | None


def read(paths: Sequence[epath.PathLike], count: int) -> Request:
  """Returns the problem in one file of matches, or in several images.

  Args:
    paths: one .npz, .mat or .json with `edges` [M, 2] and `matches`, [M, n, n] or, as
      the column of each row, [M, n]. All is counted from 0, in a .mat from 1. Or two
      and more images, whose strongest corners are matched, each pair for itself.
    count: corners an image.

  Raises:
    UserError: naming the file and what is wrong with it.
  """
  paths = [epath.Path(path) for path in paths]
  is_match = [path.suffix.lower() in MATCH_SUFFIXES for path in paths]
  if any(is_match):
    if len(paths) > 1:
      raise UserError(
        f"{paths[is_match.index(True)]}: a file of matches is synchronized alone, not "
        f"with {len(paths) - 1} others"
      )
    return read_matches(paths[0])
  if len(paths) < 2:
    raise UserError(
      f"{paths[0]}: one image matches nothing; files of matches end in "
      f"{', '.join(MATCH_SUFFIXES)}"
    )
  return match_images(paths, count)


def read_matches(path: epath.PathLike) -> Request:
  """Returns the problem in a file of matches; formats as `read` tells."""
  path = epath.Path(path)
  suffix = path.suffix.lower()
  if suffix == ".json":
    with files.decoding(path, "JSON file of matches"):
      content = json.loads(files.read_bytes(path))
      if not isinstance(content, dict):
        raise ValueError("it holds no object with edges and matches")
      arrays = {key: np.asarray(value) for key, value in content.items()}
  else:
    arrays = published.load(path)
  for key in ("edges", "matches"):
    if key not in arrays:
      raise UserError(f"{path}: has no {key!r}, but {', '.join(arrays) or 'nothing'}")
  edges, matches = np.asarray(arrays["edges"]), np.asarray(arrays["matches"])
  if matches.dtype.kind not in "biuf" or edges.dtype.kind not in "iuf":
    raise UserError(f"{path}: edges and matches are to be arrays of numbers")
  if suffix == ".mat":
    edges = edges.astype(float) - 1
    if matches.ndim == 2:
      matches = matches.astype(float) - 1
  if matches.ndim == 2:
    matches = _permutations(matches, path)
  problem = check(edges, matches, str(path))
  names = [f"image {index}" for index in range(int(problem.edges.max()) + 1)]
  return Request(problem, names, [], None)


def _permutations(columns: np.ndarray, path: epath.Path) -> np.ndarray:
  """Returns [M, n, n] of columns [M, n]; what is no column leaves a row empty."""
  size = columns.shape[1]
  columns = np.asarray(columns, float)
  wrong = ~np.isfinite(columns) | (columns != np.rint(columns)) | (columns >= size)
  if np.any(wrong):
    edge, row = map(int, np.argwhere(wrong)[0])
    raise UserError(
      f"{path}: edge {edge} matches point {row} with {columns[edge, row]:g}, which is "
      f"none of {size} points"
    )
  return (columns[..., None] == np.arange(size)).astype(np.float32)


def match_images(paths: Sequence[epath.PathLike], count: int) -> Request:
  """Returns the problem of matching the corners of images, all pairs of them."""
  grey = [photo_views.to_grey(images.read_rgb(path)) for path in paths]
  names = [epath.Path(path).name for path in paths]
  points = photo_views.detect(grey, count, [str(path) for path in paths])
  describe = jax.jit(keypoints.describe)
  descriptors = np.stack(
    [np.asarray(describe(*pair)) for pair in zip(grey, points, strict=True)]
  )
  edges = data.complete_graph(len(paths))
  matches = np.asarray(jax.jit(data.match_descriptors)(descriptors, edges))
  return Request(Problem(edges, matches), names, grey, points)


def write(
  directory: epath.Path, request: Request, found: Synchronization, figure
) -> None:
  """Writes synchronization.json, synchronization.npz and matches.png, each at once.

  Args:
    directory: where to.
    request: what was asked.
    found: what came out.
    figure: a matplotlib figure of it.
  """
  edges = np.asarray(request.problem.edges)
  columns = np.argmax(found.maps, axis=-1)
  certain = np.take_along_axis(found.certainty, columns[..., None], axis=-1)[..., 0]
  given = np.argmax(np.asarray(request.problem.matches), axis=-1)
  record = {
    "images": [
      {"name": name, "component": int(label), "permutation": order.tolist()}
      for name, label, order in zip(
        request.names,
        found.components,
        np.argmax(found.permutations, axis=-1),
        strict=True,
      )
    ],
    "edges": [
      {
        "images": edge.tolist(),
        "matches": match.tolist(),
        "certainty": np.round(sure, 4).tolist(),
        "candidates": choices.tolist(),
        "changed": int(np.sum(match != before)),
      }
      for edge, match, sure, choices, before in zip(
        edges, columns, certain, found.candidates, given, strict=True
      )
    ],
    "energy": found.energy,
    "converged": found.converged,
    "connected": bool(np.all(found.components == 0)),
  }
  arrays = found._asdict() | {"edges": edges}
  if request.points is not None:
    arrays["points"] = request.points
    for image, points in zip(record["images"], request.points, strict=True):
      image["points"] = np.round(points.astype(float), 2).tolist()
  stream, picture = io.BytesIO(), io.BytesIO()
  np.savez_compressed(stream, **arrays)
  figure.savefig(picture, format="png", dpi=130, facecolor="white", bbox_inches="tight")
  text = json.dumps(record, ensure_ascii=False) + "\n"
  files.write_bytes(directory / "synchronization.json", text.encode())
  files.write_bytes(directory / "synchronization.npz", stream.getvalue())
  files.write_bytes(directory / "matches.png", picture.getvalue())
