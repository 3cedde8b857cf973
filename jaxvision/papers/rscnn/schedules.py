"""How the learning rate and the weight of a new batch's statistics decay."""

import chex
import jax.numpy as jnp


def learning_rate_factor(
  epoch: chex.Numeric, *, decay: float = 0.7, every: int = 21, lowest: float = 0.01
) -> chex.Array:
  """Returns the factor max(decay^⌊epoch / every⌋, lowest) of the learning rate.

  Args:
    epoch: counted from 0.
    decay: 0.7 for classification, 0.5 for segmentation.
    every: epochs between decays.
    lowest: the factor never falls below.

  Source: train_cls.py; 4.1 says every 20 epochs.
  """
  return jnp.maximum(decay ** jnp.floor(jnp.asarray(epoch) / every), lowest)


def norm_momentum(
  epoch: chex.Numeric,
  *,
  start: float = 0.9,
  decay: float = 0.5,
  every: int = 21,
  lowest: float = 0.01,
  released: bool = False,
) -> chex.Array:
  """Returns max(start · decay^⌊(epoch - 1) / every⌋, lowest), the new batch's weight.

  Args:
    epoch: counted from 0.
    start: weight at first.
    decay: of the weight.
    every: epochs between decays.
    lowest: the weight never falls below.
    released: whether epoch 0 has the weight start / decay = 1.8, as in the authors'
      code, instead of `start`: running statistics of -0.8 old + 1.8 new.
  """
  exponent = jnp.floor((jnp.asarray(epoch) - 1) / every)
  if not released:
    exponent = jnp.maximum(exponent, 0)
  return jnp.maximum(start * decay**exponent, lowest)
