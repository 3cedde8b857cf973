"""Activations whose gradient at the kink is the one networks were trained with."""

import chex
import jax.numpy as jnp


def leaky_relu(x: chex.Array, slope: float = 0.2) -> chex.Array:
  """Returns max(slope · x, x), for slope < 1; the gradient at 0 is the slope.

  TensorFlow's maximum and PyTorch's leaky_relu pass the slope at 0 where
  jax.nn.leaky_relu passes 1, which matters for features that are exactly 0.

  Args:
    x: [...] float.
    slope: gradient below and at 0.

  Returns:
    [...] of x's type.
  """
  chex.assert_type(x, float)
  return jnp.where(x > 0, x, slope * x)
