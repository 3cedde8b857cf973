"""VGG: plain stacks of 3 x 3 convolutions, with or without batch normalisation."""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxvision.nn.batch_norm import batch_norm
from jaxvision.nn.convolution import Conv
from jaxvision.ops.pooling import average_pool

HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_in", "normal")

# Channels of each convolution, one tuple a stage; max-pooling ends a stage.
VGG16 = (
  (64, 64),
  (128, 128),
  (256, 256, 256),
  (512, 512, 512),
  (512, 512, 512),
)
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


class VGG(nn.Module):
  """Maps images [B, H, W, C] to logits [B, num_classes].

  Convolutions are called conv1_1, conv1_2, conv2_1, ... and their normalisations
  bn1_1, ...; dense layers fc6, fc7 and fc8, or only fc8.

  Attributes:
    num_classes: number of logits; 0 for the features alone, [B, h, w, channels].
    stages: channels of each convolution, one sequence a stage.
    norm: whether each convolution is followed by batch normalisation.
    hidden: widths of the dense layers before the last: (4096, 4096) for ImageNet, ()
      for CIFAR.
    pooled: side of the map that the dense layers see; 1 averages it away. Other maps
      are averaged to it in cells, as PyTorch's adaptive pooling does.
    pool_last: whether pooling ends the last stage too.
    average: whether pooling takes means, with TensorFlow's padding "SAME", instead of
      maxima.
    dropout: rate before each dense layer but the first, with `train`.

  Source: Simonyan and Zisserman, ICLR 2015, configurations D and E.
  """

  num_classes: int = 1000
  stages: Sequence[Sequence[int]] = VGG16
  norm: bool = False
  hidden: Sequence[int] = (4096, 4096)
  pooled: int = 7
  pool_last: bool = True
  dropout: float = 0.5
  average: bool = False

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    """Returns the logits of x; training with dropout takes the key "dropout"."""
    chex.assert_rank(x, 4)
    for number, stage in enumerate(self.stages, start=1):
      for index, features in enumerate(stage, start=1):
        x = Conv(
          features,
          (3, 3),
          padding=1,
          use_bias=True,
          kernel_init=HE_NORMAL,
          name=f"conv{number}_{index}",
        )(x)
        if self.norm:
          x = batch_norm(train=train, name=f"bn{number}_{index}")(x)
        x = nn.relu(x)
      if number < len(self.stages) or self.pool_last:
        x = average_pool(x, padding="SAME") if self.average else halve_by_maximum(x)
    if not self.num_classes:
      return x

    x = adaptive_average_pool(x, self.pooled).reshape(len(x), -1)
    for number, features in enumerate((*self.hidden, self.num_classes)):
      if number:
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
      name = f"fc{8 - len(self.hidden) + number}"
      x = nn.Dense(features, kernel_init=HE_NORMAL, name=name)(x)
    return x


def halve_by_maximum(x: chex.Array) -> chex.Array:
  """Returns the maxima of x [B, H, W, C] over 2 x 2 cells; odd borders are dropped.

  On CPU the gradient of a reduction is much faster than that of a pooling window.
  """
  chex.assert_rank(x, 4)
  batch, height, width, channels = x.shape
  x = x[:, : height // 2 * 2, : width // 2 * 2]
  cells = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
  return jnp.max(cells, axis=(2, 4))


def adaptive_average_pool(x: chex.Array, size: int) -> chex.Array:
  """Returns the means of x [B, H, W, C] over size x size cells, as PyTorch's.

  Cell i of an axis of length n reaches from floor(i n / size) to
  ceil((i + 1) n / size), so that cells overlap where the size does not divide n.
  """
  chex.assert_rank(x, 4)
  if x.shape[1:3] == (size, size):
    return x
  rows, columns = (_cells(length, size) for length in x.shape[1:3])
  return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns)


def _cells(length: int, size: int) -> np.ndarray:
  """Returns [size, length] weights of means."""
  index = np.arange(size)[:, None]
  low, high = index * length // size, -(-(index + 1) * length // size)
  inside = (np.arange(length) >= low) & (np.arange(length) < high)
  return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)
