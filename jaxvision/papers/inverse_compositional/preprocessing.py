"""What the networks see of colour and depth (M1, M2)."""

import chex
import jax.numpy as jnp

MEAN = (0.4914, 0.4822, 0.4465)
DEVIATION = (0.2023, 0.1994, 0.2010)
LUMINANCE = (0.299, 0.587, 0.114)

LARGEST_INVERSE_DEPTH = 10.0  # 1/m


def normalize_color(images: chex.Array) -> chex.Array:
  """Returns images [..., 3] in [0, 1] with the mean and deviation of CIFAR removed."""
  chex.assert_axis_dimension(images, -1, 3)
  mean, deviation = (jnp.asarray(a, images.dtype) for a in (MEAN, DEVIATION))
  return (images - mean) / deviation


def luminance(images: chex.Array) -> chex.Array:
  """Returns the luminance [..., 1] of images [..., 3]."""
  chex.assert_axis_dimension(images, -1, 3)
  weights = jnp.asarray(LUMINANCE, images.dtype)
  return jnp.sum(images * weights, axis=-1, keepdims=True)


def invert_depth(depth: chex.Array) -> chex.Array:
  """Returns inverse depth with its extremes over the whole batch set to 0 (M1).

  This is the authors' rule. It supposes that depth was clipped to a range: then the
  ends of the range, which stand for missing, too near and too far, are the extremes.

  Args:
    depth: [B, H, W] metres.

  Returns:
    [B, H, W] 1/m; 0 where depth is not known.
  """
  chex.assert_rank(depth, 3)
  inverse = jnp.clip(1 / depth, 0, LARGEST_INVERSE_DEPTH)
  # The largest is looked for when the smallest are 0 already.
  inverse = jnp.where(inverse == jnp.min(inverse), 0, inverse)
  return jnp.where(inverse == jnp.max(inverse), 0, inverse)


def invert_valid_depth(depth: chex.Array, valid: chex.Array) -> chex.Array:
  """Returns inverse depth that is 0 exactly where `valid` is false.

  Args:
    depth: [...] metres, anything where not valid.
    valid: [...] bool.
  """
  chex.assert_equal_shape([depth, valid])
  safe = jnp.where(valid, depth, 1.0)
  return jnp.where(valid, jnp.clip(1 / safe, 0, LARGEST_INVERSE_DEPTH), 0.0)


def is_extreme(depth: chex.Array) -> chex.Array:
  """Returns where depth [B, H, W] is the smallest or the largest of the batch (M12)."""
  return (depth == jnp.min(depth)) | (depth == jnp.max(depth))


def is_in_range(depth: chex.Array, near: float, far: float) -> chex.Array:
  """Returns where depth [...] is finite and strictly between two bounds in metres."""
  return jnp.isfinite(depth) & (depth > near) & (depth < far)
