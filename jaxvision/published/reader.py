"""Helps a paper turn authors' weights into its own variables, none forgotten."""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping

import chex
import numpy as np

from jaxvision.errors import UserError


class Reader:
  """Hands out weights by name and knows which were never asked for.

  Args:
    weights: arrays by the authors' names, as `load` returns them.
    source: what the errors call them, e.g. the file.
  """

  def __init__(self, weights: Mapping[str, np.ndarray], source: str = "weights"):
    self._weights = weights
    self._source = source
    self._left = dict.fromkeys(weights)

  def take(self, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Returns the weight `name`, in the authors' layout.

    Raises:
      UserError: it is missing, or its shape is not `shape`.
    """
    if name not in self._weights:
      near = difflib.get_close_matches(name, self._weights, n=1)
      hint = f"; the nearest name is {near[0]}" if near else ""
      raise UserError(f"{self._source}: lacks {name}{hint}")
    weight = self._weights[name]
    if shape is not None and weight.shape != tuple(shape):
      raise UserError(
        f"{self._source}: {name} has shape {weight.shape} instead of {tuple(shape)}"
      )
    self._left.pop(name, None)
    return weight

  def finish(self, ignore: Iterable[str] = ()) -> None:
    """Checks that every weight was taken.

    Args:
      ignore: patterns of names that need not be, e.g. "*.num_batches_tracked".

    Raises:
      UserError: some were not; their names follow.
    """
    patterns = tuple(ignore)
    left = [
      name
      for name in self._left
      if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]
    if left:
      more = f" and {len(left) - 8} more" if len(left) > 8 else ""
      raise UserError(f"{self._source}: never used {', '.join(left[:8])}{more}")


def conv_kernel(weight: np.ndarray) -> np.ndarray:
  """Returns PyTorch's convolution weight as ours.

  Args:
    weight: [out, in / groups, *spatial].

  Returns:
    [*spatial, in / groups, out].
  """
  chex.assert_rank(weight, {3, 4, 5})
  return np.moveaxis(weight, (0, 1), (-1, -2))


def linear_kernel(weight: np.ndarray) -> np.ndarray:
  """Returns PyTorch's linear weight [out, in] as ours, [in, out]."""
  chex.assert_rank(weight, 2)
  return weight.T


def entry(weights: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
  """Returns the weights that lie under a name of a checkpoint; all if there is none.

  Args:
    weights: {name: array}, nested names joined by ".".
    name: such as "state_dict", which checkpoints with more than the weights have.
  """
  prefix = f"{name}."
  found = {
    key.removeprefix(prefix): array
    for key, array in weights.items()
    if key.startswith(prefix)
  }
  return found or dict(weights)
