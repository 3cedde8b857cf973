"""Turns the authors' checkpoints (.pth) into this project's variables."""

import os
import re
from collections.abc import Mapping

import flax
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.papers.ganet.model import SIDE, GANet

# In GANet_deep's checkpoints, but never called; and PyTorch's counters.
_UNUSED = ("cost_agg.deconv0b.*", "*.num_batches_tracked")
_STATISTICS = {"running_mean": "mean", "running_var": "var"}


def load(path: str | os.PathLike, max_disp: int = 192) -> tuple[GANet, dict]:
  """Returns the network of a checkpoint file and its variables.

  Raises:
    UserError: missing or damaged file, or one of another network.
  """
  weights = published.entry(published.load(path), "state_dict")
  return convert(weights, max_disp, str(path))


def convert(
  weights: Mapping[str, np.ndarray], max_disp: int = 192, source: str = "weights"
) -> tuple[GANet, dict]:
  """Returns the network that a state_dict describes, and its variables.

  Args:
    weights: arrays by the authors' names. "module." before all of them is left out.
    max_disp: of the network; no weight depends on it.
    source: what errors call them.

  Raises:
    UserError: a weight is missing, of another shape, or of unknown meaning.
  """
  weights = {name.removeprefix("module."): array for name, array in weights.items()}
  is_deep = any(name.startswith("cost_agg.sga3.") for name in weights)
  model = GANet("deep" if is_deep else "11", max_disp)
  image = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
  shapes = jax.eval_shape(model.init, jax.random.key(0), image, image)
  return model, convert_module(weights, shapes, source)


def convert_module(
  weights: Mapping[str, np.ndarray], shapes, source: str = "weights"
) -> dict:
  """Returns the variables of any of the paper's modules, none of its weights left over.

  Args:
    weights: arrays by the authors' names.
    shapes: the module's variables, arrays or their shapes.
    source: what errors call them.

  Raises:
    UserError: as `convert`.
  """
  reader = published.Reader(weights, source)
  variables = {}
  for path, leaf in flax.traverse_util.flatten_dict(shapes).items():
    name = _authors_name(path[1:])
    array = reader.take(name)
    if path[-1] == "kernel":
      # A transposed convolution's weight is [in, out, ...].
      transposed = re.search(r"deconv\d[ab]\.conv1\.", name) is not None
      order = (-2, -1) if transposed else (-1, -2)
      array = np.moveaxis(array, (0, 1), order)
    if array.shape != leaf.shape:
      raise UserError(f"{source}: {name} has shape {weights[name].shape}")
    variables[path] = array
  reader.finish(ignore=_UNUSED)
  return flax.traverse_util.unflatten_dict(variables)


def _authors_name(path) -> str:
  """Returns "conv_start.0.bn.running_mean" for ("conv_start_0", "bn", "mean")."""
  leaves = {"kernel": "weight", "scale": "weight", "bias": "bias"}
  leaves |= {ours: theirs for theirs, ours in _STATISTICS.items()}
  modules = [re.sub(r"_(\d)$", r".\1", name) for name in path[:-1]]
  return ".".join([*modules, leaves[path[-1]]])
