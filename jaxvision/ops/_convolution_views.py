"""Views, edges and groups that both files of CPU formulations share."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import chex
import jax.numpy as jnp
from jax import lax

from jaxvision.ops._convolution_form import Form


def each_group(
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


def shifted(x: chex.Array, form: Form, axes: int) -> list[chex.Array]:
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


def reverse(form: Form) -> Form:
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


def pad_to_outputs(x: chex.Array, outputs: Sequence[int], form: Form) -> chex.Array:
  """Pads (or crops) the first spatial axes to what that many windows see."""
  return pad(x, [(0, 0), *seen(outputs, form)])


def seen(outputs: Sequence[int], form: Form) -> list[tuple[int, int]]:
  """Returns (low, high) by which the first axes grow to what the windows see."""
  return [
    (low, (m - 1) * s + e - low - n)
    for m, n, s, e, (low, _) in zip(
      outputs, form.spatial, form.strides, form.extent, form.padding, strict=False
    )
  ]


def without_crops(x: chex.Array, form: Form) -> tuple[chex.Array, Form]:
  """Applies the padding of a form where some of it is negative.

  XLA's CPU backend reads foreign memory for a window of 1 under such a padding.
  """
  if min(map(min, form.padding)) >= 0:
    return x, form
  x = pad(x, [(0, 0), *form.padding])
  return x, dataclasses.replace(
    form, spatial=x.shape[1:-1], padding=((0, 0),) * len(form.spatial)
  )


def pad(array: chex.Array, amounts: list[tuple[int, int]]) -> chex.Array:
  """Pads the leading axes by zeros, or crops where an amount is negative."""
  amounts = [*amounts, *[(0, 0)] * (array.ndim - len(amounts))]
  zero = jnp.zeros((), array.dtype)
  return lax.pad(array, zero, [(low, high, 0) for low, high in amounts])
