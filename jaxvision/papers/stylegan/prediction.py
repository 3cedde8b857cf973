"""Seeds in; images, grids of mixed styles and interpolations out."""

import json
import re
from collections.abc import Sequence

import jax
import numpy as np
from etils import epath

from jaxvision.data import files, images
from jaxvision.errors import UserError
from jaxvision.papers.stylegan import figures

_TEXT = (".txt", ".csv", ".seeds", ".json")
_MOST_MIXED = 6  # seeds that the grid of mixed styles shows in a row


def split_inputs(
  inputs: Sequence[epath.PathLike],
) -> tuple[list[int], epath.PathLike | None]:
  """Returns the seeds of text files, and the path of an authors' pickle or None.

  Raises:
    UserError: a text holds no seeds, or there is more than one other file.
  """
  seeds, weights = [], []
  for path in inputs:
    if epath.Path(path).suffix.lower() in _TEXT:
      seeds += read_seeds(path)
    else:
      weights.append(path)
  if len(weights) > 1:
    raise UserError(f"{weights[1]}: one file of networks at a time, after {weights[0]}")
  return seeds or list(range(12)), weights[0] if weights else None


def read_seeds(path: epath.PathLike) -> list[int]:
  """Returns the integers of a text file, in any separation.

  Raises:
    UserError: it holds none, something else, or one of more than 32 bits.
  """
  with files.decoding(path, "text of seeds"):
    text = files.read_bytes(path).decode()
  words = re.split(r"[\s,;\[\]]+", text.strip(" \t\r\n,;[]"))
  for word in words:
    if not word.isdecimal() or int(word) >= 2**32:
      raise UserError(f"{path}: {word[:20]!r} is no seed: 0 to 2³² - 1")
  return [int(word) for word in words]


def latents(seeds: Sequence[int], width: int) -> np.ndarray:
  """Returns z [N, width] as the authors draw them for their figures, one a seed."""
  return np.stack([np.random.RandomState(s).randn(width) for s in seeds])


def write(
  out: epath.PathLike,
  painter: figures.Painter,
  seeds: Sequence[int],
  width: int,
  *,
  psi: float = 0.7,
  between: int = 8,
) -> None:
  """Writes seedN.png of each seed, grid.png, and of several mixing and interpolation.

  Args:
    out: folder; made where missing.
    painter: of the generator.
    seeds: not negative.
    width: of z.
    psi: of truncation in the first 8 layers.
    between: images from one seed to the next.

  Raises:
    UserError: the network's weights are not finite; nothing is written.
  """
  out = epath.Path(out)
  for leaf in jax.tree.leaves(painter.variables):
    if not np.isfinite(leaf).all():
      raise UserError("the generator has weights that are not finite")
  w = painter.styles(latents(seeds, width), psi=psi)
  found = painter.render(w)
  pictures = {f"seed{seed}": one for seed, one in zip(seeds, found, strict=True)}
  pictures["grid"] = figures.grid(found, min(8, len(found)))
  if len(w) > 1:
    half = min(len(w) // 2, _MOST_MIXED)
    first, second = w[half : 2 * half], w[:half]
    pictures["mixing"] = figures.mixing_grid(painter, first, second)
    path = figures.strip(w[: _MOST_MIXED + 1], between)
    pictures["interpolation"] = figures.grid(painter.render(path), between)
  out.mkdir(parents=True, exist_ok=True)
  for name, picture in pictures.items():
    images.write_png(out / f"{name}.png", picture)
  summary = {"seeds": list(map(int, seeds)), "psi": psi, "resolution": found.shape[1]}
  text = json.dumps(summary, indent=1) + "\n"
  files.write_bytes(out / "predictions.json", text.encode())
