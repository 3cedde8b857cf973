"""Losses of disparities (M10)."""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

# Weights of the heads, first head first, by their number.
HEAD_WEIGHTS = {1: (1.0,), 2: (0.4, 1.2), 3: (0.2, 0.6, 1.0)}
INVALID = 1000.0  # what a true disparity is where it is not known


def smooth_l1(error: chex.Array) -> chex.Array:
  """Returns e² / 2 where |e| < 1 and |e| - 1/2 elsewhere."""
  size = jnp.abs(error)
  return jnp.where(size < 1, 0.5 * jnp.square(size), size - 0.5)


def threshold_loss(error: chex.Array) -> chex.Array:
  """Returns the loss for KITTI, steepest around errors of three pixels.

  e² / 3 where |e| < 3, 2 |e| - (|e| - 3)² / 4 - 3 up to 5, and |e| + 1 beyond.

  Source: what MyLoss2(thresh=3, alpha=2) in the authors' code is meant to be; the paper
    has none. See `authors_threshold_loss`.
  """
  size = jnp.abs(error)
  middle = 2 * size - jnp.square(size - 3) / 4 - 3
  return jnp.where(
    size < 3, jnp.square(size) / 3, jnp.where(size <= 5, middle, size + 1)
  )


@jax.custom_jvp
def authors_threshold_loss(error: chex.Array) -> chex.Array:
  """Returns `threshold_loss` as the authors' code computes it, with its own gradient.

  Their masks are applied one after the other to what the ones before have changed. So
  the loss gains another 1 where it exceeds 5 between errors of 3 and 5, and the slope
  from 3 on is 2/3 of what it is meant to be: (2 - (e - 3) / 2) 2/3, then 2/3.

  Source: MyLoss2Function(thresh=3, alpha=2) in the authors' code.
  """
  size = jnp.abs(error)
  loss = threshold_loss(error)
  return jnp.where((size <= 5) & (size >= 3) & (loss > 5), loss + 1, loss)


@authors_threshold_loss.defjvp
def _authors_threshold_loss_jvp(primals, tangents):
  (error,), (tangent,) = primals, tangents
  size = jnp.abs(error)
  meant = jnp.where(size < 3, size, jnp.where(size <= 5, 2 - (size - 3) / 2, 1.0))
  slope = jnp.sign(error) * meant * (2 / 3)
  return authors_threshold_loss(error), slope * tangent


def disparity_loss(
  disparities: Sequence[chex.Array],
  truth: chex.Array,
  max_disp: float,
  *,
  last=smooth_l1,
) -> chex.Array:
  """Returns the weighted sum of the losses of all heads, means over valid pixels.

  Args:
    disparities: [N, H, W] of each head, one to three.
    truth: [N, H, W] pixels; it counts where it is below max_disp.
    max_disp: see there.
    last: loss of the last head, `smooth_l1` or for KITTI another.

  Returns:
    A scalar; 0 where no pixel is valid.
  """
  chex.assert_equal_shape([truth, *disparities])
  valid = truth < max_disp
  count = jnp.maximum(jnp.sum(valid), 1)
  losses = [smooth_l1] * (len(disparities) - 1) + [last]
  total = jnp.zeros(())
  for weight, loss, disparity in zip(
    HEAD_WEIGHTS[len(disparities)], losses, disparities, strict=True
  ):
    error = disparity - jnp.where(valid, truth, disparity)
    total = total + weight * jnp.sum(loss(error)) / count
  return total
