"""Mixed precision: the network computes in bfloat16, everything kept is float32."""

from typing import Any

import jax
import jax.numpy as jnp


def cast_floating(tree: Any, dtype) -> Any:
  """Returns `tree` with its floating-point leaves in `dtype`, the others untouched."""

  def cast(leaf):
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

  return jax.tree.map(cast, tree)


def mixed_precision(loss_fn, dtype=jnp.bfloat16):
  """Returns `loss_fn` with its network computing in `dtype`.

  Parameters and batch are cast on the way in; since the cast is differentiated too,
  gradients come back in float32 and so meet, accumulate and update in float32. The
  model state (running statistics) stays in float32 throughout: a momentum of 0.99
  would be lost in bfloat16. Cast the network's output to float32 before reducing it
  to a loss: `loss_fn` alone knows where the network ends.

  Args:
    loss_fn: (params, model_state, batch, rng) -> (loss, (metrics, model_state)), as
      `gradient_step` takes it.
    dtype: of the computation.
  """

  def mixed(params, model_state, batch, rng):
    loss, (metrics, model_state) = loss_fn(
      cast_floating(params, dtype), model_state, cast_floating(batch, dtype), rng
    )
    return cast_floating((loss, (metrics, model_state)), jnp.float32)

  return mixed
