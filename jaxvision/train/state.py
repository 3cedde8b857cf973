"""The state of a training run: everything a checkpoint must hold of the network."""

from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class State:
  """What one step of training turns into the next.

  Attributes:
    step: int32 scalar, the number of updates done.
    params: one tree, or for adversaries one tree a group:
      {"generator": ..., "discriminator": ...}.
    opt_state: the optimiser's state, or one a group under the same keys.
    model_state: the other flax collections ({"batch_stats": ...}); {} where none.
    ema: exponential moving average of `params` (or of some of its groups), or None.
    rng: typed key from which every step's key is made by `fold_in(rng, step)`; it
      never changes, so a resumed run draws the numbers of an uninterrupted one.
  """

  step: chex.Array
  params: Any
  opt_state: Any
  model_state: Any
  ema: Any
  rng: chex.PRNGKey

  @classmethod
  def create(cls, rng, params, optimizer, *, model_state=None, ema=False) -> "State":
    """Returns the state before the first step.

    Args:
      rng: typed key (`jax.random.key`).
      params: tree of float arrays, or {group: tree}.
      optimizer: an optax transformation, or {group: transformation} with the groups
        of `params`.
      model_state: the other collections of the network; {} when None.
      ema: whether to keep a moving average, which starts at `params`.
    """
    chex.assert_rank(rng, 0)
    if isinstance(optimizer, dict):
      chex.assert_equal(sorted(optimizer), sorted(params))
      opt_state = {name: optimizer[name].init(params[name]) for name in optimizer}
    else:
      opt_state = optimizer.init(params)
    return cls(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt_state=opt_state,
      model_state={} if model_state is None else model_state,
      ema=jax.tree.map(jnp.copy, params) if ema else None,
      rng=rng,
    )
