"""A whole program that trains: what the tests of faults and of processes start."""

import argparse
import functools
import os
import pathlib
import signal
import time

import jax

from jaxvision.train import distributed, fit
from tests.train import tiny

STEPS = 20
CHECKPOINT_EVERY = 4
BATCH = 48


class Batches:
  """An iterator with a state, like grain's, over this process's share of each batch.

  Before the batch of step `at`, and when the checkpoint due before it is whole, it
  brings on `fault`: a signal to this process, or "write", by which the process is
  killed in the midst of writing the next checkpoint.
  """

  def __init__(self, workdir, fault=None, at=None):
    self._checkpoints = pathlib.Path(workdir) / "checkpoints" / "stage"
    self._fault = fault
    self._at = at
    self._step = 0

  def get_state(self):
    return {"step": self._step, "process": jax.process_index()}

  def set_state(self, state):
    assert state["process"] == jax.process_index(), state
    self._step = state["step"]

  def __iter__(self):
    return self

  def __next__(self):
    if self._step == self._at:
      self._bring_on()
    batch = tiny.batch_of(self._step, BATCH)
    self._step += 1
    share = slice(jax.process_index(), None, jax.process_count())
    return {name: leaf[share] for name, leaf in batch.items()}

  def _bring_on(self):
    due = self._checkpoints / str(self._at - self._at % CHECKPOINT_EVERY)
    while not due.exists():
      time.sleep(0.01)
    if self._fault == "write":
      os.rename = _die
    else:
      os.kill(os.getpid(), getattr(signal, self._fault))


def _die(source, target):
  """Stands for os.rename, by which each finished part of a checkpoint is put up."""
  os.kill(os.getpid(), signal.SIGKILL)


def train(workdir, fault=None, at=None):
  """Trains, or goes on training, in `workdir`; returns the last state."""
  state, step = tiny.make(normalize=True, ema_decay=0.9)
  run = tiny.Run(workdir)
  run.log = functools.partial(print, flush=True)
  last = fit(
    run,
    "stage",
    state,
    step,
    Batches(workdir, fault, at),
    STEPS,
    checkpoint_every=CHECKPOINT_EVERY,
    evaluate=lambda state: {"process": jax.process_index()},
    best=("process", "lower"),
  )
  jax.block_until_ready(state.params)  # fails if the loop had consumed the caller's
  return last


if __name__ == "__main__":
  parser = argparse.ArgumentParser()
  parser.add_argument("workdir")
  parser.add_argument("--fault")
  parser.add_argument("--at", type=int)
  parser.add_argument("--devices", type=int)
  parser.add_argument("--coordinator_address")
  parser.add_argument("--num_processes", type=int)
  parser.add_argument("--process_id", type=int)
  flags = parser.parse_args()
  if flags.devices:
    jax.config.update("jax_num_cpu_devices", flags.devices)
  distributed.initialize(
    flags.coordinator_address, flags.num_processes, flags.process_id
  )
  train(flags.workdir, flags.fault, flags.at)
