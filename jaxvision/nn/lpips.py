"""LPIPS, the learned perceptual distance, on VGG-16.

The heads are the authors' few numbers; the convolutions are those of ImageNet's VGG-16
and come from elsewhere (`published.torchvision.vgg`), or are the caller's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import chex
import jax.numpy as jnp

from jaxvision.nn.vgg import VGG16
from jaxvision.nn.vgg_features import vgg_features
from jaxvision.ops.perceptual import perceptual_distance

# Mean and deviation of ImageNet's pixels, in the units of images in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


def lpips(
  variables: Mapping[str, Any],
  heads: Sequence[chex.Array] | None,
  a: chex.Array,
  b: chex.Array,
  *,
  stages: Sequence[Sequence[int]] = VGG16,
) -> chex.Array:
  """Returns the perceptual distances [N] of image pairs.

  The network is tapped behind the last ReLU of each stage.

  Args:
    variables: of a VGG; see `vgg_features`.
    heads: of each stage, [C] weights of its channels, as `heads` reads them; None
      weighs all alike.
    a: [N, H, W, 3] in [-1, 1].
    b: [N, H, W, 3] in [-1, 1].
    stages: channels of each convolution, one sequence a stage.

  Source: Zhang et al., CVPR 2018, Eq. 1.
  """
  chex.assert_rank([a, b], 4)
  chex.assert_equal_shape([a, b])
  x = (jnp.concatenate([a, b]) - jnp.asarray(SHIFT)) / jnp.asarray(SCALE)
  taps = [f"conv{number}_{len(stage)}" for number, stage in enumerate(stages, 1)]
  maps = [jnp.split(m, 2) for m in vgg_features(variables, x, taps, stages)]
  return perceptual_distance(*zip(*maps, strict=True), heads)
