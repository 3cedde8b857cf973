"""Verdicts on photographs of any size, as they were received."""

import csv
import io
import json
from collections.abc import Callable, Sequence

import chex
import numpy as np
from etils import epath

from jaxvision.data import files, images
from jaxvision.errors import UserError

BATCH = 64


def read_photographs(paths: Sequence[epath.PathLike], tile: int) -> list[np.ndarray]:
  """Returns the photographs, [H, W, 3] float32 in [0, 1].

  Raises:
    UserError: naming the file that cannot be read, or is smaller than one tile.
  """
  photographs = []
  for path in paths:
    photograph = images.read_rgb(path)
    if min(photograph.shape[:2]) < tile:
      height, width = photograph.shape[:2]
      raise UserError(
        f"{path}: {width} x {height} pixels; the network needs {tile} x {tile}"
      )
    photographs.append(photograph.astype(np.float32) / 255)
  return photographs


def judge_photograph(
  judge: Callable[[chex.Array], chex.Array], photograph: np.ndarray, tile: int
) -> np.ndarray:
  """Returns the probability of each manipulation, the mean over tiles.

  The tiles have the size that the network was trained on, so that its means over
  space are of the kind it knows. They begin at the upper left corner, which keeps
  them on the grid of JPEG's blocks; what they leave over at the right and the bottom
  is not looked at.

  Args:
    judge: [B, tile, tile, 3] in [0, 1] to probabilities [B, K].
    photograph: [H, W, 3] in [0, 1], as it was received: small and compressed.
    tile: side of a tile, a multiple of 8.
  """
  height, width = (side // tile * tile for side in photograph.shape[:2])
  tiles = photograph[:height, :width].reshape(
    height // tile, tile, width // tile, tile, 3
  )
  tiles = tiles.swapaxes(1, 2).reshape(-1, tile, tile, 3)
  total = 0.0
  for start in range(0, len(tiles), BATCH):
    some = tiles[start : start + BATCH]
    # One shape for all calls, so that one compilation serves.
    padded = np.zeros((BATCH, tile, tile, 3), np.float32)
    padded[: len(some)] = some
    total += np.sum(np.asarray(judge(padded))[: len(some)], axis=0)
  return total / len(tiles)


def write(directory: epath.Path, predictions: Sequence[dict]) -> None:
  """Writes predictions.json and predictions.csv, each all at once.

  Args:
    directory: where to.
    predictions: mappings with "file", "verdict" and "probabilities" by class.
  """
  table = io.StringIO()
  rows = csv.writer(table)
  rows.writerow(["file", "verdict", *predictions[0]["probabilities"]])
  for one in predictions:
    rows.writerow([one["file"], one["verdict"], *one["probabilities"].values()])
  text = json.dumps(predictions, indent=2) + "\n"
  files.write_bytes(directory / "predictions.json", text.encode())
  files.write_bytes(directory / "predictions.csv", table.getvalue().encode())
