"""A line through points of which some are wrong (C1).

The loss's shape and scale are learned together with the line.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvision.nn import robust_losses

SLOPE, OFFSET = 0.7, 0.15
LOSSES = ("adaptive", "squared")
_SQUARED_SCALE = 0.1


class Line(NamedTuple):
  """y = slope x + offset.

  Attributes:
    slope, offset: of the line.
    alpha, scale: of the loss, as learned or as they were fixed.
  """

  slope: chex.Array
  offset: chex.Array
  alpha: chex.Array
  scale: chex.Array


@functools.partial(jax.jit, static_argnums=1)
def points(key: chex.PRNGKey, count: int = 50) -> tuple[chex.Array, chex.Array]:
  """Returns x and y [count] of the authors' example.

  y is SLOPE x + OFFSET with noise of 0.025; of a tenth of the points it is thrown to
  0.85 where it was small, to 0.05 where it was large.
  """
  x_key, noise_key, flip_key = jax.random.split(key, 3)
  x = jax.random.uniform(x_key, (count,))
  y = SLOPE * x + OFFSET + 0.025 * jax.random.normal(noise_key, (count,))
  is_flipped = jax.random.permutation(flip_key, count) < round(0.1 * count)
  return x, jnp.where(is_flipped, 0.05 + 0.4 * (1 - jnp.sign(y - 0.5)), y)


@functools.partial(jax.jit, static_argnums=2, static_argnames=("steps", "rate"))
def fit(
  x: chex.Array, y: chex.Array, loss: str, *, steps: int = 2000, rate: float = 0.01
) -> Line:
  """Returns the line through points that Adam finds from y = 0.

  Args:
    x: [N].
    y: [N], of a spread of about 1: the learned scale starts there.
    loss: "adaptive", or "squared" at a scale of 0.1.
    steps: of Adam.
    rate: learning rate.
  """
  chex.assert_type([x, y], float)
  chex.assert_equal_shape([x, y])
  chex.assert_rank(x, 1)
  if loss not in LOSSES:
    raise ValueError(f"loss {loss!r} is none of {', '.join(LOSSES)}")
  module = {
    "adaptive": lambda: robust_losses.AdaptiveLoss((1,)),
    "squared": lambda: robust_losses.AdaptiveLoss(
      (1,),
      alpha_low=2.0,
      alpha_high=2.0,
      scale_low=_SQUARED_SCALE,
      scale_init=_SQUARED_SCALE,
    ),
  }[loss]()
  optimizer = optax.adam(rate)

  def total(params):
    residuals = params["slope"] * x + params["offset"] - y
    return jnp.mean(module.apply(params["loss"], residuals[:, None]))

  def step(carry, _):
    params, state = carry
    updates, state = optimizer.update(jax.grad(total)(params), state)
    return (optax.apply_updates(params, updates), state), None

  zero = jnp.zeros((), x.dtype)
  learned = module.init(jax.random.key(0), x[:1, None])
  params = {"slope": zero, "offset": zero, "loss": learned}
  start = params, optimizer.init(params)
  params = jax.lax.scan(step, start, length=steps)[0][0]
  alpha, scale = (
    module.apply(params["loss"], method=name)[0] for name in ("alpha", "scale")
  )
  return Line(params["slope"], params["offset"], alpha, scale)


def rmse(line: Line) -> chex.Array:
  """Returns how far a line is from the true one on [0, 1], root mean square."""
  # The integral of a quadratic, through its values at the ends.
  start = line.offset - OFFSET
  end = line.slope - SLOPE + start
  return jnp.sqrt((start * start + start * end + end * end) / 3)
