"""The authors' checkpoints (TensorFlow 1, slim) as this project's variables.

Names are SCOPE/LAYER/weights and SCOPE/LAYER/biases, with the scopes and layers of
`network`; TensorFlow's kernels [h, w, in, out] are ours as they are. What an optimiser
left beside them (Adam, global_step) is passed over.
"""

import os
import re
from collections.abc import Mapping

import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.papers.selflow.network import SelFlow

_LEAVES = {"weights": "kernel", "biases": "bias"}
# "power" counts Adam's steps; its moments stand behind the names of the variables.
_OPTIMISER = ("*/Adam", "*/Adam_1", "*beta1_power", "*beta2_power", "*global_step*")


def load(path: str | os.PathLike) -> tuple[SelFlow, dict]:
  """Returns the network of a checkpoint and its variables.

  Args:
    path: the checkpoint's prefix (without .index), or any file that
      `jaxvision.published.load` reads.

  Raises:
    UserError: it cannot be read, or is not SelFlow's.
  """
  return convert(published.load(path), os.fspath(path))


def convert(
  weights: Mapping[str, np.ndarray], source: str = "weights"
) -> tuple[SelFlow, dict]:
  """Returns the network that the shapes describe, and its variables.

  Args:
    weights: arrays by the authors' names.
    source: what errors call them.

  Raises:
    UserError: a name is missing or left over.
  """
  reader = published.Reader(weights, source)
  scopes = set()
  params: dict = {}
  for name in weights:
    found = re.fullmatch(r"(?:.*/)?([^/]+)/([^/]+)/(weights|biases)", name)
    if not found:
      continue
    scope, layer, leaf = found.groups()
    scopes.add(scope)
    params.setdefault(scope, {}).setdefault(layer, {})[_LEAVES[leaf]] = np.asarray(
      reader.take(name)
    )
  reader.finish(ignore=_OPTIMISER)
  levels = sorted(
    int(scope.rpartition("_")[2])
    for scope in scopes
    if re.fullmatch(r"estimator_level_\d+", scope)
  )
  known = {"feature_extractor", "context_network"}
  known |= {f"estimator_level_{level}" for level in levels}
  if scopes != known or not levels:
    raise UserError(f"{source}: scopes {sorted(scopes)} are not those of SelFlow")

  def widths(scope, layers):
    missing = [layer for layer in layers if layer not in params[scope]]
    if missing or len(params[scope]) != len(layers):
      raise UserError(f"{source}: {scope} has layers {sorted(params[scope])}")
    return tuple(params[scope][layer]["kernel"].shape[-1] for layer in layers)

  def numbered(scope, prefix):
    return widths(scope, [f"{prefix}{n}" for n in range(1, len(params[scope]) + 1)])

  pairs = range(1, len(params["feature_extractor"]) // 2 + 1)
  features = widths(
    "feature_extractor", [f"conv{n}_{i}" for n in pairs for i in (1, 2)]
  )
  estimators = {numbered(f"estimator_level_{level}", "conv") for level in levels}
  if len(estimators) != 1 or levels[-1] != len(features) // 2:
    raise UserError(f"{source}: levels {levels} do not fit the pyramid or each other")
  network = SelFlow(
    features=features[1::2],
    estimator=estimators.pop()[:-1],
    context=numbered("context_network", "dilated_conv")[:-1],
    finest=levels[0],
  )
  return network, {"params": params}
