"""Batch normalisation over all devices, and folding it away in whole networks."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from jaxvision.ops import folding

EPSILON = 1e-5
MOMENTUM = 0.9  # of the running statistics; PyTorch calls the same 0.1
AXIS = "batch"


def batch_norm(
  *, train: bool, epsilon: float = EPSILON, momentum: float = MOMENTUM, **options: Any
) -> nn.BatchNorm:
  """Returns flax's BatchNorm, its statistics over all devices where there are several.

  flax takes the name of an axis that must be bound; here the axis "batch" is used
  where it is, so that the same network runs in `fit` and under plain `jit`.

  Args:
    train: whether to normalise by the batch's statistics and update the running ones.
    epsilon: added to the variance.
    momentum: share of the old running statistics that stays.
    options: further attributes of `nn.BatchNorm`, such as `name`.
  """
  return nn.BatchNorm(
    use_running_average=not train,
    epsilon=epsilon,
    momentum=momentum,
    axis_name=AXIS if train and is_bound(AXIS) else None,
    **options,
  )


def fold(variables: Mapping[str, Any], epsilon: float = EPSILON) -> dict[str, Any]:
  """Returns the parameters of the same network without its batch normalisations.

  In every (nested) module a normalisation "bnX" follows the convolution "convX", and
  "downsample_1" follows "downsample_0", as `nn.resnet` and `nn.vgg` name them.

  Args:
    variables: {"params": ..., "batch_stats": ...}.
    epsilon: of the normalisations.

  Returns:
    {"params": ...} for the same module with `norm=False`.
  """
  params = _fold(variables["params"], variables.get("batch_stats", {}), epsilon)
  return {"params": params}


def _fold(params, statistics, epsilon):
  folded = {}
  for name, layer in params.items():
    if name in statistics and "mean" in statistics[name]:
      continue  # a normalisation
    norm = _norm_of(name)
    if "kernel" in layer and norm in params:
      kernel, bias = folding.fold_batch_norm(
        layer["kernel"],
        layer.get("bias"),
        scale=params[norm]["scale"],
        offset=params[norm]["bias"],
        mean=statistics[norm]["mean"],
        variance=statistics[norm]["var"],
        epsilon=epsilon,
      )
      folded[name] = {"kernel": kernel, "bias": bias}
    elif "kernel" in layer:
      folded[name] = dict(layer)
    else:
      folded[name] = _fold(layer, statistics.get(name, {}), epsilon)
  return folded


def _norm_of(convolution: str) -> str:
  if convolution == "downsample_0":
    return "downsample_1"
  return convolution.replace("conv", "bn", 1) if "conv" in convolution else ""


def is_bound(axis: str) -> bool:
  """Returns whether the named axis is mapped over where this is traced."""
  try:
    jax.lax.axis_size(axis)
  except NameError:
    return False
  return True
