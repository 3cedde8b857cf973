"""Cost volumes of rectified stereo, and disparities out of them.

Candidate i compares the left pixel x with the right pixel x - i. Volumes are
[N, D, H, W] or [N, D, H, W, C]; where x - i lies outside the right image they are 0.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np


def shifted_views(right: chex.Array, candidates: int) -> chex.Array:
  """Returns the right image moved under the left one, once for every disparity.

  Args:
    right: [N, H, W, C] float.
    candidates: D, disparities 0 to D - 1 in pixels.

  Returns:
    [N, D, H, W, C], right[x - i] or 0.
  """
  chex.assert_rank(right, 4)
  width = right.shape[2]
  padded = jnp.pad(right, ((0, 0), (0, 0), (candidates - 1, 0), (0, 0)))
  starts = range(candidates - 1, -1, -1)
  return jnp.stack([padded[:, :, start : start + width] for start in starts], axis=1)


def in_view(candidates: int, width: int) -> np.ndarray:
  """Returns [D, W] bool: whether x - i lies in the right image."""
  return np.arange(width) >= np.arange(candidates)[:, None]


def concatenation_volume(
  left: chex.Array, right: chex.Array, candidates: int
) -> chex.Array:
  """Returns the features of both views that each disparity brings together.

  Args:
    left: [N, H, W, C] float.
    right: [N, H, W, C] float.
    candidates: D.

  Returns:
    [N, D, H, W, 2 C], left first; all zero where x < i.

  Source: Kendall et al., ICCV 2017, Section 3.2; GetCostVolume in GA-Net's code.
  """
  chex.assert_rank([left, right], 4)
  chex.assert_equal_shape([left, right])
  moved = shifted_views(right, candidates)
  seen = in_view(candidates, left.shape[2])[:, None, :, None]
  return jnp.concatenate([jnp.where(seen, left[:, None], 0), moved], axis=-1)


def absolute_difference_volume(
  left: chex.Array,
  right: chex.Array,
  candidates: int,
  *,
  truncation: float = np.inf,
) -> chex.Array:
  """Returns the mean absolute difference of the channels at every disparity.

  Args:
    left: [N, H, W, C] float.
    right: [N, H, W, C] float.
    candidates: D.
    truncation: the largest difference of a channel, which costs out of view get.

  Returns:
    [N, D, H, W]; where x < i, `truncation` or, without one, the largest difference in
    the volume.
  """
  chex.assert_rank([left, right], 4)
  chex.assert_equal_shape([left, right])
  difference = jnp.abs(left[:, None] - shifted_views(right, candidates))
  cost = jnp.mean(jnp.minimum(difference, truncation), axis=-1)
  seen = in_view(candidates, left.shape[2])[:, None]
  worst = truncation
  if not np.isfinite(truncation):
    worst = jnp.max(jnp.where(seen, cost, 0), axis=(1, 2, 3), keepdims=True)
  return jnp.where(seen, cost, worst)


def expected_disparity(probabilities: chex.Array) -> chex.Array:
  """Returns the sum of d · P(d) over the candidates d = 0 to D - 1.

  Args:
    probabilities: [N, D, H, W] float; they are not normalised here.

  Returns:
    [N, H, W], in candidates.
  """
  chex.assert_rank(probabilities, 4)
  chex.assert_type(probabilities, float)
  numbers = jnp.arange(probabilities.shape[1], dtype=probabilities.dtype)
  return jnp.einsum("ndhw,d->nhw", probabilities, numbers, precision="highest")


def softmin_disparity(cost: chex.Array) -> chex.Array:
  """Returns the expected disparity under softmax(-cost).

  Args:
    cost: [N, D, H, W] float.

  Returns:
    [N, H, W] in [0, D - 1].

  Source: Kendall et al., ICCV 2017, Eq. 1.
  """
  chex.assert_rank(cost, 4)
  return expected_disparity(jax.nn.softmax(-cost, axis=1))


def winner_takes_all(cost: chex.Array) -> chex.Array:
  """Returns the candidate of lowest cost, [N, H, W] float, from [N, D, H, W]."""
  chex.assert_rank(cost, 4)
  return jnp.argmin(cost, axis=1).astype(jnp.float32)
