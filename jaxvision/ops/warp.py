"""Warping by optical flow, and what flow in both directions says of occlusion.

Flow is [..., H, W, 2] in pixels, the first channel to the right (u), the second down
(v).
"""

from typing import Literal

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops.sampling import bilinear
from jaxvision.ops.view_synthesis import pixel_grid

Border = Literal["clamp", "zero", "truncate"]


def backward_warp(
  images: chex.Array, flow: chex.Array, *, border: Border = "clamp"
) -> chex.Array:
  """Returns the images read at the place to which flow points, bilinearly.

  warped[y, x] = image[y + v, x + u].

  Args:
    images: [..., H, W, C] float.
    flow: [..., H, W, 2] float, in pixels; not finite gives what is not finite, or the
      border's value, and never reads out of range.
    border: outside of the image,
      "clamp": the border's value goes on;
      "zero": the image is 0, reached over the one pixel around it;
      "truncate": as SelFlow's TensorFlow code has it. Its four neighbours come from
        rounding towards 0 and are clipped to the image before they make the weights:
        0 from the last row and column on (their centres included, so that zero flow
        loses them) and beyond one pixel outside the first; within that pixel the
        slope of the first two goes on.

  Returns:
    [..., H, W, C].

  Source: tf_warp of ppliuboy/SelFlow for "truncate".
  """
  chex.assert_type([images, flow], float)
  chex.assert_shape(flow, (*images.shape[:-1], 2))
  points = pixel_grid(*flow.shape[-3:-1]).astype(flow.dtype) + flow
  if border == "clamp":
    return bilinear(images, points)
  if border == "zero":
    ring = [(0, 0)] * (images.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    return bilinear(jnp.pad(images, ring), points + 1)
  if border == "truncate":
    return _truncating(images, points)
  raise ValueError(f"border is {border!r}, not 'clamp', 'zero' or 'truncate'")


def occlusion(
  flow: chex.Array,
  back: chex.Array,
  *,
  relative: float = 0.01,
  absolute: float = 0.5,
  border: Border = "clamp",
) -> chex.Array:
  """Returns where flow there and flow back do not lead to the same pixel again.

  Occluded is |w + ŵ|² > relative (|w|² + |ŵ|²) + absolute, ŵ the flow back at the
  place to which w points.

  Args:
    flow: [..., H, W, 2] from the first image to the second.
    back: [..., H, W, 2] from the second image to the first.
    relative: of the squared lengths.
    absolute: in squared pixels.
    border: see `backward_warp`.

  Returns:
    [..., H, W, 1] of flow's type, 1 where occluded, 0 elsewhere; without gradient.

  Source: Meister et al., UnFlow, AAAI 2018, Eq. 2. SelFlow prints 0.05 for
    `absolute`; its code has 0.5.
  """
  chex.assert_equal_shape([flow, back])
  flow, back = jax.lax.stop_gradient((flow, back))
  back = backward_warp(back, flow, border=border)

  def square(vectors):
    return jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)

  allowed = relative * (square(flow) + square(back)) + absolute
  return (square(flow + back) > allowed).astype(flow.dtype)


def _truncating(images: chex.Array, points: chex.Array) -> chex.Array:
  """Returns the images at points, in the manner of "truncate"."""
  height, width, channels = images.shape[-3:]
  pixels = jnp.asarray(images).reshape(-1, channels)
  flat = points.reshape(-1, height, width, 2)
  number = jnp.arange(len(flat))[:, None, None] * (height * width)

  def neighbours(positions, size):
    """Returns both neighbours on an axis, and the weight of each."""
    low = jnp.trunc(positions).astype(jnp.int32)
    # Clipped twice: the largest integer has no successor.
    low = jnp.clip(low, -2, size)
    low, high = jnp.clip(low, 0, size - 1), jnp.clip(low + 1, 0, size - 1)
    return (low, high), (high - positions, positions - low)

  columns, across = neighbours(flat[..., 0], width)
  rows, down = neighbours(flat[..., 1], height)
  # In this order the terms leave the authors' rounding where they cancel, which their
  # network then divides by its own length.
  terms = []
  for column, horizontal in zip(columns, across, strict=True):
    for row, vertical in zip(rows, down, strict=True):
      index = number + row * width + column
      read = pixels.at[index].get(mode="promise_in_bounds")
      terms.append((vertical * horizontal)[..., None] * read)
  return sum(terms[1:], terms[0]).reshape(images.shape)
