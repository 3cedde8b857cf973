"""Padding conventions of convolutions: PyTorch's, TensorFlow's, and edge modes.

A padding is resolved once, here, into (low, high) amounts per spatial axis:

- an int `p`, or one int per axis: `p` on both sides (PyTorch);
- a pair (low, high) per axis: as it stands; negative amounts crop;
- "VALID": none; "SAME": TensorFlow's, ceil(size / stride) outputs, the odd element
  at the high end. For transposed convolutions they are those of TensorFlow's
  `conv2d_transpose`: size · stride outputs for "SAME".

Where the padded values come from is a second question, answered by a mode:

- "zeros";
- "reflect": mirrored about the centre of the edge element, `c b | a b c | b a`;
- "symmetric": mirrored about the outer side of the edge element, `b a | a b c | c b`;
- "replicate": the edge element repeated, `a a | a b c | c c`;
- "circular": wrapped around, `b c | a b c | a b`.
"""

from collections.abc import Sequence

import chex
import jax.numpy as jnp

Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
Amounts = tuple[tuple[int, int], ...]

_NUMPY_MODES = {
  "zeros": "constant",
  "reflect": "reflect",
  "symmetric": "symmetric",
  "replicate": "edge",
  "circular": "wrap",
}


def per_axis(value: int | Sequence[int], axes: int, name: str) -> tuple[int, ...]:
  """Returns `value` as a tuple with one int per axis.

  Raises:
    ValueError: if a sequence has another length than `axes`.
  """
  values = (value,) * axes if isinstance(value, int) else tuple(value)
  if len(values) != axes:
    raise ValueError(f"{name} {values} must be one int or {axes} of them.")
  return values


def extents(window: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
  """Returns the elements that a dilated window spans, per axis."""
  return tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))


def convolution_padding(
  padding: Padding,
  sizes: Sequence[int],
  extent: Sequence[int],
  strides: Sequence[int],
) -> Amounts:
  """Returns the amounts by which a convolution pads its input.

  Args:
    padding: a convention of the module's docstring.
    sizes: spatial sizes of the input.
    extent: elements that the dilated window spans, per axis.
    strides: per axis.

  Returns:
    (low, high) per axis.

  Raises:
    ValueError: on an unknown name or a wrong number of amounts.
  """
  if padding == "SAME":
    # ceil(size / stride) windows end at (ceil(size / stride) - 1) * stride + extent.
    totals = [
      max((-(-n // s) - 1) * s + e - n, 0)
      for n, e, s in zip(sizes, extent, strides, strict=True)
    ]
    return tuple((total // 2, total - total // 2) for total in totals)
  return _amounts(padding, len(sizes))


def transposed_padding(
  padding: Padding,
  extent: Sequence[int],
  strides: Sequence[int],
  output_padding: Sequence[int],
) -> Amounts:
  """Returns the amounts that a transposed convolution crops from its full output.

  The full output of `n` inputs has (n - 1) · stride + extent elements.

  Args:
    padding: a convention of the module's docstring.
    extent: elements that the dilated window spans, per axis.
    strides: per axis.
    output_padding: elements added at the high end (PyTorch), per axis.

  Returns:
    (low, high) per axis; a negative amount adds elements that are zero or, inside
    the full output, true values.

  Raises:
    ValueError: on an unknown name or a wrong number of amounts.
  """
  if padding == "SAME":
    # total < 0 when the stride exceeds the window: the output still has n · stride.
    totals = [e - s for e, s in zip(extent, strides, strict=True)]
    lows = [max(total, 0) // 2 for total in totals]
    amounts = [(low, total - low) for low, total in zip(lows, totals, strict=True)]
  elif padding == "VALID":
    amounts = [(0, min(e - s, 0)) for e, s in zip(extent, strides, strict=True)]
  else:
    amounts = _amounts(padding, len(extent))
  return tuple(
    (low, high - extra)
    for (low, high), extra in zip(amounts, output_padding, strict=True)
  )


def pad(x: chex.Array, amounts: Amounts, mode: str) -> chex.Array:
  """Pads the spatial axes of a channels-last batch.

  Args:
    x: [B, *spatial, C] any dtype.
    amounts: (low, high) per spatial axis, ≥ 0. "reflect" needs amounts below the
      axis' size, "symmetric" and "circular" amounts up to it.
    mode: a mode of the module's docstring.

  Returns:
    [B, *(low + spatial + high), C].

  Raises:
    ValueError: on an unknown mode, or an amount that the mode cannot fill.
  """
  chex.assert_rank(x, len(amounts) + 2)
  if mode not in _NUMPY_MODES:
    raise ValueError(f"padding mode {mode!r} is none of {sorted(_NUMPY_MODES)}.")
  for size, pair in zip(x.shape[1:-1], amounts, strict=True):
    limit = {"reflect": size - 1, "symmetric": size, "circular": size}.get(mode)
    if min(pair) < 0 or (limit is not None and max(pair) > limit):
      raise ValueError(f"{mode} padding of {pair} on an axis of {size} elements.")
  return jnp.pad(x, ((0, 0), *amounts, (0, 0)), mode=_NUMPY_MODES[mode])


def _amounts(padding: Padding, axes: int) -> Amounts:
  if padding == "VALID":
    return ((0, 0),) * axes
  if isinstance(padding, str):
    raise ValueError(f"padding {padding!r} is neither 'SAME' nor 'VALID'.")
  if isinstance(padding, int):
    return ((padding, padding),) * axes
  pairs = tuple((p, p) if isinstance(p, int) else tuple(p) for p in padding)
  if len(pairs) != axes or any(len(pair) != 2 for pair in pairs):
    raise ValueError(f"padding {padding} must be an int or {axes} ints or pairs.")
  return pairs
