"""Parameters to start from that already compare the views.

The paper's networks begin from random kernels and have hundreds of thousands of steps
to learn that a plane is opaque where the swept view looks like the reference, and to
pass colours on. Where there are only hundreds, some channels of the finest level do
both from the start, roughly: the plane sweep of classical stereo.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

# Channels of the first network's input, one source, and of the second's.
_SOURCE, _REFERENCE, _NUMBER = (0, 1, 2), (3, 4, 5), 6
_WEIGHT, _SEEN_NUMBER = 7, 8

# Taps of kernels [3, 3, 3, inputs, outputs]: rows, columns, planes.
_HERE, _AROUND = (1, 1, 1), (slice(None), slice(None), 1)
_FARTHER, _NEARER = (1, 1, 0), (1, 1, 2)

# tanh(1.5) = 0.9: colours end almost as they begin.
_COLOR = 1.5
# Opacities are (tanh(.) + 1) / 2 of a sum of these.
_MATCH = 0.0
_MISMATCH = -24.0  # times the mean difference of the views' colours in [-1, 1]
_CURVATURE = 16.0  # times its second difference over planes, which betrays a minimum
_FARTHEST = 3.0  # of the farthest plane, behind which there is nothing
# Of the second network, 0.05 of what is not seen at all, almost 1 of half visibility.
_SLOPE, _OFFSET = 6.0, -1.5
# By which the other channels of the first opacities are weakened.
_OTHERS = 0.3

Params = Mapping[str, Any]


def matching(params: Params) -> dict:
  """Returns parameters of `model.Extrapolator` that begin with a plane sweep.

  Args:
    params: of a network for one source, whose finest level has 10 channels or more;
      those that are not needed keep their kernels.

  Returns:
    The same with other kernels at the finest level. Every plane has the reference's
    colours, is opaque where the views agree better than on its neighbours, and the
    farthest is. The second network keeps opaque what it sees, and the farthest plane.

  Raises:
    ValueError: a layer of the finest level has too few channels.
  """
  return {"initial": _initial(params["initial"]), "refine": _refine(params["refine"])}


def _initial(params):
  """Channels: 0 to 2 the reference + 1, 3 the mismatch, 4 whether it is farthest."""
  colors = [([(_HERE, _REFERENCE[i], 1.0)], 1.0) for i in range(3)]
  # What of the difference is positive, and what is negative.
  parts = [
    ([(_HERE, _REFERENCE[i], sign), (_HERE, _SOURCE[i], -sign)], 0.0)
    for sign in (1.0, -1.0)
    for i in range(3)
  ]
  farthest = ([(_HERE, _NUMBER, -7.0)], 1.0)  # 0 from a seventh on
  first = [*colors, *parts, farthest]
  mean = [(_AROUND, 3 + i, 1 / 27) for i in range(6)]
  second = [*_kept(0, 1, 2), (mean, 0.0), *_kept(9)]
  smooth = [*_kept(0, 1, 2), ([(_AROUND, 3, 1 / 9)], 0.0), *_kept(4)]
  head = [([(_HERE, i, _COLOR)], -_COLOR) for i in range(3)]
  opacity = [
    (_HERE, 3, _MISMATCH - 2 * _CURVATURE),
    (_FARTHER, 3, _CURVATURE),
    (_NEARER, 3, _CURVATURE),
    (_HERE, 4, _FARTHEST),
  ]
  others = params["head"]["kernel"][..., 5:, 3] * _OTHERS
  layers = [first, second, _kept(0, 1, 2, 3, 4), smooth]
  changed = _finest(params, layers, [*head, (opacity, _MATCH)])
  kernel = changed["head"]["kernel"].at[..., 5:, 3].set(others)
  changed["head"] = {**changed["head"], "kernel": kernel}
  return changed


def _refine(params):
  """Channels: 0 the visibility, 1 whether it is the farthest plane."""
  first = [([(_HERE, _WEIGHT, 1.0)], 0.0), ([(_HERE, _SEEN_NUMBER, -7.0)], 1.0)]
  still = ([], 0.0)
  opacity = ([(_HERE, 0, _SLOPE), (_HERE, 1, _FARTHEST)], _OFFSET)
  kept = _kept(0, 1)
  return _finest(params, [first, kept, kept, kept], [still, still, opacity])


def _kept(*channels):
  return [([(_HERE, channel, 1.0)], 0.0) for channel in channels]


def _finest(params: Params, layers: Sequence, head: Sequence) -> dict:
  """Returns a `networks.VolumeUNet` whose finest level begins with given channels.

  Args:
    params: of the network.
    layers: of each of the two layers on the way down and of the two on the way up, its
      first outputs, each as terms (tap, input, weight) and a bias.
    head: the same of the result.
  """
  steps = [int(name.split("_")[1]) for name in params if name.startswith("up_")]
  names = ["conv_0", "conv_1"]
  names += [f"up_{max(steps)}_conv_{index}" for index in range(2)]
  skipped = len(params["conv_1"]["bias"])
  changed = dict(params)
  for name, outputs in zip([*names, "head"], [*layers, head], strict=True):
    kernel, bias = params[name]["kernel"], params[name]["bias"]
    if len(bias) < len(outputs):
      raise ValueError(f"{len(bias)} channels of {name} cannot be {len(outputs)}")
    # On the way up the level's own channels come behind those of the coarser one.
    start = kernel.shape[3] - skipped if name == names[2] else 0
    count = len(outputs)
    kernel = kernel.at[..., :count].set(0.0)
    bias = bias.at[:count].set(jnp.array([constant for _, constant in outputs]))
    for output, (terms, _) in enumerate(outputs):
      for tap, source, weight in terms:
        kernel = kernel.at[(*tap, start + source, output)].set(weight)
    changed[name] = {"kernel": kernel, "bias": bias}
  return changed
