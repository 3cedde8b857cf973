"""Objects in the user's own images: a CSV of points, and pictures."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from jaxvision.data import files, images, point_files
from jaxvision.errors import UserError
from jaxvision.papers.weighted_hausdorff import evaluation, extraction, figures

SMALLEST = 8  # pixels along each side


@dataclasses.dataclass(frozen=True)
class Found:
  """Objects of one file.

  Attributes:
    path: the image's file.
    image: [h, w, 3] uint8.
    count: the estimated number, before rounding.
    located: where they are.
  """

  path: epath.Path
  image: np.ndarray
  count: float
  located: extraction.Located

  @property
  def points(self) -> np.ndarray:
    return self.located.points


def read(paths: Sequence[epath.PathLike]) -> list[dict[str, Any]]:
  """Reads images, all before anything is computed.

  Raises:
    UserError: a missing or damaged file, or an image too small; names it.
  """
  examples = []
  for path in paths:
    image = images.read_rgb(path)
    if min(image.shape[:2]) < SMALLEST:
      raise UserError(
        f"{path}: {image.shape[0]} x {image.shape[1]} pixels, fewer than {SMALLEST} "
        "along a side"
      )
    examples.append({"path": epath.Path(path), "image": image})
  return examples


def locate(
  predictor: evaluation.Predictor,
  examples: Sequence[dict[str, Any]],
  shape: tuple[int, int],
  method: extraction.Method,
  *,
  batch: int = 1,
  seed: int = 0,
  most_pixels: int | None = None,
) -> list[Found]:
  """Returns what is found in images.

  Args:
    predictor: the network.
    examples: as `read` returns them.
    shape: height and width that images are resized to.
    method: of thresholding.
    batch: images at a time.
    seed: of the mixtures' starts.
    most_pixels: see `extraction.locate`.

  Raises:
    UserError: a map or a count is not finite.
  """
  found = []
  predictions = predictor.predict(examples, shape, batch)
  for example, one in zip(examples, predictions, strict=True):
    if not (np.isfinite(one.count) and np.all(np.isfinite(one.saliency))):
      raise UserError(f"{example['path']}: the network's map or count is not finite")
    located = evaluation.locate(one, method, seed=seed, most_pixels=most_pixels)
    found.append(Found(example["path"], example["image"], one.count, located))
  return found


def write(out: epath.Path, found: Sequence[Found]) -> list[dict[str, Any]]:
  """Writes points.csv, NAME-points.png, NAME-map.png, predictions.json; its rows.

  points.csv is as data sets are read, see `jaxvision.data.point_files`.
  """
  taken: dict[str, int] = {}
  rows, points = [], {}
  for one in found:
    stem = one.path.stem
    taken[stem] = taken.get(stem, 0) + 1
    if taken[stem] > 1:
      stem = f"{stem}-again{taken[stem] - 1}"
    images.write_png(out / f"{stem}-points.png", figures.overlay(one.image, one.points))
    images.write_png(out / f"{stem}-map.png", figures.heat(one.located.saliency))
    name = one.path.name if one.path.name not in points else str(one.path)
    points[name] = one.points
    rows.append(
      {
        "file": str(one.path),
        "count": one.count,
        "points": one.points.tolist(),
        "threshold": one.located.threshold,
        "overlay": f"{stem}-points.png",
        "map": f"{stem}-map.png",
      }
    )
  point_files.write_csv(out / "points.csv", points)
  files.write_bytes(out / "predictions.json", json.dumps(rows, indent=2).encode())
  return rows
