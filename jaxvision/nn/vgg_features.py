"""Activations inside a VGG, between which perceptual losses and distances measure."""

from collections.abc import Mapping, Sequence
from typing import Any

import chex
import flax.linen as nn

from jaxvision.nn import vgg


def vgg_features(
  variables: Mapping[str, Any],
  images: chex.Array,
  layers: Sequence[str],
  stages: Sequence[Sequence[int]] = vgg.VGG19,
  *,
  average: bool = False,
) -> list[chex.Array]:
  """Returns activations of a VGG behind the ReLU of the named convolutions.

  Args:
    variables: {"params": ...} as `nn.vgg.VGG` names them; layers behind the last one
      asked for may be missing.
    images: [B, H, W, C] in the range that the weights were trained for.
    layers: "conv1_1", "conv2_1", ... in any order.
    stages: channels of the network's convolutions, one sequence a stage.
    average: whether pooling takes means instead of maxima, see `nn.vgg.VGG`.

  Returns:
    One [B, h, w, channels] for each of `layers`.

  Raises:
    ValueError: a layer is none of the network's.
  """
  chex.assert_rank(images, 4)
  known = [
    f"conv{i}_{j}" for i, s in enumerate(stages, 1) for j in range(1, len(s) + 1)
  ]
  if unknown := set(layers) - set(known):
    raise ValueError(f"layers: {sorted(unknown)} are none of {known}")
  last = known[max(known.index(layer) for layer in layers)]
  stage, index = map(int, last.removeprefix("conv").split("_"))
  cut = (*stages[: stage - 1], stages[stage - 1][:index])
  network = vgg.VGG(num_classes=0, stages=cut, pool_last=False, average=average)
  _, state = network.apply(
    {"params": variables["params"]},
    images,
    capture_intermediates=lambda module, _: module.name in layers,
    mutable="intermediates",
  )
  found = state["intermediates"]
  return [nn.relu(found[layer]["__call__"][0]) for layer in layers]
