"""Convolutions and transposed convolutions in one, two and three dimensions.

Arrays are channels last. Both functions cross-correlate, as all networks do: kernel
tap t, counted from the low end, meets input element stride · i + dilation · t - low.
Padding conventions are those of `jaxvision.ops.padding`.

Values and derivatives of any order equal those of `lax.conv_general_dilated`, in
reverse and in forward mode; on CPU they are computed in the faster ways of
`_convolution_cpu`.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops import padding as paddings
from jaxvision.ops._convolution_form import Form
from jaxvision.ops._convolution_primitives import correlate, spread


def conv(
  x: chex.Array,
  kernel: chex.Array,
  *,
  strides: int | Sequence[int] = 1,
  padding: paddings.Padding = "SAME",
  padding_mode: str = "zeros",
  dilation: int | Sequence[int] = 1,
  groups: int = 1,
) -> chex.Array:
  """Returns the convolution of a batch with a kernel, as networks define it.

  Args:
    x: [B, *spatial, C] float, one to three spatial axes.
    kernel: [*window, C / groups, O] float; output channel o reads the input channels
      of group o // (O / groups).
    strides: one int, or one per axis.
    padding: "SAME", "VALID", amounts or pairs of amounts; see `padding`.
    padding_mode: "zeros", "reflect", "symmetric", "replicate" or "circular".
    dilation: distance between the taps of the window: one int, or one per axis.
    groups: number of groups of channels; C makes it depthwise.

  Returns:
    [B, *outputs, O], outputs = (spatial + low + high - extent) // strides + 1 with
    extent = dilation · (window - 1) + 1.

  Raises:
    ValueError: if the padded input is smaller than the window, or an argument does
      not fit the number of axes.
  """
  axes = _check(x, kernel, groups)
  if kernel.shape[-2] * groups != x.shape[-1]:
    raise ValueError(
      f"{x.shape[-1]} channels in {groups} groups do not meet a kernel {kernel.shape}."
    )
  strides = paddings.per_axis(strides, axes, "strides")
  dilation = paddings.per_axis(dilation, axes, "dilation")
  extent = paddings.extents(kernel.shape[:axes], dilation)
  amounts = paddings.convolution_padding(padding, x.shape[1:-1], extent, strides)
  if padding_mode != "zeros":
    x = paddings.pad(x, amounts, padding_mode)
    amounts = ((0, 0),) * axes
  form = Form(
    spatial=x.shape[1:-1],
    window=kernel.shape[:axes],
    strides=strides,
    padding=amounts,
    dilation=dilation,
    groups=groups,
    precision=jax.config.jax_default_matmul_precision,
  )
  if min(form.outputs) < 1:
    raise ValueError(f"No output: {x.shape} padded by {amounts}, window {extent}.")
  return correlate(*_alike(x, kernel), form)


def conv_transpose(
  x: chex.Array,
  kernel: chex.Array,
  *,
  strides: int | Sequence[int] = 1,
  padding: paddings.Padding = "SAME",
  output_padding: int | Sequence[int] = 0,
  dilation: int | Sequence[int] = 1,
  groups: int = 1,
) -> chex.Array:
  """Returns the transposed convolution: each input spreads the kernel over the output.

  Tap t of input i is added to output element stride · i + dilation · t - low. This is
  PyTorch's `conv_transpose` and TensorFlow's `conv_transpose`, whose kernels differ
  in the order of channels only; `flax.linen.ConvTranspose` flips the window.

  Args:
    x: [B, *spatial, C] float, one to three spatial axes.
    kernel: [*window, C / groups, O] float; output channel o reads the input channels
      of group o // (O / groups).
    strides: one int, or one per axis.
    padding: what is cropped from the full output: "SAME" (spatial · strides
      outputs), "VALID", amounts or pairs of amounts; see `padding`.
    output_padding: elements added at the high end, one int or one per axis,
      below the larger of stride and dilation.
    dilation: distance between the taps of the window: one int, or one per axis.
    groups: number of groups of channels.

  Returns:
    [B, *outputs, O], for amounts outputs = (spatial - 1) · strides - low - high +
    dilation · (window - 1) + 1 + output_padding.

  Raises:
    ValueError: if nothing is left of the output, or an argument does not fit.
  """
  axes = _check(x, kernel, groups)
  if kernel.shape[-2] * groups != x.shape[-1]:
    raise ValueError(
      f"{x.shape[-1]} channels in {groups} groups do not meet a kernel {kernel.shape}."
    )
  strides = paddings.per_axis(strides, axes, "strides")
  dilation = paddings.per_axis(dilation, axes, "dilation")
  extra = paddings.per_axis(output_padding, axes, "output_padding")
  if any(
    not 0 <= e < max(s, d) for e, s, d in zip(extra, strides, dilation, strict=True)
  ):
    raise ValueError(
      f"output_padding {extra} must be below strides {strides} or dilation {dilation}."
    )
  extent = paddings.extents(kernel.shape[:axes], dilation)
  amounts = paddings.transposed_padding(padding, extent, strides, extra)
  outputs = tuple(
    (n - 1) * s + e - low - high
    for n, s, e, (low, high) in zip(
      x.shape[1:-1], strides, extent, amounts, strict=True
    )
  )
  if min(outputs) < 1:
    raise ValueError(f"No output: {x.shape} cropped by {amounts}, window {extent}.")
  form = Form(
    spatial=outputs,
    window=kernel.shape[:axes],
    strides=strides,
    padding=amounts,
    dilation=dilation,
    groups=groups,
    precision=jax.config.jax_default_matmul_precision,
  )
  # The form's kernel is that of the convolution from output to input.
  *window, inputs, channels = kernel.shape
  kernel = kernel.reshape(*window, inputs, groups, channels // groups)
  kernel = jnp.swapaxes(kernel, -1, -3)
  kernel = kernel.reshape(*window, channels // groups, groups * inputs)
  return spread(*_alike(x, kernel), form)


def _check(x: chex.Array, kernel: chex.Array, groups: int) -> int:
  """Checks what both functions ask of their arrays; returns the spatial axes."""
  chex.assert_rank(x, {3, 4, 5})
  chex.assert_rank(kernel, x.ndim)
  chex.assert_type([x, kernel], float)
  if kernel.shape[-1] % groups:
    raise ValueError(f"{kernel.shape[-1]} outputs cannot form {groups} equal groups.")
  return x.ndim - 2


def _alike(x: chex.Array, kernel: chex.Array) -> list[chex.Array]:
  """Gives both arrays the same dtype and, inside a `shard_map`, the same axes."""
  dtype = jnp.promote_types(x.dtype, kernel.dtype)
  x, kernel = jnp.asarray(x, dtype), jnp.asarray(kernel, dtype)
  # Types of equal shape still differ where one array varies over mesh axes that the
  # other does not know. A zero of the other's type adds them, and sums the cotangent.
  if jax.typeof(x) != jax.typeof(kernel).update(shape=x.shape):
    x, kernel = (
      x + lax.full_like(kernel, 0, shape=()),
      kernel + lax.full_like(x, 0, shape=()),
    )
  return [x, kernel]
