"""The forensic analysis network: which manipulation did a photograph undergo (M11)."""

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.constrained import ConstrainedConv
from jaxvision.nn.convolution import Conv
from jaxvision.ops.pooling import max_pool

_GLOROT = nn.initializers.glorot_uniform()


class FAN(nn.Module):
  """Maps images [B, H, W, 3] in [0, 1] to logits [B, num_classes].

  A constrained convolution, 5 x 5 convolutions each followed by 2 x 2 max-pooling, a
  1 x 1 convolution, the mean over space, dense layers. H and W must be at least
  2^len(filters). The published network ends in softmax; its probabilities are the
  softmax of these logits.

  Attributes:
    num_classes: number of manipulations, the native image among them.
    filters: channels of the 5 x 5 convolutions. The defaults are CVPR's network
      (1,341,990 parameters for 5 classes).
    dense: widths of the dense layers; (128, 64) with the TensorFlow 2 code's
      n_dense = 2 (1,185,574 parameters), () with its default.
  """

  num_classes: int = 5
  filters: tuple[int, ...] = (32, 64, 128, 256)
  dense: tuple[int, ...] = (512, 128)

  @nn.compact
  def __call__(self, images: chex.Array) -> chex.Array:
    chex.assert_rank(images, 4)
    chex.assert_type(images, float)
    chex.assert_axis_dimension(images, -1, 3)
    x = ConstrainedConv(name="residual")(images)
    for index, filters in enumerate(self.filters, start=1):
      x = leaky_relu(Conv(filters, (5, 5), kernel_init=_GLOROT, name=f"conv{index}")(x))
      x = max_pool(x)
    x = leaky_relu(
      Conv(self.filters[-1], (1, 1), kernel_init=_GLOROT, name="conv_final")(x)
    )
    x = jnp.mean(x, axis=(1, 2))
    # What the classifier sees, for those who want it: "intermediates".
    self.sow("intermediates", "features", x)
    for index, width in enumerate(self.dense, start=1):
      x = leaky_relu(nn.Dense(width, kernel_init=_GLOROT, name=f"ff{index}")(x))
    return nn.Dense(self.num_classes, kernel_init=_GLOROT, name="predictions")(x)
