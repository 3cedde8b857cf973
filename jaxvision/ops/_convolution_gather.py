"""The gradient of a kernel in the formulations that XLA runs fast on CPU.

See `_convolution_cpu`, whose third map it is; times are as there.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.ops import _convolution_lax as plain
from jaxvision.ops import _convolution_views as views
from jaxvision.ops._convolution_form import Form

# Outputs a block of `gather`: 256 to 1024 differ by less than 10 %, 4096 takes 1.5 ×
# as long because its patches leave the cache. Products of single channels want less.
_BLOCK = 512
_DEPTHWISE_BLOCK = 64


def gather(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂k: [*form.window, C / groups, O]."""
  channels, features = x.shape[-1], y.shape[-1]
  if form.groups > 1:
    if form.groups != channels or math.prod(form.window) > 64:
      return views.each_group(_gather_by_blocks, x, y, form)
    x = jnp.repeat(x, features // channels, axis=-1)
    sums = _sum_over_blocks(_products_of_taps, x, y, form, _DEPTHWISE_BLOCK)
    return sums.reshape(*form.window, 1, features)
  if max(form.strides) == 1 and features < channels:
    # Patches of the narrower array are the smaller ones.
    kernel = gather(y, x, views.reverse(form))
    return jnp.flip(jnp.swapaxes(kernel, -1, -2), range(len(form.window)))
  # Copying patches pays when many features meet them. 3 × 3, 16×64×64×32 -> 32: 16 by
  # lax, 21 by products; 8×32×32×128 -> 256 at stride 2: 21 by lax, 14 by products.
  # Without a window there is nothing to copy: 1 × 1, 4×56×56×64 -> 256: 22 and 8.
  few = channels < 48 and channels <= features and math.prod(form.window) > 1
  if few and len(form.spatial) < 3:
    return _gather_by_convolution(x, y, form)
  if _has_whole_cells(form):
    return _gather_by_cells(x, y, form)
  return _gather_by_patches(x, y, form)


def _gather_by_patches(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  if len(form.spatial) == 3 and form.strides[0] == 1:
    return _gather_by_planes(x, y, form)
  return _gather_by_blocks(x, y, form)


def _gather_by_convolution(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Convolves x with y, examples taken for channels and x's channels for examples.

  XLA's transpose of a convolution is the same in other dimension numbers, which XLA
  maps to Eigen outside of loops only: inside a `scan` it is twenty times slower.
  """
  seen = dataclasses.replace(form, padding=tuple(views.seen(form.outputs, form)))
  x, seen = views.without_crops(x, seen)
  kernel = lax.conv_general_dilated(
    jnp.swapaxes(x, 0, -1),
    jnp.moveaxis(y, 0, -2),
    window_strides=form.dilation,
    padding=seen.padding,
    rhs_dilation=form.strides,
    dimension_numbers=plain.dimension_numbers(form),
    precision=form.precision,
  )
  return jnp.moveaxis(kernel, 0, -2)


def _gather_by_blocks(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Multiplies outputs with the patches of x that they see."""
  sums = _sum_over_blocks(_product_with_patches, x, y, form, _BLOCK)
  return jnp.moveaxis(sums.reshape(-1, *form.window, x.shape[-1]), 0, -1)


def _gather_by_planes(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Multiplies the patches of each plane of x with all the planes of y that see it.

  The patches are copied once for all taps of the depth. 3 × 3 × 3, 24×32×64×32 -> 32:
  34, and 41 by three-dimensional patches.
  """
  (batch, depth), channels, features = x.shape[:2], x.shape[-1], y.shape[-1]
  inner, taps, dilation = form.without_first_axis(), form.window[0], form.dilation[0]
  blocks = _divide(inner.outputs, _BLOCK)
  counts = [-(-m // block) for m, block in zip(inner.outputs, blocks, strict=True)]
  whole = [count * block for count, block in zip(counts, blocks, strict=True)]
  # Plane p of x meets tap t at output p + low - dilation · t; zeros are around them.
  reach = dilation * (taps - 1)
  front = reach - form.padding[0][0]
  edges = [(0, w - m) for w, m in zip(whole, inner.outputs, strict=True)]
  y = views.pad(y, [(0, 0), (front, depth + reach - front - y.shape[1]), *edges])
  x = views.pad(x, [(0, 0), (0, 0), *views.seen(whole, inner)])
  inside = _inside(inner, blocks)

  def block_product(index):
    example, plane, *corner = jnp.unravel_index(index, (batch, depth, *counts))
    corner = [i * block for i, block in zip(corner, blocks, strict=True)]
    outputs = lax.dynamic_slice(
      y, (example, plane, *corner, 0), (1, reach + 1, *blocks, features)
    )
    corner = [i * step for i, step in zip(corner, inner.strides, strict=True)]
    inputs = lax.dynamic_slice(
      x, (example, plane, *corner, 0), (1, 1, *inside.spatial, channels)
    )
    patches = _patches(inputs[0], inside)
    return jnp.stack(
      [_product(outputs[0, at], patches, form) for at in range(0, reach + 1, dilation)]
    )

  total = _sum(block_product, batch * depth * math.prod(counts))
  kernel = total[::-1].reshape(taps, features, *inner.window, channels)
  return jnp.moveaxis(kernel, 1, -1).astype(x.dtype)


def _has_whole_cells(form: Form) -> bool:
  """Returns whether windows, larger than their strides, are whole multiples of them."""
  return (
    form.window != form.strides
    and max(form.strides) > 1
    and max(form.dilation) == 1
    and all(w % s == 0 for w, s in zip(form.window, form.strides, strict=True))
  )


def _gather_by_cells(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Takes the cells of x between strides for channels of a form without strides.

  4 × 4 × 4 stride 2, 24×32×64×32 -> 32: 15, compiled in 1.6 s; by blocks 20 and 7 s.
  """
  strides, axes, channels = form.strides, len(form.window), x.shape[-1]
  window = [w // s for w, s in zip(form.window, strides, strict=True)]
  cells = [m + w - 1 for m, w in zip(form.outputs, window, strict=True)]
  x = views.pad(
    x,
    [(0, 0)]
    + [
      (low, cell * s - low - n)
      for cell, s, n, (low, _) in zip(
        cells, strides, form.spatial, form.padding, strict=True
      )
    ],
  )
  split = [size for pair in zip(cells, strides, strict=True) for size in pair]
  x = x.reshape(x.shape[0], *split, channels)
  outer, within = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
  x = x.transpose(0, *outer, *within, 2 * axes + 1).reshape(x.shape[0], *cells, -1)
  dense = dataclasses.replace(
    form,
    spatial=tuple(cells),
    window=tuple(window),
    strides=(1,) * axes,
    padding=((0, 0),) * axes,
  )
  kernel = _gather_by_patches(x, y, dense).reshape(*window, *strides, channels, -1)
  order = [axis for i in range(axes) for axis in (i, axes + i)]
  kernel = kernel.transpose(*order, 2 * axes, 2 * axes + 1)
  return kernel.reshape(*form.window, channels, -1)


def _sum_over_blocks(
  product: Callable, x: chex.Array, y: chex.Array, form: Form, room: int
) -> chex.Array:
  """Returns Σ product(inputs, outputs, form) over blocks of about `room` outputs.

  The blocks of y are [b, *block, O]; those of x are what their windows see, for a form
  without padding.
  """
  blocks = _divide((x.shape[0], *form.outputs), room)
  sizes = zip(y.shape[:-1], blocks, strict=True)
  counts = [-(-size // block) for size, block in sizes]
  whole = [count * block for count, block in zip(counts, blocks, strict=True)]
  # Outputs are filled up to whole blocks by zeros, which add nothing to the sums.
  y = views.pad(y, [(0, w - n) for w, n in zip(whole, y.shape[:-1], strict=True)])
  x = views.pad(x, [(0, whole[0] - x.shape[0])])
  x = views.pad_to_outputs(x, whole[1:], form)
  steps = (1, *form.strides)
  inside = _inside(form, blocks[1:])

  def block_product(index):
    corner = jnp.unravel_index(index, counts)
    corner = [i * block for i, block in zip(corner, blocks, strict=True)]
    outputs = lax.dynamic_slice(y, (*corner, 0), (*blocks, y.shape[-1]))
    corner = [i * step for i, step in zip(corner, steps, strict=True)]
    inputs = lax.dynamic_slice(
      x, (*corner, 0), (blocks[0], *inside.spatial, x.shape[-1])
    )
    return product(inputs, outputs, inside)

  return _sum(block_product, math.prod(counts)).astype(x.dtype)


def _divide(sizes: Sequence[int], room: int) -> list[int]:
  """Returns the sizes of blocks of about `room` elements.

  They are whole in the inner axes as far as there is room, and equal parts of the next.
  """
  blocks = []
  for size in reversed(sizes):
    blocks.insert(0, -(-size // -(-size // room)))
    room = max(room // blocks[0], 1)
  return blocks


def _inside(form: Form, blocks: Sequence[int]) -> Form:
  """Returns the form of one block of outputs and the inputs that it sees."""
  spans = [
    (block - 1) * step + extent
    for block, step, extent in zip(blocks, form.strides, form.extent, strict=True)
  ]
  return dataclasses.replace(
    form, spatial=tuple(spans), padding=((0, 0),) * len(form.spatial)
  )


def _sum(term: Callable[[chex.Numeric], chex.Array], count: int) -> chex.Array:
  """Returns Σ term(i) over 0 <= i < count, compiled once for all terms."""
  if count == 1:
    return term(0)
  zeros = jnp.zeros_like(jax.eval_shape(term, 0))
  return lax.fori_loop(0, count, lambda index, sums: sums + term(index), zeros)


def _product_with_patches(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Returns [O, taps · C]: y's outputs times the patches that they see."""
  return _product(y, _patches(x, form), form)


def _patches(x: chex.Array, form: Form) -> chex.Array:
  """Returns [..., taps · C]: what each output sees of x, for a form without padding."""
  axes = len(form.window)
  if x.shape[-1] < 48:
    return jnp.concatenate(views.shifted(x, form, axes), axis=-1)
  # An axis at a time there are fewer pieces: as fast (with fewer channels half as
  # fast), and compiled in half the time.
  for axis in reversed(range(axes)):
    reach = x.shape[axis + 1] - form.extent[axis] + 1
    pieces = [
      lax.slice_in_dim(x, tap, tap + reach, form.strides[axis], axis + 1)
      for tap in range(0, form.extent[axis], form.dilation[axis])
    ]
    x = jnp.concatenate(pieces, axis=-1)
  return x


def _product(y: chex.Array, patches: chex.Array, form: Form) -> chex.Array:
  """Returns [O, taps · C] summed over outputs; the other order takes twice as long."""
  return lax.dot_general(
    y.reshape(-1, y.shape[-1]),
    patches.reshape(-1, patches.shape[-1]),
    (((0,), (0,)), ((), ())),
    precision=form.precision,
    preferred_element_type=jnp.promote_types(y.dtype, jnp.float32),
  )


def _products_of_taps(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Returns [taps, C]: for each tap and channel the sum of products with outputs."""
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  return jnp.stack(
    [
      jnp.sum(view * y, axis=range(y.ndim - 1), dtype=dtype)
      for view in views.shifted(x, form, axes=len(form.window))
    ]
  )
