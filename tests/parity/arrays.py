"""What adapters do to arrays."""

import functools
from collections.abc import Callable, Mapping

import numpy as np


def to_numpy(adapter: Callable[..., Mapping]) -> Callable[..., dict[str, np.ndarray]]:
  """Returns an adapter whose outputs are numpy's arrays."""

  @functools.wraps(adapter)
  def run(parameters, inputs):
    return {k: np.asarray(v) for k, v in adapter(parameters, inputs).items()}

  return run
