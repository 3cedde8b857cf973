"""Adam as TensorFlow writes it, and updates that skip gradients that are not finite."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax


class AdamState(NamedTuple):
  """Moments of the gradients, and the number of updates since they were zero."""

  count: chex.Array
  mean: optax.Params
  square: optax.Params


def adam(
  rate: float, *, beta1: float = 0.0, beta2: float = 0.99, epsilon: float = 1e-8
) -> optax.GradientTransformation:
  """Returns Adam with ε beside the root of the uncorrected second moment.

  An update is -η √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε), where other implementations
  add ε to √(v / (1 - β₂ᵗ)): in the first steps theirs counts for more.

  Args:
    rate: η.
    beta1: β₁; 0, the paper's, keeps the last gradient alone.
    beta2: β₂.
    epsilon: ε.

  Source: Kingma and Ba, ICLR 2015, the end of Section 2; Appendix C of the paper.
  """

  def init(params):
    mean, square = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    return AdamState(jnp.zeros((), jnp.int32), mean, square)

  def update(gradients, state, params=None):
    del params
    count = state.count + 1
    correction = jnp.sqrt(1 - beta2**count) / (1 - beta1**count)
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mean, gradients)
    square = jax.tree.map(
      lambda v, g: beta2 * v + (1 - beta2) * jnp.square(g), state.square, gradients
    )
    updates = jax.tree.map(
      lambda m, v: -rate * correction * m / (jnp.sqrt(v) + epsilon), mean, square
    )
    return updates, AdamState(count, mean, square)

  return optax.GradientTransformation(init, update)


def skip_nonfinite(
  optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Returns the optimiser, which leaves everything as it is on a bad gradient.

  One element that is NaN or infinite stops the whole update: parameters and the
  optimiser's state stay those of before.

  Source: the authors' tfutil optimizer.
  """

  def update(gradients, state, params=None):
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradients)]
    is_finite = jnp.all(jnp.stack(finite))
    updates, new = optimizer.update(gradients, state, params)
    updates = jax.tree.map(lambda u: jnp.where(is_finite, u, 0), updates)
    new = jax.tree.map(lambda a, b: jnp.where(is_finite, a, b), new, state)
    return updates, new

  return optax.GradientTransformation(optimizer.init, update)
