"""Turns the authors' checkpoints into our network and its variables.

Their .ckpt files are PyTorch's: {"model": state_dict, "epoch", "mahd", "optimizer",
"n_points"}. What the weights do not tell, the caller says.
"""

import math
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.papers.weighted_hausdorff.network import Locator

Weights = Mapping[str, np.ndarray]

# A leftover of theirs that nothing reads, and PyTorch's counters.
_IGNORED = ("lin.weight", "*.num_batches_tracked")


def locator(
  weights: Weights,
  *,
  size: tuple[int, int] | None = None,
  known_count: float | None = None,
  source: str = "weights",
) -> tuple[Locator, dict[str, Any]]:
  """Returns the network of a state_dict, and its variables.

  Args:
    weights: {name: array}, with or without "module." before the names.
    size: height and width of the images; a square when None.
    known_count: what a network without a branch that counts says.
    source: what errors call the weights.

  Raises:
    UserError: a weight is missing, left over or of another shape, or the branches are
      for images of another size.
  """
  weights = {name.removeprefix("module."): array for name, array in weights.items()}
  reader = published.Reader(weights, source)
  downs = _numbers(weights, r"down(\d+)\.")
  ups = _numbers(weights, r"up(\d+)\.")
  if not downs or downs != ups:
    raise UserError(f"{source}: has levels {downs} downwards and {ups} upwards")
  params: dict[str, Any] = {}
  statistics: dict[str, Any] = {}
  blocks = {"inc.conv.conv": "down_0"}
  blocks |= {f"down{n}.mpconv.1.conv": f"down_{n}" for n in downs}
  blocks |= {f"up{n}.conv.conv": f"up_{n - 1}" for n in ups}
  for theirs, ours in blocks.items():
    params[ours], statistics[ours] = _block(reader, weights, theirs)
  params["head"] = _convolution(reader, "outc.conv")
  counts = "regressor.0.weight" in weights
  features, up_features = (
    tuple(
      params[f"{kind}_{index}"]["conv_0"]["kernel"].shape[-1] for index in range(levels)
    )
    for kind, levels in (("down", len(downs) + 1), ("up", len(ups)))
  )
  options = {}
  if counts:
    branches = _branches(reader, weights, features[-1], len(downs), size, source)
    params |= branches
    options["hidden"] = branches["map_branch"]["bias"].size
  elif known_count is None:
    raise UserError(f"{source}: has no branch that counts; say the number of objects")
  else:
    options["known_count"] = float(known_count)
  reader.finish(_IGNORED)
  statistics = {name: tree for name, tree in statistics.items() if tree}
  return (
    Locator(features, up_features, **options),
    {"params": params, "batch_stats": statistics},
  )


def load(
  path: str | os.PathLike,
  *,
  size: tuple[int, int] | None = None,
  known_count: float | None = None,
) -> tuple[Locator, dict[str, Any]]:
  """Returns the network of a .ckpt file, and its variables; arguments as `locator`.

  A checkpoint that knows its number of objects says it itself.

  Raises:
    UserError: a missing or damaged file, or one of another network.
  """
  content = published.load(path)
  if "n_points" in content and known_count is None:
    known_count = float(np.asarray(content["n_points"]).reshape(-1)[0])
  weights = published.entry(content, "model")
  return locator(weights, size=size, known_count=known_count, source=str(path))


def _numbers(weights, pattern):
  found = {int(match[1]) for name in weights if (match := re.match(pattern, name))}
  if found != set(range(1, len(found) + 1)):
    return []
  return sorted(found)


def _block(reader, weights, name):
  """Returns parameters and statistics of two convolutions.

  Their layers are numbered among the normalisations and ReLUs that some blocks lack.
  """
  pattern = re.compile(re.escape(name) + r"\.(\d+)\.weight")
  layers = sorted(int(m[1]) for key in weights if (m := pattern.fullmatch(key)))
  convolutions = [n for n in layers if weights[f"{name}.{n}.weight"].ndim == 4]
  norms = [n for n in layers if n not in convolutions]
  params, statistics = {}, {}
  for index, number in enumerate(convolutions):
    params[f"conv_{index}"] = _convolution(reader, f"{name}.{number}")
  for index, number in enumerate(norms):
    params[f"norm_{index}"] = {
      "scale": reader.take(f"{name}.{number}.weight"),
      "bias": reader.take(f"{name}.{number}.bias"),
    }
    statistics[f"norm_{index}"] = {
      "mean": reader.take(f"{name}.{number}.running_mean"),
      "var": reader.take(f"{name}.{number}.running_var"),
    }
  if len(convolutions) != 2 or len(norms) not in (0, 2):
    reader.take(f"{name}.3.weight")  # says what is missing
  return params, statistics


def _convolution(reader, name):
  kernel = published.conv_kernel(reader.take(f"{name}.weight"))
  return {"kernel": kernel, "bias": reader.take(f"{name}.bias")}


def _branches(reader, weights, channels, halvings, size, source):
  """Returns the parameters of what counts."""
  pixels = weights["branch_2.0.weight"].shape[1]
  if size is None:
    side = math.isqrt(pixels)
    size = side, side
  if size[0] * size[1] != pixels:
    raise UserError(
      f"{source}: counts on maps of {pixels} pixels, not of {size[0]} x {size[1]}"
    )
  height, width = (length // 2**halvings for length in size)
  deep = reader.take("branch_1.0.weight")
  if deep.shape[1] != channels * height * width:
    raise UserError(
      f"{source}: counts on {deep.shape[1]} features, not on {channels} x {height} x "
      f"{width}"
    )
  deep = deep.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
  flat = published.linear_kernel(reader.take("branch_2.0.weight"))
  last = published.linear_kernel(reader.take("regressor.0.weight"))
  return {
    "deep_branch": {
      "kernel": deep.reshape(-1, deep.shape[-1]),
      "bias": reader.take("branch_1.0.bias"),
    },
    "map_branch": {"kernel": flat, "bias": reader.take("branch_2.0.bias")},
    "regressor": {"kernel": last, "bias": reader.take("regressor.0.bias")},
  }
