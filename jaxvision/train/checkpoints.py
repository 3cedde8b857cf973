"""Checkpoints of one stage: orbax writes them, this says what is in them.

A checkpoint, `workdir/checkpoints/<stage>/<step>/`, holds the state as a flat
dictionary of arrays ("params/Dense_0/kernel") and beside it, in JSON, the position of
each process in its data and the best evaluation so far. It is written in the
background into a temporary directory that is renamed when complete, so that a program
killed at any moment leaves only whole ones. Importing this module imports orbax, which
takes a second: do it where checkpoints are read or written.
"""

import contextlib
import dataclasses
import errno
import logging
import math
import os
import textwrap
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from jaxvision.errors import UserError
from jaxvision.train.logbook import NonFiniteError

NEWEST_KEPT = 3


@dataclasses.dataclass
class Progress:
  """What a checkpoint holds besides the state.

  Attributes:
    step: updates done in this stage, which names the checkpoint. (`State.step` counts
      on from stage to stage.)
    positions: where each process is in its data (`Source.position`).
    evaluated: the step of the last evaluation.
    best_step: the step of the best evaluation, None before the first.
    best_value: its metric.
  """

  step: int = 0
  positions: list[str] = dataclasses.field(default_factory=list)
  evaluated: int = 0
  best_step: int | None = None
  best_value: float | None = None

  def position(self) -> str:
    """Returns where this process is in its data.

    Raises:
      UserError: when another number of processes wrote the checkpoint.
    """
    if not any(self.positions):
      return ""
    if len(self.positions) != jax.process_count():
      raise UserError(
        f"the checkpoint of step {self.step} was written by {len(self.positions)} "
        f"processes, whose places in the data {jax.process_count()} cannot take up"
      )
    return self.positions[jax.process_index()]

  def improve(self, step: int, value: float, better: str) -> bool:
    """Notes an evaluation; returns whether it is the best so far."""
    sign = 1 if better == "higher" else -1
    is_best = self.best_value is None or sign * value > sign * self.best_value
    if is_best := is_best and math.isfinite(value):
      self.best_step, self.best_value = step, value
    return is_best


class _Keep:
  """Orbax's preservation policy: the newest checkpoints and the best."""

  def __init__(self):
    self.best_step = None

  def should_preserve(self, checkpoints, *, context):
    kept = {info.step for info in checkpoints[-NEWEST_KEPT:]} | {self.best_step}
    return [info.step in kept for info in checkpoints]


class Checkpoints:
  """The checkpoints in one directory. Every process calls the same methods.

  Use it as a context: leaving waits for the writes under way.
  """

  def __init__(self, directory: epath.Path, log, *, is_reader: bool = False):
    """Opens a directory of checkpoints.

    Args:
      directory: made where it does not exist, unless a reader asks.
      log: called with each warning.
      is_reader: whether another program may be writing there at this time; else what
        killed programs left half written is removed.
    """
    # orbax takes only absolute paths; resolve() would make gs:// a local one.
    self._directory = directory if directory.is_absolute() else directory.resolve()
    self._log = log
    self._keep = _Keep()
    self._damaged = []
    with self._writing():
      self._manager = ocp.CheckpointManager(
        self._directory,
        options=ocp.CheckpointManagerOptions(
          preservation_policy=self._keep,
          create=not is_reader,
          cleanup_tmp_directories=not is_reader,
        ),
        item_names=("state", "progress"),
      )

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    with self._writing():
      self._manager.close()

  def restore(self, like: Any, *, best: bool = False) -> tuple[Any, Progress] | None:
    """Returns state and progress of the newest checkpoint that is not damaged.

    Args:
      like: state of the wanted structure, shapes and dtypes.
      best: whether to read the one that evaluated best instead.

    Returns:
      The state as numpy arrays (and typed keys), or None where there is no checkpoint.

    Raises:
      UserError: when all are damaged, or the state has another structure than `like`.
    """
    found = self._newest()
    if found is None:
      return None
    step, arrays, progress = found
    if best:
      step = progress.best_step
      if step is None:
        raise UserError(f"no checkpoint in {self._directory} was evaluated")
      arrays, _ = self._read(step)
    self._keep.best_step = progress.best_step
    return _unflatten(arrays, like, self._directory / str(step)), progress

  def _newest(self):
    """Returns step, arrays and progress of the newest that can be read, or None."""
    steps = sorted(self._manager.all_steps(), reverse=True)
    for step in steps:
      try:
        return step, *self._read(step)
      except Exception as error:  # damage has no exception class of its own
        self._damaged.append(step)
        self._log(
          f"warning: checkpoint {self._directory / str(step)} is damaged, using the "
          f"one before ({_reason(error)})"
        )
    if steps:
      raise UserError(f"all checkpoints in {self._directory} are damaged")
    return None

  def _read(self, step):
    saved = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.PyTreeRestore(), progress=ocp.args.JsonRestore()
      ),
    )
    progress = dict(saved.progress)
    if progress.pop("checksum") != _checksum(saved.state):
      raise ValueError("its checksum is wrong")
    return saved.state, Progress(**progress)

  def save(self, state: Any, progress: Progress, position: str):
    """Copies the state to the host and begins to write it.

    Args:
      state: on one device.
      progress: takes up the positions.
      position: of this process in its data.

    Raises:
      NonFiniteError: when a parameter is not finite; nothing is written.
      UserError: when this write or the one before fails, e.g. for want of space.
    """
    arrays = _flatten(state)
    for name, array in arrays.items():
      if name.startswith(("params/", "model_state/")) and not _is_finite(array):
        raise NonFiniteError(f"{name} is not finite after step {progress.step}")
    progress.positions = _gather(position)
    record = dataclasses.asdict(progress) | {"checksum": _checksum(arrays)}
    self._keep.best_step = progress.best_step
    with self._writing():
      while self._damaged:
        self._manager.delete(self._damaged.pop())
      self._manager.save(
        progress.step,
        args=ocp.args.Composite(
          state=ocp.args.PyTreeSave(arrays), progress=ocp.args.JsonSave(record)
        ),
        force=True,
      )

  @contextlib.contextmanager
  def _writing(self):
    try:
      yield
    except Exception as error:  # OSError, or ValueError where tensorstore met one
      raise UserError(
        f"cannot write checkpoints to {self._directory}: {_reason(error)} "
        "(earlier checkpoints are intact)"
      ) from error


def _flatten(state):
  """Returns {"params/Dense_0/kernel": numpy array}: copies that nobody donates."""
  leaves = jax.tree_util.tree_leaves_with_path(state)
  leaves = [
    (path, jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    for path, leaf in leaves
  ]
  for _, leaf in leaves:
    leaf.copy_to_host_async()
  return {_name(path): np.array(leaf) for path, leaf in leaves}


def _unflatten(arrays, like, where):
  """Returns `arrays` in the structure of `like`."""
  wanted, structure = jax.tree_util.tree_flatten_with_path(like)
  names = [_name(path) for path, _ in wanted]
  if different := sorted(set(names) ^ set(arrays)):
    whose = "misses" if different[0] in names else "has another"
    raise UserError(
      f"{where} {whose} {different[0]}: it is of another network or optimiser"
    )
  leaves = []
  for name, (_, leaf) in zip(names, wanted, strict=True):
    array = arrays[name]
    raw = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    if (array.shape, array.dtype) != (raw.shape, raw.dtype):
      raise UserError(
        f"{name} is {array.dtype}{list(array.shape)} in {where} but "
        f"{raw.dtype}{list(raw.shape)} here: it is of another network or optimiser"
      )
    if _is_key(leaf):
      array = jax.random.wrap_key_data(array, impl=_implementation(leaf))
    leaves.append(array)
  return jax.tree.unflatten(structure, leaves)


def _name(path):
  return jax.tree_util.keystr(path, simple=True, separator="/")


def _is_key(leaf):
  return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_finite(array):
  return array.dtype.kind in "iub" or np.isfinite(array).all()


def _checksum(arrays):
  """Returns a CRC-32 of all arrays: what orbax stores has none of its own."""
  value = 0
  for name in sorted(arrays):
    value = zlib.crc32(np.ascontiguousarray(arrays[name]).view(np.uint8), value)
  return value


def _gather(text):
  """Returns the texts of all processes."""
  if jax.process_count() == 1:
    return [text]
  data = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.array(data.size))
  padded = np.zeros(max(sizes.max(), 1), np.uint8)
  padded[: data.size] = data
  rows = multihost_utils.process_allgather(padded)
  return [
    bytes(row[:size]).decode() for row, size in zip(rows, sizes.tolist(), strict=True)
  ]


def _reason(error):
  """Returns the cause in a line: tensorstore buries the system's in a paragraph."""
  text = str(error) or type(error).__name__
  for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
    if os.strerror(number) in text:
      return os.strerror(number)
  return textwrap.shorten(text.splitlines()[0], 200, placeholder="...")


def _implementation(key):
  """Returns the generator of a key, which may be abstract."""
  return jax.random.key_impl(jnp.empty(key.shape, key.dtype))


def _is_news(record):
  return not (record.exc_info and "orbax" in record.pathname)


# orbax logs the traceback of every error that it then raises too.
logging.getLogger("absl").addFilter(_is_news)
