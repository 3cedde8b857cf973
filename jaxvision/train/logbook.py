"""Metrics of the steps: checked, averaged over windows, written and shown."""

import sys
import time

import jax
import numpy as np
import tqdm

from jaxvision.errors import UserError

SECONDS_BETWEEN_LINES = 10.0


class NonFiniteError(UserError):
  """A metric or a parameter became NaN or infinite."""


class Logbook:
  """Takes the metrics of each step in order.

  Every window of `log_every` steps (on the grid of step numbers, so that a resumed run
  has the same windows) its means go to `run.scalars`. A progress bar is shown on a
  terminal, elsewhere one line every ten seconds.
  """

  def __init__(self, run, name, start, num_steps, log_every):
    self._run = run
    self._name = name
    self._num_steps = num_steps
    self._log_every = log_every
    self._total, self._count = np.float64(0), 0
    self._means = {}
    self._step = start
    self._examples_per_step = 0
    self._bar = tqdm.tqdm(
      total=num_steps,
      initial=start,
      desc=name,
      unit="step",
      dynamic_ncols=True,
      disable=not (run.is_main and sys.stderr.isatty()),
    )
    self._began = self._line_time = time.monotonic()
    self._start = self._line_step = start

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    """Ends the bar and says in one line how far the steps came and how fast."""
    self._bar.close()
    seconds = time.monotonic() - self._began
    if self._step > self._start:
      self._line((self._step - self._start) / seconds, f"took {_clock(seconds)}")

  def add(self, names, rows, num_examples):
    """Takes the metrics of the next K steps.

    Args:
      names: M names of metrics.
      rows: [K, M] float32 array.
      num_examples: in each of the steps, over all processes.

    Raises:
      NonFiniteError: naming the first step and the first metric that is not finite.
    """
    rows = np.asarray(rows)
    self._examples_per_step = num_examples
    finite = np.isfinite(rows)
    if not finite.all():
      row, column = np.argwhere(~finite)[0]
      raise NonFiniteError(
        f"{self._name}: {names[column]} is {rows[row, column]} at step "
        f"{self._step + row + 1}"
      )
    for row in rows:
      self._step += 1
      self._total = self._total + row
      self._count += 1
      if self._step % self._log_every == 0 or self._step == self._num_steps:
        means = (self._total / self._count).tolist()
        self._means = dict(zip(names, means, strict=True))
        self._run.scalars(self._name, self._step, self._means)
        self._total, self._count = np.float64(0), 0
        if not self._bar.disable:
          words = self._metrics() + _memory()
          self._bar.set_postfix_str(" ".join(words), refresh=False)
    self._bar.update(len(rows))
    if self._bar.disable:
      self._say()

  def _say(self):
    """Says how far the steps are, if it is time to."""
    if time.monotonic() - self._line_time >= SECONDS_BETWEEN_LINES:
      now = time.monotonic()
      rate = (self._step - self._line_step) / (now - self._line_time)
      self._line_time, self._line_step = now, self._step
      self._line(rate, f"ETA {_clock((self._num_steps - self._step) / rate)}")

  def _line(self, rate, ending):
    speed = f"{rate:.3g} steps/s, {rate * self._examples_per_step:.3g} examples/s"
    words = [f"{self._name}: step {self._step}/{self._num_steps}", *self._metrics()]
    self._run.log(" ".join(words) + f" ({', '.join([speed, ending, *_memory()])})")

  def _metrics(self):
    return [f"{name} {value:.4g}" for name, value in self._means.items()]


def _clock(seconds):
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{seconds:02}"


def _memory():
  """Returns the largest memory in use so far, where the backend tells, as a list."""
  statistics = jax.local_devices()[0].memory_stats() or {}
  if "peak_bytes_in_use" not in statistics:
    return []
  return [f"{statistics['peak_bytes_in_use'] / 2**30:.2f} GiB"]
