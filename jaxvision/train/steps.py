"""Training steps: loss function and optimiser in, `step(state, batch)` out."""

import zlib

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvision.errors import UserError
from jaxvision.train import replication


def gradient_step(loss_fn, optimizer, *, group=None, accumulate=1, ema_decay=None):
  """Returns a step that descends the gradient of `loss_fn` once.

  Gradients, metrics and floating-point model state are averaged over the axis "batch"
  where it is bound; unbound, the same step trains on one device under plain `jit`.

  Args:
    loss_fn: (params, model_state, batch, rng) -> (loss, (metrics, new model_state)).
      `loss` is the mean over the batch's leading axis, `metrics` a dict of scalars.
      `rng` differs from step to step and from replica to replica.
    optimizer: optax transformation; a schedule goes into it as optax wants it.
    group: where `state.params` holds several groups, the one to update. `loss_fn` gets
      all of them and only this one's gradient is taken; the metrics' names begin
      with "group/".
    accumulate: number of micro-batches into which the (local) batch is cut and whose
      gradients are averaged; model state passes from each to the next.
    ema_decay: decay of the moving average in `state.ema`, in [0, 1], or a function of
      the step; None leaves `state.ema` alone.

  Returns:
    step(state, batch) -> (state, metrics), where the metrics are those of `loss_fn`,
    "loss" and "gradient_norm" (global L2 norm, which betrays a gradient that is not
    finite before the loss does).

  Raises:
    UserError: while traced, when the batch is no multiple of `accumulate`.
  """
  chex.assert_scalar_positive(accumulate)

  def step(state, batch):
    if ema_decay is not None and state.ema is None:
      raise ValueError("ema_decay needs a state made by State.create(..., ema=True)")
    params = _of(state.params, group)

    def loss_of_group(params, model_state, batch, rng):
      loss, (metrics, model_state) = loss_fn(
        _with(state.params, group, params), model_state, batch, rng
      )
      return loss, ({"loss": loss, **metrics}, model_state)

    gradient = jax.grad(loss_of_group, has_aux=True)
    rng = _step_key(state, group)
    if accumulate == 1:
      gradients, (metrics, model_state) = gradient(
        params, state.model_state, batch, rng
      )
    else:
      gradients, metrics, model_state = _accumulate(
        gradient, params, state.model_state, batch, rng, accumulate
      )
    gradients, metrics, model_state = replication.mean(
      (gradients, metrics, model_state)
    )
    metrics["gradient_norm"] = optax.tree.norm(gradients)

    updates, opt_state = optimizer.update(
      gradients, _of(state.opt_state, group), params
    )
    params = optax.apply_updates(params, updates)
    ema = state.ema
    if ema_decay is not None:
      decay = ema_decay(state.step) if callable(ema_decay) else ema_decay
      average = jax.tree.map(
        lambda old, new: decay * old + (1 - decay) * new, _of(ema, group), params
      )
      ema = _with(ema, group, average)
    state = state.replace(
      step=state.step + 1,
      params=_with(state.params, group, params),
      opt_state=_with(state.opt_state, group, opt_state),
      model_state=model_state,
      ema=ema,
    )
    prefix = "" if group is None else f"{group}/"
    return state, {prefix + name: value for name, value in metrics.items()}

  return step


def sequence(*steps):
  """Returns one step that takes several on the same batch, for adversaries.

  Each sees the parameters the one before has updated; together they count as one
  step:

      step = sequence(
        gradient_step(discriminator_loss, d_optimizer, group="discriminator"),
        gradient_step(generator_loss, g_optimizer, group="generator"),
      )
  """

  def step(state, batch):
    number = state.step
    metrics = {}
    for part in steps:
      state, new = part(state.replace(step=number), batch)
      metrics |= new
    return state.replace(step=number + 1), metrics

  return step


def _of(tree, group):
  return tree if group is None else tree[group]


def _with(tree, group, new):
  return new if group is None else {**tree, group: new}


def _step_key(state, group):
  key = jax.random.fold_in(state.rng, state.step)
  if group is not None:
    # Two groups that learn in the same step must not draw the same noise.
    key = jax.random.fold_in(key, zlib.crc32(group.encode()))
  return jax.random.fold_in(key, replication.replica_index())


def _accumulate(gradient, params, model_state, batch, rng, count):
  """Returns mean gradients and metrics of `count` micro-batches, last model state."""

  def cut(leaf):
    if leaf.shape[0] % count:
      raise UserError(
        f"a local batch of {leaf.shape[0]} examples cannot be cut into {count} "
        "micro-batches of one size"
      )
    return leaf.reshape(count, leaf.shape[0] // count, *leaf.shape[1:])

  def add(carry, inputs):
    total, model_state = carry
    index, micro_batch = inputs
    new, (metrics, model_state) = gradient(
      params, model_state, micro_batch, jax.random.fold_in(rng, index)
    )
    return (jax.tree.map(jnp.add, total, new), model_state), metrics

  zeros = jax.tree.map(jnp.zeros_like, params)
  (total, model_state), metrics = jax.lax.scan(
    add, (zeros, model_state), (jnp.arange(count), jax.tree.map(cut, batch))
  )
  mean = jax.tree.map(lambda leaf: leaf / count, total)
  metrics = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), metrics)
  return mean, metrics, model_state
