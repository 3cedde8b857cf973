"""Convolutions constrained to be residual filters."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.convolution import conv

# A discrete Laplacian; residual_kernel discards its centre.
_LAPLACIAN = np.array(
  [
    [0, 0, 0, 0, 0],
    [0, -1, -2, -1, 0],
    [0, -2, 12, -2, 0],
    [0, -1, -2, -1, 0],
    [0, 0, 0, 0, 0],
  ]
)


def residual_kernel(kernel: chex.Array, strength: float = 100.0) -> chex.Array:
  """Returns the kernel whose filters predict their centre and subtract it.

  Off-centre weights are scaled to the sum `strength`, the centre is -strength, so
  that each filter sums to 0. "Centre" is the central tap of the input channel with
  the output's number; the central taps of other channels are free weights.

  Args:
    kernel: [h, w, C, C] free weights, h and w odd. What stands at the centres does
      not matter.
    strength: weight of the prediction.

  Returns:
    [h, w, C, C]. A filter whose free weights sum to 0 has no such scaling and
    becomes infinite; float32 keeps the neighbourhood of that small.

  Source: Bayar and Stamm, IEEE Transactions on Information Forensics and Security
    13(11), 2018, extended to colour by Korus and Memon.
  """
  chex.assert_rank(kernel, 4)
  chex.assert_type(kernel, jnp.float32)
  height, width, channels, outputs = kernel.shape
  if height % 2 != 1 or width % 2 != 1 or channels != outputs:
    raise ValueError(f"kernel {kernel.shape} is not [odd, odd, C, C]")
  centre = np.zeros(kernel.shape, bool)
  centre[height // 2, width // 2] = np.eye(channels, dtype=bool)
  weights = jnp.where(centre, 0.0, kernel)
  total = jnp.sum(weights, axis=(0, 1, 2), keepdims=True)
  return jnp.where(centre, -strength, strength * weights / total)


def laplacian_init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32):
  """Returns [5, 5, C, C] kernels that filter each channel alone by a Laplacian."""
  del key
  if shape[:2] != (5, 5):
    raise ValueError(f"laplacian_init fills 5 x 5 kernels, not {shape}")
  kernel = _LAPLACIAN[:, :, None, None] * np.eye(shape[2], shape[3])
  return jnp.asarray(kernel, dtype)


class ConstrainedConv(nn.Module):
  """A convolution with `residual_kernel`: [B, H, W, C] to [B, H, W, C], linear.

  Attributes:
    strength: see `residual_kernel`.
    kernel_init: initial free weights.
  """

  strength: float = 100.0
  kernel_init: nn.initializers.Initializer = laplacian_init

  @nn.compact
  def __call__(self, images: chex.Array) -> chex.Array:
    chex.assert_rank(images, 4)
    channels = images.shape[-1]
    kernel = self.param("kernel", self.kernel_init, (5, 5, channels, channels))
    # The residual is a small difference of large numbers: float32, whatever the
    # rest of the network computes in.
    return conv(
      images.astype(jnp.float32),
      residual_kernel(kernel, self.strength),
      padding=2,
      padding_mode="symmetric",
    )
