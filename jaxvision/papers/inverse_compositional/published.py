"""Turns the authors' checkpoints into this project's tracker and its variables."""

import os
import re
from collections.abc import Mapping

import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.papers.inverse_compositional.tracker import Tracker

# tr_update{l}.mEstimator and .directSolver are the tensors of the networks again.
_ALIASES = ("tr_update*",)
_COUNTERS = ("*.num_batches_tracked",)
_PARTS = {"estimator": "mEst_func", "solver": "solver_func"}


def load(path: str | os.PathLike) -> tuple[Tracker, dict, dict]:
  """Returns the tracker of a checkpoint file (.pth.tar), its params and model state.

  Raises:
    UserError: missing or damaged file, or one of another network.
  """
  weights = published.entry(published.load(path), "state_dict")
  return convert(weights, str(path))


def convert(
  weights: Mapping[str, np.ndarray], source: str = "weights"
) -> tuple[Tracker, dict, dict]:
  """Returns the tracker that a state_dict describes, its params and model state.

  Args:
    weights: arrays by the authors' names. "module." before all of them is left out.
    source: what errors call them.

  Raises:
    UserError: a weight is missing, of another shape, or of unknown meaning.
  """
  weights = {name.removeprefix("module."): array for name, array in weights.items()}
  reader = published.Reader(weights, source)
  has = {
    part: any(name.startswith(theirs) for name in weights)
    for part, theirs in _PARTS.items()
  }
  shared = not any(re.match(r"(mEst|solver)_func\d", name) for name in weights)
  params, model_state, options = {}, {}, {"encoder": "RGB"}

  if any(name.startswith("encoder.") for name in weights):
    first = reader.take("encoder.net0.0.0.weight")
    if first.ndim != 4 or first.shape[1] not in (4, 8):
      raise UserError(f"{source}: an encoder of one view has 4 channels, of two 8")
    options["encoder"] = "ConvRGBD" if first.shape[1] == 4 else "ConvRGBD2"
    params["encoder"], model_state["encoder"], scales = {}, {}, []
    channels = first.shape[1]
    for number in range(_count(weights, r"encoder\.net(\d+)\.")):
      block = _conv_blocks(reader, weights, f"encoder.net{number}", channels)
      name = f"net{number}"
      params["encoder"][name], model_state["encoder"][name], features = block
      channels = features[-1]
      scales.append(tuple(zip(features, (1, 2, 2), strict=False)))
    options["scales"] = tuple(scales)

  levels = len(options.get("scales", range(4)))
  parts = {"shared": ""} if shared else {f"level{i}": str(i) for i in range(levels)}
  if has["estimator"]:
    options["estimator"] = "learned"
    params["estimator"], model_state["estimator"] = {}, {}
    for part, number in parts.items():
      name = f"{_PARTS['estimator']}{number}.net"
      own, statistics, features = _conv_blocks(reader, weights, name, 4)
      params["estimator"][part] = {"net": own}
      model_state["estimator"][part] = {"net": statistics}
    options["estimator_layers"] = tuple(zip(features, (1, 2, 4, 1), strict=False))
  if has["solver"]:
    options["solver"] = "trust_region"
    params["solver"] = {
      part: damping(reader, f"{_PARTS['solver']}{number}.net.")
      for part, number in parts.items()
    }
    layers = params["solver"][next(iter(parts))]
    widths = [layers[f"fc{n}"]["kernel"].shape for n in range(len(layers))]
    options["hidden"] = tuple(width for _, width in widths[:-1])
    options["samples"] = (widths[0][0] - 36) // 6
  reader.finish(ignore=(*_ALIASES, *_COUNTERS))
  options = {"estimator": "none", "solver": "gauss_newton"} | options
  return Tracker(share_weights=shared, **options), params, model_state


def damping(reader: published.Reader, prefix: str) -> dict:
  """Returns the parameters of a `DampingNetwork`, whose keys begin with `prefix`."""
  layers = {}
  for number in range(3):
    weight = reader.take(f"{prefix}{number}.0.weight")
    bias = reader.take(f"{prefix}{number}.0.bias", weight.shape[:1])
    layers[f"fc{number}"] = {"kernel": published.linear_kernel(weight), "bias": bias}
  return layers


def _conv_blocks(reader, weights, prefix, channels):
  """Returns the params, statistics and features of `ConvBlocks`."""
  params, statistics, features = {}, {}, []
  for number in range(_count(weights, rf"{re.escape(prefix)}\.(\d+)\.")):
    name = f"{prefix}.{number}"
    weight = reader.take(f"{name}.0.weight")
    width = weight.shape[0]
    reader.take(f"{name}.0.weight", (width, channels, 3, 3))

    def take(leaf, name=name, width=width):
      return reader.take(f"{name}.1.{leaf}", (width,))

    params[f"conv{number}"] = {"kernel": published.conv_kernel(weight)}
    params[f"bn{number}"] = {"scale": take("weight"), "bias": take("bias")}
    mean, variance = take("running_mean"), take("running_var")
    statistics[f"bn{number}"] = {"mean": mean, "var": variance}
    features.append(width)
    channels = width
  return params, statistics, features


def _count(weights, pattern):
  """Returns one more than the largest number that the pattern finds in a name."""
  found = (re.match(pattern, name) for name in weights)
  return 1 + max((int(match[1]) for match in found if match), default=-1)
