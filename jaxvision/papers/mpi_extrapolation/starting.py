"""Parameters to start from that already show the reference image.

The paper's networks begin from random kernels and have hundreds of thousands of steps
to learn to pass colours on. Where there are only hundreds, some channels of the finest
level carry inputs to the output from the start: every plane has the reference's
colours, and the second network's opacities follow the visibility that it is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import chex
import jax.numpy as jnp

# Channels of the first network's input, one source, and of the second's.
_SOURCE, _REFERENCE = (0, 1, 2), (3, 4, 5)
_WEIGHT = 7
# tanh(1.5) = 0.9: colours end almost as they begin.
_COLOR = 1.5
# Opacities (tanh(6 t - 1.5) + 1) / 2 of visibility t: 0.05 of what is not seen at all.
_SLOPE, _OFFSET = 6.0, -1.5

Params = Mapping[str, Any]


def showing_reference(params: Params) -> dict:
  """Returns parameters of `model.Extrapolator` that begin with the reference image.

  Args:
    params: of a network for one source, whose finest level has 6 channels or more.
  """
  colors = jnp.zeros((6, 4)).at[:3, :3].set(_COLOR * jnp.eye(3))
  alpha = jnp.zeros((1, 3)).at[0, 2].set(_SLOPE)
  return {
    "initial": carrying(
      params["initial"], (*_REFERENCE, *_SOURCE), colors, jnp.zeros(4), (0, 1, 2)
    ),
    "refine": carrying(
      params["refine"], (_WEIGHT,), alpha, jnp.array([0, 0, _OFFSET]), (0, 1, 2)
    ),
  }


def carrying(
  params: Params,
  inputs: Sequence[int],
  weights: chex.Array,
  biases: chex.Array,
  outputs: Sequence[int],
) -> dict:
  """Returns parameters of a `networks.VolumeUNet` whose outputs begin as linear.

  Args:
    params: of the network.
    inputs: K channels of its input, values of at least -1. The first K channels of
      every layer of the finest level carry them, 1 added so that they pass ReLUs.
    weights: [K, out_features] from them to the output.
    biases: [out_features].
    outputs: the channels that are to be so; the others keep their kernels.

  Returns:
    The same with other kernels and biases at the finest level.

  Raises:
    ValueError: a layer has fewer than K channels.
  """
  count = len(inputs)
  chex.assert_shape(weights, (count, None))
  changed = dict(params)
  ups = [name for name in params if name.startswith("up_")]
  if ups:
    last = max(int(name.split("_")[1]) for name in ups)
    layers = ["conv_0", "conv_1", f"up_{last}_conv_0", f"up_{last}_conv_1"]
  else:
    layers = [f"conv_{number}" for number in range(len(params) - 1)]
  skip = params["conv_1"]["bias"].shape[0]
  for number, name in enumerate(layers):
    kernel, bias = params[name]["kernel"], params[name]["bias"]
    if len(bias) < count:
      raise ValueError(f"{len(bias)} channels of {name} cannot carry {count} inputs")
    first = kernel.shape[-2] - skip if name.startswith("up_") and number == 2 else 0
    origins = jnp.asarray(inputs) if number == 0 else first + jnp.arange(count)
    kernel = kernel.at[..., :count].set(0.0)
    kernel = kernel.at[1, 1, 1, origins, jnp.arange(count)].set(1.0)
    bias = bias.at[:count].set(1.0 if number == 0 else 0.0)
    changed[name] = {"kernel": kernel, "bias": bias}
  head, chosen = params["head"], jnp.asarray(outputs)
  kernel = head["kernel"].at[..., chosen].set(0.0)
  kernel = kernel.at[1, 1, 1, :count, chosen].set(weights[:, chosen].T)
  bias = head["bias"].at[chosen].set((biases - jnp.sum(weights, axis=0))[chosen])
  changed["head"] = {"kernel": kernel, "bias": bias}
  return changed
