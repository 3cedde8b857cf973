"""Errors of optical flow as Sintel and KITTI measure them.

Flow is [..., H, W, 2] in pixels; masks are [..., H, W] bool, or 0 and 1.
"""

import chex
import jax.numpy as jnp


def end_point_error(flow: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the distance [..., H, W] of flow [..., H, W, 2] from the truth, pixels."""
  chex.assert_type([flow, truth], float)
  chex.assert_equal_shape([flow, truth])
  chex.assert_axis_dimension(flow, -1, 2)
  return jnp.sqrt(jnp.sum(jnp.square(flow - truth), axis=-1))


def outliers(
  flow: chex.Array,
  truth: chex.Array,
  *,
  pixels: float = 3.0,
  share: float = 0.05,
) -> chex.Array:
  """Returns where the error exceeds both 3 pixels and 5 % of the true length.

  Args:
    flow: [..., H, W, 2].
    truth: [..., H, W, 2].
    pixels: threshold of the error.
    share: threshold of the error over the true length (at least 1e-12).

  Returns:
    [..., H, W] bool.

  Source: Fl of KITTI 2015's development kit.
  """
  error = end_point_error(flow, truth)
  length = jnp.maximum(jnp.sqrt(jnp.sum(jnp.square(truth), axis=-1)), 1e-12)
  return (error > pixels) & (error / length > share)


def masked_mean(values: chex.Array, mask: chex.Array) -> chex.Array:
  """Returns the mean of the values where the mask is 1; NaN where it is so nowhere.

  Values outside of the mask may be anything, NaN too.
  """
  chex.assert_equal_shape([values, mask])
  mask = jnp.asarray(mask, bool)
  return jnp.sum(jnp.where(mask, values, 0)) / jnp.sum(mask)


def flow_errors(
  flow: chex.Array,
  truth: chex.Array,
  *,
  valid: chex.Array | None = None,
  occluded: chex.Array | None = None,
) -> dict[str, chex.Array]:
  """Returns the errors over all valid pixels, the visible ones and the occluded ones.

  Args:
    flow: [..., H, W, 2].
    truth: [..., H, W, 2].
    valid: [..., H, W], where the truth is known; everywhere when None.
    occluded: [..., H, W], what the other image does not show; when None, only "all".

  Returns:
    {"EPE all", "Fl all", and of "noc" and "occ"}: pixels and shares in [0, 1], NaN over
    no pixels.
  """
  error, wrong = end_point_error(flow, truth), outliers(flow, truth)
  valid = jnp.ones(error.shape, bool) if valid is None else jnp.asarray(valid, bool)
  regions = {"all": valid}
  if occluded is not None:
    occluded = jnp.asarray(occluded, bool)
    regions |= {"noc": valid & ~occluded, "occ": valid & occluded}
  return {
    f"{name} {region}": masked_mean(values, mask)
    for region, mask in regions.items()
    for name, values in (("EPE", error), ("Fl", wrong))
  }


def f1_score(predicted: chex.Array, truth: chex.Array) -> chex.Array:
  """Returns the F1 score in [0, 1] of a mask; 1 where both masks are empty."""
  chex.assert_equal_shape([predicted, truth])
  predicted, truth = jnp.asarray(predicted, bool), jnp.asarray(truth, bool)
  hits = jnp.sum(predicted & truth)
  total = jnp.sum(predicted) + jnp.sum(truth)
  return jnp.where(total == 0, 1.0, 2 * hits / jnp.maximum(total, 1))
