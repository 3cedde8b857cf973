"""Losses: what is visible looks alike; what became hidden moves as before (M8 to M14).

Images are [N, B, H, W, 3] in [0, 1], flow [N, B, H, W, 2] in pixels and masks
[N, B, H, W, 1]; N counts pairs of frames, whose losses are added.
"""

from typing import Literal

import chex
import jax.numpy as jnp

from jaxvision.ops import census
from jaxvision.ops.warp import Border, backward_warp, occlusion

CENSUS_RADIUS = 3  # of the window; so many pixels at the border are left out
Photometric = Literal["brightness", "census"]


def robust(x: chex.Array) -> chex.Array:
  """Returns ψ(x) = (|x| + 0.01)^0.4, with gradient 0 at 0.

  Source: M9; abs_robust_loss of ddflow_model.py.
  """
  # jnp.abs has slope 1 at 0, which would give identical pixels a gradient of 6.3.
  magnitude = jnp.where(x > 0, x, jnp.where(x < 0, -x, 0.0))
  return (magnitude + 0.01) ** 0.4


def abs_robust(difference: chex.Array, mask: chex.Array) -> chex.Array:
  """Returns Σ ψ(difference) mask / (2 Σ mask + 1e-6), 0 for an empty mask.

  Args:
    difference: [..., B, H, W, C].
    mask: [..., B, H, W, 1], weights that are 0 or positive.

  Returns:
    [...]; the 2 is there for any number of channels, as in the authors' code.

  Source: M9; abs_robust_loss of ddflow_model.py.
  """
  chex.assert_equal_shape_prefix([difference, mask], difference.ndim - 1)
  chex.assert_axis_dimension(mask, -1, 1)
  axes = (-4, -3, -2, -1)
  return jnp.sum(robust(difference) * mask, axes) / (2 * jnp.sum(mask, axes) + 1e-6)


def census_loss(
  first: chex.Array,
  second: chex.Array,
  mask: chex.Array,
  radius: int = CENSUS_RADIUS,
) -> chex.Array:
  """Returns the robust distance of the census transforms of two images.

  Args:
    first: [..., B, H, W, 3] in [0, 1].
    second: [..., B, H, W, 3], warped to the first.
    mask: [..., B, H, W, 1].
    radius: of the window in pixels, 3 in the paper.

  Returns:
    [...].

  Source: M10; census_loss of ddflow_model.py.
  """
  chex.assert_equal_shape([first, second])
  height, width = first.shape[-3:-1]
  signatures = [
    census.census_transform(
      census.luminance_255(x).reshape(-1, height, width), radius=radius
    )
    for x in (first, second)
  ]
  distance = census.census_distance(*signatures).reshape(*first.shape[:-1], 1)
  inside = census.interior(height, width, radius)[..., None]
  return abs_robust(distance, mask * inside)


def photometric_loss(
  images: chex.Array,
  others: chex.Array,
  flow: chex.Array,
  occluded: chex.Array,
  kind: Photometric,
  border: Border,
  radius: int = CENSUS_RADIUS,
) -> chex.Array:
  """Returns the loss [N] of images and the others warped to them.

  Args:
    images: [N, B, H, W, 3].
    others: [N, B, H, W, 3], to which flow leads.
    flow: [N, B, H, W, 2].
    occluded: [N, B, H, W, 1], pixels that do not count.
    kind: "brightness" (M9) or "census" (M10).
    border: of the warp.
    radius: of the census.
  """
  warped = backward_warp(others, flow, border=border)
  if kind == "brightness":
    return abs_robust(images - warped, 1 - occluded)
  if kind == "census":
    return census_loss(images, warped, 1 - occluded, radius)
  raise ValueError(f"the loss is {kind!r}, not 'brightness' or 'census'")


def pair_flows(flow: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns the flow between neighbours of the middle frame, and the way back (M7).

  Args:
    flow: [2, 3, B, H, W, 2] of the triplets of five frames, see network.Flows.

  Returns:
    [4, B, H, W, 2]: from frame 2 to 3, 3 to 2, 2 to 1, 1 to 2; and of each the
    opposite flow.
  """
  chex.assert_axis_dimension(flow, 0, 2)
  chex.assert_axis_dimension(flow, 1, 3)
  forward, backward = flow
  there = jnp.stack([forward[1], backward[2], backward[1], forward[0]])
  return there, there[jnp.array([1, 0, 3, 2])]


def pair_images(frames: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns the images [4, B, H, W, C] from which and to which `pair_flows` lead."""
  chex.assert_axis_dimension(frames, 0, 5)
  return frames[jnp.array([2, 3, 2, 1])], frames[jnp.array([3, 2, 1, 2])]


def pair_occlusion(flow: chex.Array, border: Border) -> chex.Array:
  """Returns the occlusion [4, B, H, W, 1] of each of `pair_flows`."""
  there, back = pair_flows(flow)
  return occlusion(there, back, border=border)


def unsupervised_loss(
  frames: chex.Array,
  flow: chex.Array,
  occluded: chex.Array,
  kind: Photometric,
  border: Border,
  radius: int = CENSUS_RADIUS,
) -> chex.Array:
  """Returns L_p, summed over the four directions of the two pairs (M11).

  Args:
    frames: [5, B, H, W, 3].
    flow: [2, 3, B, H, W, 2].
    occluded: [4, B, H, W, 1], pixels that do not count; 0 counts every one.
    kind: of the photometric loss.
    border: of the warp.
    radius: of the census.
  """
  there, _ = pair_flows(flow)
  images, others = pair_images(frames)
  return jnp.sum(
    photometric_loss(images, others, there, occluded, kind, border, radius)
  )


def self_supervised_loss(
  teacher: chex.Array,
  student: chex.Array,
  teacher_occluded: chex.Array,
  student_occluded: chex.Array,
) -> chex.Array:
  """Returns L_o: what only the student cannot see is taught by the teacher (M13).

  Args:
    teacher: [N, B, H, W, 2] flow, without gradient.
    student: [N, B, H, W, 2] flow.
    teacher_occluded: [N, B, H, W, 1].
    student_occluded: [N, B, H, W, 1].

  Returns:
    Scalar: half of the sum over the N directions.

  Source: the paper's Eq. 5 and 6; half as in ddflow_model.py.
  """
  became_hidden = jnp.clip(student_occluded - teacher_occluded, 0, 1)
  return jnp.sum(abs_robust(teacher - student, became_hidden)) / 2


def supervised_loss(
  flow: chex.Array, truth: chex.Array, valid: chex.Array
) -> chex.Array:
  """Returns the robust distance from true flow where it is known (M14).

  Args:
    flow: [B, H, W, 2].
    truth: [B, H, W, 2]; anything where not valid.
    valid: [B, H, W] bool.
  """
  known = jnp.asarray(valid, bool)[..., None]
  difference = jnp.where(known, truth, 0) - jnp.where(known, flow, 0)
  return abs_robust(difference, known.astype(flow.dtype))
