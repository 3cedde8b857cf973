"""The rule that fills parameters and inputs of parity cases from their names.

A case compares our network with the authors' without shipping weights: the reference
was computed with these very numbers, so the generator, the seed and the order of the
draws below are part of the format and must not change.
"""

import math
import zlib

import numpy as np


def tensor(name: str, shape, layout: str = "torch") -> np.ndarray:
  """Returns the float32 parameter `name` of the authors' checkpoint.

  Args:
    name: PyTorch's state_dict key or TensorFlow's variable name; seeds the draw.
    shape: its shape there.
    layout: "torch" (output features on the first axis) or any other (on the last),
      which decides the fan-in.
  """
  shape = tuple(int(length) for length in shape)
  leaf = name.split(".")[-1].split("/")[-1].split(":")[0]
  if leaf == "num_batches_tracked":
    return np.zeros(shape, np.float32)
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  if "running_var" in leaf or "moving_variance" in leaf:
    values = rng.uniform(0.5, 1.5, shape)
  elif "running_mean" in leaf or "moving_mean" in leaf:
    values = 0.1 * rng.standard_normal(shape)
  elif len(shape) >= 2:
    fan_in = math.prod(shape[1:] if layout == "torch" else shape[:-1])
    values = rng.standard_normal(shape) * np.sqrt(2.0 / max(fan_in, 1))
  elif leaf in ("weight", "gamma", "weight_g", "scale"):
    values = rng.uniform(0.5, 1.5, shape)
  else:
    values = 0.1 * rng.standard_normal(shape)
  return np.asarray(values, np.float32)


def array(name: str, shape, low: float = -1.0, high: float = 1.0) -> np.ndarray:
  """Returns the float32 input `name` ("<case>/<input>"), uniform in [low, high)."""
  rng = np.random.default_rng(zlib.crc32(f"input:{name}".encode()))
  return rng.uniform(low, high, tuple(shape)).astype(np.float32)
