"""Verdicts of the compressed network beside those of the original."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence

import chex
import jax
import numpy as np
from etils import epath

from jaxvision.data import files


def predict(
  logits_of: Mapping[str, Callable[[chex.Array], chex.Array]],
  images: np.ndarray,
  paths: Sequence[epath.PathLike],
) -> list[dict]:
  """Returns for each image {"file", network: {"class", "probabilities"}}.

  Args:
    logits_of: images [B, H, W, C] to logits [B, K], by the network's name.
    images: [N, H, W, C].
    paths: of the images.
  """
  probabilities = {
    name: np.asarray(jax.nn.softmax(logits(images)))
    for name, logits in logits_of.items()
  }
  return [
    {"file": str(path)}
    | {
      name: {
        "class": int(np.argmax(rows[index])),
        "probabilities": [float(share) for share in rows[index]],
      }
      for name, rows in probabilities.items()
    }
    for index, path in enumerate(paths)
  ]


def describe(one: dict) -> str:
  """Returns a line for one of the predictions."""
  verdicts = (
    f"{name} {verdict['class']} ({max(verdict['probabilities']):.0%})"
    for name, verdict in one.items()
    if name != "file"
  )
  return f"{one['file']}: {', '.join(verdicts)}"


def write(directory: epath.Path, predictions: Sequence[dict]) -> None:
  """Writes predictions.json and predictions.csv, each all at once.

  Args:
    directory: where to.
    predictions: as `predict` returns them.
  """
  names = [name for name in predictions[0] if name != "file"]
  table = io.StringIO()
  rows = csv.writer(table)
  rows.writerow(["file", *(f"{n} {what}" for n in names for what in _COLUMNS)])
  for one in predictions:
    verdicts = (one[name] for name in names)
    cells = [(v["class"], max(v["probabilities"])) for v in verdicts]
    rows.writerow([one["file"], *(cell for pair in cells for cell in pair)])
  text = json.dumps(predictions, indent=2) + "\n"
  files.write_bytes(directory / "predictions.json", text.encode())
  files.write_bytes(directory / "predictions.csv", table.getvalue().encode())


_COLUMNS = ("class", "probability")
