"""Batch normalisation that keeps PyTorch's running statistics to the digit.

flax's keeps the biased variance, and its momentum is fixed; papers that schedule the
momentum, and numbers that are held against PyTorch's, need the following.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.batch_norm import AXIS, EPSILON, is_bound

MOMENTUM = 0.1  # weight of the new batch, PyTorch's default


class TorchBatchNorm(nn.Module):
  """Normalises over all axes but the last, and over all devices where there are more.

  Its parameters are named as flax's: scale and bias, and mean and var in batch_stats.

  Attributes:
    epsilon: added to the variance.
    affine: whether there are a scale and a bias.
    synchronized: whether the batch's statistics are over all devices.
  """

  epsilon: float = EPSILON
  affine: bool = True
  synchronized: bool = True

  @nn.compact
  def __call__(
    self, x: chex.Array, *, train: bool, momentum: chex.Numeric = MOMENTUM
  ) -> chex.Array:
    """Returns x [..., C] normalised, of the same shape.

    Args:
      x: [..., C].
      train: whether to normalise by the batch's statistics and update the running
        ones, the variance without bias.
      momentum: weight of the new batch in [0, 1]; may be traced.
    """
    channels = x.shape[-1]
    scale, bias = 1.0, 0.0
    if self.affine:
      scale = self.param("scale", nn.initializers.ones, (channels,))
      bias = self.param("bias", nn.initializers.zeros, (channels,))
    running = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
    running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
    if train:
      axes = tuple(range(x.ndim - 1))
      count = x.size // channels
      mean, square = jnp.mean(x, axes), jnp.mean(jnp.square(x), axes)
      if self.synchronized and is_bound(AXIS):
        count = count * jax.lax.axis_size(AXIS)
        mean, square = jax.lax.pmean((mean, square), AXIS)
      var = jnp.maximum(square - jnp.square(mean), 0.0)
      if not self.is_initializing():
        unbiased = var * (count / max(count - 1, 1))
        running.value += momentum * (mean - running.value)
        running_var.value += momentum * (unbiased - running_var.value)
    else:
      mean, var = running.value, running_var.value
    factor = scale * jax.lax.rsqrt(var + self.epsilon)
    return x * factor + (bias - mean * factor)
