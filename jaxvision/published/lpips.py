"""The published heads of LPIPS."""

from collections.abc import Mapping

import numpy as np

from jaxvision.errors import UserError
from jaxvision.published.reader import Reader


def heads(
  weights: Mapping[str, np.ndarray], source: str = "the LPIPS heads"
) -> list[np.ndarray]:
  """Returns the weights of the channels of each tapped layer.

  Args:
    weights: lin0.model.1.weight [1, C, 1, 1], lin1..., as `published.load` reads the
      files of versions 0.0 and 0.1 for AlexNet, VGG-16 and SqueezeNet.
    source: what errors call them.

  Returns:
    [C] for each layer.

  Raises:
    UserError: a head is missing or of another shape, or there is something else.
  """
  reader = Reader(weights, source)
  found = []
  for number in range(max(len(weights), 1)):
    name = f"lin{number}.model.1.weight"
    weight = reader.take(name)
    if weight.ndim != 4 or weight.size != weight.shape[1]:
      raise UserError(f"{source}: {name} has shape {weight.shape}, not (1, C, 1, 1)")
    found.append(weight.reshape(-1))
  reader.finish()
  return found
