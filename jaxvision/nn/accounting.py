"""What a network costs: operations, parameters and activations of each layer.

Everything follows from shapes; no array is made.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import chex
import flax.linen as nn
import jax

from jaxvision.nn.convolution import Conv


@dataclasses.dataclass(frozen=True)
class LayerCost:
  """Costs of one convolution or dense layer for one image.

  Attributes:
    name: path of the module, "layer1_0/conv1".
    is_convolution: whether it is one; else a dense layer.
    flops: 2 × multiplications; biases do not count.
    weights: elements of its kernels.
    biases: elements of its bias.
    activations: elements of its output.
  """

  name: str
  is_convolution: bool
  flops: int
  weights: int
  biases: int
  activations: int


@dataclasses.dataclass(frozen=True)
class Cost:
  """Costs of a network for one image: those of its layers and their sums."""

  layers: tuple[LayerCost, ...]

  def total(self, attribute: str, *, convolutions_only: bool = False) -> int:
    """Returns the sum of an attribute of `LayerCost` over the layers."""
    return sum(
      getattr(layer, attribute)
      for layer in self.layers
      if layer.is_convolution or not convolutions_only
    )

  @property
  def flops(self) -> int:
    return self.total("flops")

  @property
  def parameters(self) -> int:
    return self.total("weights") + self.total("biases")

  @property
  def activations(self) -> int:
    return self.total("activations")


def cost(
  apply: Callable[[Any, chex.Array], Any], variables: Any, image_shape: Sequence[int]
) -> Cost:
  """Returns what each convolution and dense layer of a network costs.

  Args:
    apply: (variables, images [1, H, W, C]) -> anything, a call of flax modules; it is
      only traced.
    variables: arrays or their shapes.
    image_shape: (H, W, C).
  """
  layers = []

  def record(next_function, args, kwargs, context):
    output = next_function(*args, **kwargs)
    module = context.module
    is_convolution = isinstance(module, (Conv, nn.Conv))
    if context.method_name == "__call__" and (
      is_convolution or isinstance(module, nn.Dense)
    ):
      layers.append(_layer_cost(module, output, is_convolution))
    return output

  def traced(variables, images):
    with nn.intercept_methods(record):
      return apply(variables, images)

  jax.eval_shape(traced, variables, jax.ShapeDtypeStruct((1, *image_shape), float))
  return Cost(tuple(layers))


def _layer_cost(module, output, is_convolution) -> LayerCost:
  leaves = dict(module.variables["params"])
  bias = leaves.pop("bias", None)
  weights = sum(math.prod(leaf.shape) for leaf in leaves.values())
  positions = math.prod(output.shape[1:-1]) if is_convolution else 1
  return LayerCost(
    name="/".join(module.path),
    is_convolution=is_convolution,
    flops=2 * weights * positions,
    weights=weights,
    biases=0 if bias is None else math.prod(bias.shape),
    activations=math.prod(output.shape[1:]),
  )
