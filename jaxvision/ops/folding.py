"""Batch normalisation as part of the convolution before it."""

import chex
import jax.numpy as jnp


def fold_batch_norm(
  kernel: chex.Array,
  bias: chex.Array | None,
  *,
  scale: chex.Array,
  offset: chex.Array,
  mean: chex.Array,
  variance: chex.Array,
  epsilon: float,
) -> tuple[chex.Array, chex.Array]:
  """Returns the kernel and bias that do a convolution and its normalisation at once.

  Args:
    kernel: [*window, C, O] of the convolution, or [C, O] of a dense layer.
    bias: [O] of the convolution, or None.
    scale: [O], γ.
    offset: [O], β.
    mean: [O], running mean.
    variance: [O], running variance, not negative.
    epsilon: what the normalisation adds to the variance.

  Returns:
    Kernel of the same shape, and bias [O].
  """
  chex.assert_type([kernel, scale, offset, mean, variance], float)
  chex.assert_shape([scale, offset, mean, variance], (kernel.shape[-1],))
  factor = scale / jnp.sqrt(variance + epsilon)
  if bias is None:
    bias = jnp.zeros_like(mean)
  return kernel * factor, offset + (bias - mean) * factor
