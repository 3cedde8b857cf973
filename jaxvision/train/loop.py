"""fit: the one training loop."""

import collections
import functools
import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxvision.errors import UserError
from jaxvision.train import replication
from jaxvision.train.interruption import Interruption
from jaxvision.train.logbook import Logbook
from jaxvision.train.prefetch import Source, load_calls
from jaxvision.train.state import State

# Calls under way on the device while the host prepares the next: one runs, one waits.
CALLS_IN_FLIGHT = 2


def fit(
  run: Any,
  name: str,
  state: State,
  step: Callable,
  batches: Any,
  num_steps: int,
  *,
  eval_every: int = 0,
  evaluate: Callable[[State], dict[str, float]] | None = None,
  checkpoint_every: int | None = None,
  best: tuple[str, str] | None = None,
  steps_per_call: int = 1,
  log_every: int | None = None,
) -> State:
  """Trains one stage on all devices of all processes, or goes on where it stopped.

  A run that was killed and started again ends with the bits of one that was not. On
  SIGTERM or SIGINT the running step is finished and saved, and the program exits with
  status 143 or 130; of several processes, one signalled stops all at the same step.

  Args:
    run: the Run: its `workdir`, `is_main`, `log` and `scalars` are used.
    name: of the stage; its checkpoints are in workdir/checkpoints/name.
    state: initial state, the same in every process. It is copied, not consumed.
    step: (state, batch) -> (state, {metric: scalar}), as `gradient_step` makes it,
      mapped over all devices under the axis name "batch".
    batches: this process's share of the batches, trees of numpy arrays whose leading
      axis is the local batch: `batches(step) -> batch` with steps counted from 0, or
      an iterator. A grain iterator is saved with the state; of any other, the batches
      of the steps already done are drawn again on resuming. The arrays given belong to
      the loop.
    num_steps: updates in all.
    eval_every: steps between calls of `evaluate`; it is called after the last step
      too. 0 for then only.
    evaluate: state -> {metric: number}, called in every process, where the state is on
      one device, valid until the call returns. The numbers are averaged over the
      processes and written as "eval/metric".
    checkpoint_every: steps between checkpoints; a tenth of the run, at most 1000, when
      None; 0 for only the last step.
    best: (metric of `evaluate`, "higher" or "lower"): the checkpoint that is best by
      it is kept besides the newest three.
    steps_per_call: steps that one dispatch takes (`lax.scan`), for models so small that
      dispatching costs more than computing. Fewer where an evaluation, a checkpoint or
      the end comes first; each number is compiled once.
    log_every: steps over which metrics are averaged for `run.scalars`; a hundredth of
      the run, at most 100, when None.

  Returns:
    The state after `num_steps` updates, on one device. A stage that has them already
    returns it at once.

  Raises:
    NonFiniteError: naming step and metric, when one is NaN or infinite. The last
      checkpoint is from before.
    UserError: when batches end, do not fit the devices, or cannot be saved.
  """
  # orbax takes a second to import, which who only builds a step should not wait for.
  from jaxvision.train.checkpoints import Checkpoints, Progress

  chex.assert_scalar_non_negative(num_steps)
  chex.assert_scalar_positive(steps_per_call)
  if best is not None and (evaluate is None or best[1] not in ("higher", "lower")):
    raise ValueError(f'best={best} needs evaluate, and "higher" or "lower"')
  if checkpoint_every is None:
    checkpoint_every = min(1000, math.ceil(num_steps / 10))
  if log_every is None:
    log_every = min(100, math.ceil(num_steps / 100))

  def is_due(every):
    return at == num_steps or (every > 0 and at % every == 0)

  def assess():
    """Evaluates and returns whether this is the best so far."""
    metrics = _mean_over_processes(evaluate(replication.unreplicate(state)))
    run.scalars(name, at, {f"eval/{key}": value for key, value in metrics.items()})
    progress.evaluated = at
    return best is not None and progress.improve(at, metrics[best[0]], best[1])

  with (
    Interruption() as interruption,
    Checkpoints(run.workdir / "checkpoints" / name, run.log) as checkpoints,
  ):
    progress = Progress()
    source = Source(batches)
    if restored := checkpoints.restore(state):
      state, progress = restored
      source.seek(progress.step, progress.position())
      run.log(f"{name}: going on at step {progress.step} of {num_steps}")
    state = replication.replicate(state)
    at = progress.step
    if evaluate and progress.evaluated < at and is_due(eval_every):
      assess()  # a signal came before it

    advance = replication.parallel(step)
    flag = functools.cache(replication.flag)
    in_flight = collections.deque()
    grid = [n for n in (steps_per_call, checkpoint_every, eval_every) if n]
    ahead = load_calls(source, at, num_steps, grid)
    stop = 0
    with Logbook(run, name, at, num_steps, log_every) as logbook:

      def settle():
        """Waits for the oldest call and returns the signal that all have agreed on."""
        call, rows, flagged = in_flight.popleft()
        logbook.add(advance.names, rows, call.num_examples)
        return int(flagged) if jax.process_count() > 1 else interruption.signal

      call = next(ahead, None)
      while call and not stop:
        state, *results = advance(state, call.batches, flag(interruption.signal))
        in_flight.append((call, *results))
        at, position = call.last, call.position
        # Drawn, cut and copied to the devices while they compute.
        call = next(ahead, None)

        evaluation_due = evaluate is not None and is_due(eval_every)
        save_due = is_due(checkpoint_every)
        most = 0 if evaluation_due or save_due else CALLS_IN_FLIGHT - 1
        while len(in_flight) > most:
          stop = settle() or stop
        if evaluation_due and not stop:
          save_due = assess() or save_due
        if save_due or stop:
          while in_flight:
            settle()
          progress.step = at
          checkpoints.save(replication.unreplicate(state), progress, position)
    if stop:
      run.log(f"{name}: stopped by signal {stop}, saved at step {at}")
      interruption.signal = stop
  return replication.unreplicate(state)


def restore(run: Any, name: str, state: State, *, best: bool = False) -> State:
  """Returns the newest checkpoint of a stage that is not damaged, on one device.

  Args:
    run: the Run: its `workdir` and `log` are used.
    name: of the stage.
    state: of the wanted structure, shapes and dtypes; `jax.eval_shape` of its making
      will do.
    best: whether to take the one that evaluated best instead, by the metric that was
      given to `fit`.

  Raises:
    UserError: when there is none, or it is of another network.
  """
  from jaxvision.train.checkpoints import Checkpoints

  directory = run.workdir / "checkpoints" / name
  if not directory.exists():
    raise UserError(f"no checkpoint of {name} in {run.workdir}: train first")
  with Checkpoints(directory, run.log, is_reader=True) as checkpoints:
    restored = checkpoints.restore(state, best=best)
  if restored is None:
    raise UserError(f"no checkpoint of {name} in {run.workdir}: train first")
  return jax.device_put(restored[0])


def _mean_over_processes(metrics):
  values = np.array([float(value) for value in metrics.values()])
  if jax.process_count() > 1:
    values = multihost_utils.process_allgather(values).mean(axis=0)
  return dict(zip(metrics, values.tolist(), strict=True))
