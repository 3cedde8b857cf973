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

import itertools
import math

import chex
import jax.numpy as jnp
from jax import lax

from jaxvision.ops import _convolution_lax as plain
from jaxvision.ops import _convolution_views as views
from jaxvision.ops._convolution_form import Form
from jaxvision.ops._convolution_gather import gather

__all__ = ["correlate", "gather", "spread"]


def correlate(x: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂y: [B, *form.outputs, O]."""
  x, form = views.without_crops(x, form)
  if form.groups > 1:
    if form.groups == x.shape[-1] and math.prod(form.window) <= 64:
      return _correlate_depthwise(x, kernel, form)
    return views.each_group(correlate, x, kernel, form)
  if len(form.spatial) < 3:
    return plain.correlate(x, kernel, form)
  return _correlate_planes(x, kernel, form)


def spread(y: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂x: [B, *form.spatial, C]."""
  channels = kernel.shape[-2] * form.groups
  depthwise = form.groups == y.shape[-1] == channels
  if form.groups > 1 and not depthwise:
    return views.each_group(spread, y, kernel, form)
  # Interleaving pictures of few channels costs more than the zeros it saves:
  # 4 × 4 stride 2, 4×64×64×64 -> 3: 2.5 by lax, 3.2 by phases.
  small = all(w <= 2 * s for w, s in zip(form.window, form.strides, strict=True))
  # A negative padding is left to `correlate`, which crops; see `views.without_crops`.
  grows = min(map(min, _dilated_padding(form))) >= 0
  is_flat = form.groups == 1 and len(form.spatial) < 3
  if is_flat and channels <= 4 and small and grows:
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


def _correlate_planes(x: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Convolves [B, D, H, W, C] as [B · D, H, W, C], one tap of the depth at a time."""
  outputs = form.outputs[0]
  slices = [
    part.reshape(-1, *part.shape[2:])
    for part in views.shifted(views.pad_to_outputs(x, (outputs,), form), form, axes=1)
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
  padded = views.pad_to_outputs(x, form.outputs, form)
  seen = views.shifted(padded, form, axes=len(form.window))
  taps = kernel.reshape(-1, kernel.shape[-1])
  return sum(view * tap for view, tap in zip(seen, taps, strict=True))


def _spread_dilated(y: chex.Array, swapped: chex.Array, form: Form) -> chex.Array:
  """Convolves y, strides - 1 zeros between its elements, with the flipped window."""
  return lax.conv_general_dilated(
    y,
    jnp.flip(swapped, range(len(form.window))),
    window_strides=(1,) * len(form.window),
    padding=_dilated_padding(form),
    lhs_dilation=form.strides,
    rhs_dilation=form.dilation,
    dimension_numbers=plain.dimension_numbers(form),
    precision=form.precision,
  )


def _dilated_padding(form: Form) -> list[tuple[int, int]]:
  """Returns the padding of y, zeros between its elements, that gives all of x."""
  return [
    (e - 1 - low, n - 1 + low - (m - 1) * s)
    for e, n, m, s, (low, _) in zip(
      form.extent, form.spatial, form.outputs, form.strides, form.padding, strict=True
    )
  ]


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
