"""The three maps of a `Form` in the formulations that XLA runs fast on CPU.

XLA's CPU backend hands one- and two-dimensional convolutions to Eigen, close to the
machine's peak, unless they have groups or a dilated input; what else
`lax.conv_general_dilated` expresses, gradients above all, runs up to a thousand times
slower. Hence

- a third dimension is a sum of two-dimensional convolutions,
- a transposed convolution is one ordinary convolution for each phase of its strides,
- the gradient of a kernel is a sum of matrix products over blocks of outputs,
- a depthwise convolution is a sum of products, and groups are convolved one by one.

Times are milliseconds on one core of an AMD EPYC (Zen 4), float32, jaxlib 0.10.2.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import chex
import jax.numpy as jnp
from jax import lax

from jaxvision.ops import _convolution_lax as plain
from jaxvision.ops._convolution_form import Form

# Outputs a block of `gather`: 256 to 1024 differ by less than 10 %, 4096 takes 1.5 ×
# as long because its patches leave the cache. Products of single channels want less.
_BLOCK = 512
_DEPTHWISE_BLOCK = 64


def correlate(x: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂y: [B, *form.outputs, O]."""
  if form.groups > 1:
    if form.groups == x.shape[-1] and math.prod(form.window) <= 64:
      return _correlate_depthwise(x, kernel, form)
    return _each_group(correlate, x, kernel, form)
  if len(form.spatial) < 3:
    return plain.correlate(x, kernel, form)
  return _correlate_planes(x, kernel, form)


def spread(y: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂x: [B, *form.spatial, C]."""
  channels = kernel.shape[-2] * form.groups
  depthwise = form.groups == y.shape[-1] == channels
  if form.groups > 1 and not depthwise:
    return _each_group(spread, y, kernel, form)
  # Interleaving pictures of few channels costs more than the zeros it saves:
  # 4 × 4 stride 2, 4×64×64×64 -> 3: 2.5 by lax, 3.2 by phases.
  small = all(w <= 2 * s for w, s in zip(form.window, form.strides, strict=True))
  if form.groups == 1 and channels <= 4 and small and len(form.spatial) < 3:
    return _spread_dilated(y, _swap_channels(kernel, 1), form)

  kernel = _swap_channels(kernel, form.groups)
  # Every phase gets the size of the first, the largest, so that they interleave.
  sizes = tuple(-(-n // s) for n, s in zip(form.spatial, form.strides, strict=True))
  per_axis = [
    [_phase(form, axis, phase, sizes[axis]) for phase in range(form.strides[axis])]
    for axis in range(len(sizes))
  ]
  parts = []
  for phases in itertools.product(*per_axis):
    if None in phases:
      parts.append(jnp.zeros((y.shape[0], *sizes, channels), y.dtype))
      continue
    taps, padding, dilation = zip(*phases, strict=True)
    window = jnp.flip(kernel[taps], range(len(sizes)))
    phase_form = Form(
      spatial=y.shape[1:-1],
      window=window.shape[: len(sizes)],
      strides=(1,) * len(sizes),
      padding=padding,
      dilation=dilation,
      groups=form.groups,
      precision=form.precision,
    )
    parts.append(correlate(y, window, phase_form))
  return _interleave(parts, sizes, form)


def gather(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂k: [*form.window, C / groups, O]."""
  channels, features = x.shape[-1], y.shape[-1]
  if form.groups > 1:
    if form.groups != channels or math.prod(form.window) > 64:
      return _each_group(_gather_by_blocks, x, y, form)
    x = jnp.repeat(x, features // channels, axis=-1)
    sums = _sum_over_blocks(_products_of_taps, x, y, form, _DEPTHWISE_BLOCK)
    return sums.reshape(*form.window, 1, features)
  if max(form.strides) == 1 and features < channels:
    # Patches of the narrower array are the smaller ones.
    kernel = gather(y, x, _reverse(form))
    return jnp.flip(jnp.swapaxes(kernel, -1, -2), range(len(form.window)))
  # Copying patches pays when many features meet them. 3 × 3, 16×64×64×32 -> 32: 16 by
  # lax, 21 by products; 8×32×32×128 -> 256 at stride 2: 21 by lax, 14 by products.
  # Without a window there is nothing to copy: 1 × 1, 4×56×56×64 -> 256: 22 and 8.
  few = channels < 48 and channels <= features and math.prod(form.window) > 1
  if few and len(form.spatial) < 3:
    return _gather_by_convolution(x, y, form)
  return _gather_by_blocks(x, y, form)


def _correlate_planes(x: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Convolves [B, D, H, W, C] as [B · D, H, W, C], one tap of the depth at a time."""
  outputs = form.outputs[0]
  slices = [
    part.reshape(-1, *part.shape[2:])
    for part in _shifted(_pad_to_outputs(x, (outputs,), form), form, axes=1)
  ]
  planes = form.without_first_axis()
  if x.shape[-1] < 32:
    # Eigen is slow on few channels: 3 × 3 × 3, 24×32×32×8 -> 8: 1.6, and 6.0 as a sum;
    # with 32 channels 42, and 31 as a sum.
    x = jnp.concatenate(slices, axis=-1)
    y = plain.correlate(x, jnp.concatenate(list(kernel), axis=-2), planes)
  else:
    y = sum(plain.correlate(*tap, planes) for tap in zip(slices, kernel, strict=True))
  return y.reshape(-1, outputs, *y.shape[1:])


def _correlate_depthwise(x: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Sums the products of shifted inputs and taps, in one fused loop.

  3 × 3, 4×56×56×64: 0.5, and 36 by lax.
  """
  x = jnp.repeat(x, kernel.shape[-1] // form.groups, axis=-1)
  views = _shifted(_pad_to_outputs(x, form.outputs, form), form, axes=len(form.window))
  taps = kernel.reshape(-1, kernel.shape[-1])
  return sum(view * tap for view, tap in zip(views, taps, strict=True))


def _each_group(
  apply: Callable, left: chex.Array, right: chex.Array, form: Form
) -> chex.Array:
  """Applies a map to one group of channels after the other, compiled once.

  3 × 3, 2×56×56×128 -> 128 in 32 groups: 22 and 17 for the value and the gradient of
  the input, 13 for that of the kernel; by lax 27, 25 and 3892.
  """
  single = dataclasses.replace(form, groups=1)
  grouped = [
    jnp.moveaxis(a.reshape(*a.shape[:-1], form.groups, -1), -2, 0)
    for a in (left, right)
  ]
  out = lax.map(lambda pair: apply(*pair, single), tuple(grouped))
  out = jnp.moveaxis(out, 0, -2)
  return out.reshape(*out.shape[:-2], -1)


def _spread_dilated(y: chex.Array, swapped: chex.Array, form: Form) -> chex.Array:
  """Convolves y, strides - 1 zeros between its elements, with the flipped window."""
  padding = [
    (e - 1 - low, n - 1 + low - (m - 1) * s)
    for e, n, m, s, (low, _) in zip(
      form.extent, form.spatial, form.outputs, form.strides, form.padding, strict=True
    )
  ]
  return lax.conv_general_dilated(
    y,
    jnp.flip(swapped, range(len(form.window))),
    window_strides=(1,) * len(form.window),
    padding=padding,
    lhs_dilation=form.strides,
    rhs_dilation=form.dilation,
    dimension_numbers=plain.dimension_numbers(form),
    precision=form.precision,
  )


def _gather_by_convolution(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Convolves x with y, examples taken for channels and x's channels for examples.

  XLA's transpose of a convolution is the same in other dimension numbers, which XLA
  maps to Eigen outside of loops only: inside a `scan` it is twenty times slower.
  """
  kernel = lax.conv_general_dilated(
    jnp.swapaxes(x, 0, -1),
    jnp.moveaxis(y, 0, -2),
    window_strides=form.dilation,
    padding=_seen(form.outputs, form),
    rhs_dilation=form.strides,
    dimension_numbers=plain.dimension_numbers(form),
    precision=form.precision,
  )
  return jnp.moveaxis(kernel, 0, -2)


def _gather_by_blocks(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Multiplies outputs with the patches of x that they see."""
  sums = _sum_over_blocks(_product_with_patches, x, y, form, _BLOCK)
  return jnp.moveaxis(sums.reshape(-1, *form.window, x.shape[-1]), 0, -1)


def _sum_over_blocks(
  product: Callable, x: chex.Array, y: chex.Array, form: Form, room: int
) -> chex.Array:
  """Returns Σ product(inputs, outputs, form) over blocks of about `room` outputs.

  The blocks of y are [b, *block, O]; those of x are what their windows see, for a form
  without padding.
  """
  # Whole inner axes as far as there is room, then equal parts of the next.
  blocks = []
  for size in reversed((x.shape[0], *form.outputs)):
    blocks.insert(0, -(-size // -(-size // room)))
    room = max(room // blocks[0], 1)
  sizes = zip(y.shape[:-1], blocks, strict=True)
  counts = [-(-size // block) for size, block in sizes]
  whole = [count * block for count, block in zip(counts, blocks, strict=True)]
  # Outputs are filled up to whole blocks by zeros, which add nothing to the sums.
  y = _pad(y, [(0, w - n) for w, n in zip(whole, y.shape[:-1], strict=True)])
  x = _pad(x, [(0, whole[0] - x.shape[0])])
  x = _pad_to_outputs(x, whole[1:], form)
  steps = (1, *form.strides)
  spans = [
    (block - 1) * step + extent
    for block, step, extent in zip(blocks, steps, (1, *form.extent), strict=True)
  ]
  inside = dataclasses.replace(
    form, spatial=tuple(spans[1:]), padding=((0, 0),) * len(form.spatial)
  )

  def block_product(index):
    corner = jnp.unravel_index(index, counts)
    corner = [i * block for i, block in zip(corner, blocks, strict=True)]
    outputs = lax.dynamic_slice(y, (*corner, 0), (*blocks, y.shape[-1]))
    corner = [i * step for i, step in zip(corner, steps, strict=True)]
    inputs = lax.dynamic_slice(x, (*corner, 0), (*spans, x.shape[-1]))
    return product(inputs, outputs, inside)

  total = lax.fori_loop(
    1,
    math.prod(counts),
    lambda index, sums: sums + block_product(index),
    block_product(0),
  )
  return total.astype(x.dtype)


def _product_with_patches(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Returns [O, taps · C]; the other order takes up to twice as long."""
  patches = jnp.concatenate(_shifted(x, form, axes=len(form.window)), axis=-1)
  return lax.dot_general(
    y.reshape(-1, y.shape[-1]),
    patches.reshape(-1, patches.shape[-1]),
    (((0,), (0,)), ((), ())),
    precision=form.precision,
    preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
  )


def _products_of_taps(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Returns [taps, C]: for each tap and channel the sum of products with outputs."""
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  return jnp.stack(
    [
      jnp.sum(view * y, axis=range(y.ndim - 1), dtype=dtype)
      for view in _shifted(x, form, axes=len(form.window))
    ]
  )


def _shifted(x: chex.Array, form: Form, axes: int) -> list[chex.Array]:
  """Returns what each tap sees along the first spatial axes of a padded input.

  Args:
    x: [B, *spatial, C] padded.
    form: of the convolution; its padding is not applied.
    axes: number of spatial axes whose taps are enumerated, the last fastest.

  Returns:
    one [B, *outputs, ...] a tap.
  """
  extent, dilation, strides = (
    values[:axes] for values in (form.extent, form.dilation, form.strides)
  )
  reaches = [n - e + 1 for n, e in zip(x.shape[1:], extent, strict=False)]
  views = []
  starts = (range(0, e, d) for e, d in zip(extent, dilation, strict=True))
  for start in itertools.product(*starts):
    window = tuple(
      slice(first, first + reach, stride)
      for first, reach, stride in zip(start, reaches, strides, strict=True)
    )
    views.append(x[(slice(None), *window)])
  return views


def _reverse(form: Form) -> Form:
  """Returns the form that exchanges x and y, of strides one, for a flipped window."""
  return dataclasses.replace(
    form,
    spatial=form.outputs,
    padding=tuple(
      (e - 1 - low, n - 1 + low - (m - 1))
      for e, n, m, (low, _) in zip(
        form.extent, form.spatial, form.outputs, form.padding, strict=True
      )
    ),
  )


def _phase(form: Form, axis: int, phase: int, size: int):
  """Returns the convolution that gives x[phase :: stride] of `spread` along an axis.

  Element u of x meets tap t of output i where u + low = stride · i + dilation · t.
  Taps that reach the same phase are stride / gcd apart, dilation / gcd outputs apart.

  Returns:
    (slice of taps, (low, high) padding of y, dilation), or None if no tap gets there.
  """
  stride, dilation = form.strides[axis], form.dilation[axis]
  offset = phase + form.padding[axis][0]
  apart = stride // math.gcd(stride, dilation)
  taps = range(form.window[axis])
  first = next((t for t in taps if (offset - dilation * t) % stride == 0), None)
  if first is None:
    return None
  dilation = dilation // math.gcd(stride, dilation)
  reach = dilation * (len(taps[first::apart]) - 1)
  low = reach - (offset - form.dilation[axis] * first) // stride
  high = size - 1 + reach - low - (form.outputs[axis] - 1)
  return slice(first, None, apart), (low, high), dilation


def _interleave(parts: list[chex.Array], sizes: tuple[int, ...], form: Form):
  """Returns [B, *form.spatial, C] of its phases [B, *sizes, C], the last axis first."""
  if len(parts) == 1:
    return parts[0]
  axes = len(sizes)
  batch, channels = parts[0].shape[0], parts[0].shape[-1]
  x = jnp.stack(parts, axis=1).reshape(batch, *form.strides, *sizes, channels)
  order = [axis for i in range(axes) for axis in (1 + axes + i, 1 + i)]
  x = x.transpose(0, *order, 1 + 2 * axes)
  x = x.reshape(
    batch, *(n * s for n, s in zip(sizes, form.strides, strict=True)), channels
  )
  return x[(slice(None), *(slice(n) for n in form.spatial))]


def _swap_channels(kernel: chex.Array, groups: int) -> chex.Array:
  """Turns [*window, C / groups, O] into [*window, O / groups, C]."""
  *window, inputs, outputs = kernel.shape
  kernel = kernel.reshape(*window, inputs, groups, outputs // groups)
  return jnp.swapaxes(kernel, -1, -3).reshape(*window, -1, groups * inputs)


def _pad_to_outputs(x: chex.Array, outputs: Sequence[int], form: Form) -> chex.Array:
  """Pads (or crops) the first spatial axes to what that many windows see."""
  return _pad(x, [(0, 0), *_seen(outputs, form)])


def _seen(outputs: Sequence[int], form: Form) -> list[tuple[int, int]]:
  """Returns (low, high) by which the first axes grow to what the windows see."""
  return [
    (low, (m - 1) * s + e - low - n)
    for m, n, s, e, (low, _) in zip(
      outputs, form.spatial, form.strides, form.extent, form.padding, strict=False
    )
  ]


def _pad(array: chex.Array, amounts: list[tuple[int, int]]) -> chex.Array:
  """Pads the leading axes by zeros, or crops where an amount is negative."""
  amounts = [*amounts, *[(0, 0)] * (array.ndim - len(amounts))]
  zero = jnp.zeros((), array.dtype)
  return lax.pad(array, zero, [(low, high, 0) for low, high in amounts])
