"""Blurring, doubling and halving of feature maps, alone and with a convolution.

Maps are [B, H, W, C]. All are linear, and automatic differentiation gives the gradients
that their authors state: blurring is its own transpose, doubling is four times the
transpose of halving.

Source: Karras et al., "A Style-Based Generator Architecture for GANs", CVPR 2019,
Appendix C; the fused forms are those of their released code.
"""

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import convolution

BINOMIAL = (1, 2, 1)


def blur(x: chex.Array, taps: tuple[float, ...] = BINOMIAL) -> chex.Array:
  """Returns the maps low-pass filtered, of the same size; zeros lie around them.

  Args:
    x: [B, H, W, C] float.
    taps: odd number of weights along each axis; they are scaled to sum 1.

  Raises:
    ValueError: if their number is even.
  """
  chex.assert_rank(x, 4)
  chex.assert_type(x, float)
  if len(taps) % 2 == 0:
    raise ValueError(f"{len(taps)} taps, not an odd number")
  height, width = x.shape[1:3]
  profile = np.asarray(taps, float) / np.sum(taps)
  margin = (len(taps) // 2,) * 2
  padded = jnp.pad(x, ((0, 0), margin, margin, (0, 0)))
  # One sum over all taps, not rows and then columns as in `filters`: its gradient is
  # one loop too, and takes a third of the time on a CPU.
  return sum(
    jnp.asarray(row * column, x.dtype) * padded[:, i : i + height, j : j + width]
    for i, row in enumerate(profile)
    for j, column in enumerate(profile)
  )


def upsample_nearest(x: chex.Array, factor: int = 2) -> chex.Array:
  """Returns [B, H · factor, W · factor, C]: each element of x fills a square."""
  chex.assert_rank(x, 4)
  chex.assert_scalar_positive(factor)
  batch, height, width, channels = x.shape
  x = x[:, :, None, :, None]
  x = jnp.broadcast_to(x, (batch, height, factor, width, factor, channels))
  return x.reshape(batch, height * factor, width * factor, channels)


def downsample_box(x: chex.Array, factor: int = 2) -> chex.Array:
  """Returns [B, H / factor, W / factor, C]: the means of squares of x.

  Raises:
    ValueError: if the factor does not divide a side.
  """
  chex.assert_rank(x, 4)
  chex.assert_type(x, float)
  chex.assert_scalar_positive(factor)
  batch, height, width, channels = x.shape
  if height % factor or width % factor:
    raise ValueError(f"maps of {height} x {width} in squares of {factor} x {factor}")
  rows, columns = height // factor, width // factor
  squares = x.reshape(batch, rows, factor, columns, factor, channels)
  return jnp.mean(squares, axis=(2, 4))


def upsample_conv(x: chex.Array, kernel: chex.Array) -> chex.Array:
  """Returns conv(upsample_nearest(x), kernel) with fewer multiplications.

  Neighbours in the doubled map are equal, so that their taps can be added first: a
  window of k + 1 and stride 2 has ((k + 1) / 2)² taps for each output instead of k².
  The authors' "fused" layer is this one with the kernel's window flipped.

  Args:
    x: [B, H, W, C] float.
    kernel: [k, k, C, O], k odd; zeros lie around the doubled map.

  Returns:
    [B, 2H, 2W, O].
  """
  _check_window(kernel)
  merged = _sum_over_shifts(kernel[::-1, ::-1])
  return convolution.conv_transpose(x, merged, strides=2, padding="SAME")


def downsample_conv(x: chex.Array, kernel: chex.Array) -> chex.Array:
  """Returns downsample_box(conv(x, kernel)) with fewer multiplications.

  Args:
    x: [B, H, W, C] float, H and W even.
    kernel: [k, k, C, O], k odd; zeros lie around the map.

  Returns:
    [B, H / 2, W / 2, O].

  Raises:
    ValueError: if a side of x is odd.
  """
  _check_window(kernel)
  chex.assert_rank(x, 4)
  if x.shape[1] % 2 or x.shape[2] % 2:
    raise ValueError(f"maps of {x.shape[1]} x {x.shape[2]} cannot be halved")
  margin = kernel.shape[0] // 2
  merged = 0.25 * _sum_over_shifts(kernel)
  return convolution.conv(x, merged, strides=2, padding=margin)


def _check_window(kernel: chex.Array) -> None:
  chex.assert_rank(kernel, 4)
  height, width = kernel.shape[:2]
  if height != width or height % 2 == 0:
    raise ValueError(f"a window of {height} x {width}, not square with odd sides")


def _sum_over_shifts(kernel: chex.Array) -> chex.Array:
  """Returns the sum [k + 1, k + 1, C, O] of the kernel at its four places there."""
  padded = jnp.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
  return padded[1:, 1:] + padded[1:, :-1] + padded[:-1, 1:] + padded[:-1, :-1]
