"""From examples at random access to batches for this process's devices.

Every batch is a pure function of its number: which examples it holds and what the
random transforms do to them follow from (seed, epoch, index) alone. So a run that is
resumed sees the same bits as one that was never stopped, whatever the number of
workers, and N processes together see what one alone would see.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import chex
import grain
import jax
import numpy as np
from absl import flags

from jaxvision.errors import UserError

Example = Any  # a tree of arrays and scalars, most often a dict
Transform = Callable[[Example, np.random.Generator], Example]


class Source(Protocol):
  """Examples at random access: a list, an ArraySource, a tfds data source, ..."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> Example: ...


class ArraySource:
  """Examples held in memory: the leading axes of a dict of arrays.

  Args:
    arrays: {name: [N, ...]} arrays of equal length.
  """

  def __init__(self, arrays: Mapping[str, np.ndarray]):
    chex.assert_equal_shape_prefix(list(arrays.values()), 1)
    self._arrays = {name: np.asarray(array) for name, array in arrays.items()}

  def __len__(self) -> int:
    return len(next(iter(self._arrays.values())))

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    return {name: array[index] for name, array in self._arrays.items()}


def batches(
  source: Source,
  *,
  batch_size: int,
  seed: int,
  shuffle: bool = True,
  num_epochs: int | None = None,
  transform: Transform | None = None,
  workers: int = 0,
  drop_remainder: bool = True,
) -> grain.DatasetIterator:
  """Returns this process's share of every batch of a data set.

  Args:
    source: the examples; with workers it must be picklable.
    batch_size: examples of one global batch, over all processes.
    seed: of the order and of the random transforms, not negative.
    shuffle: a new order every epoch; else the order of the source.
    num_epochs: how often each example is seen; for ever when None.
    transform: applied to each example with a generator of its own, which depends only
      on (seed, epoch, index of the example).
    workers: processes that read and transform; 0 does it in threads of this one.
    drop_remainder: leave out the examples at the end of each epoch's order that do not
      fill a batch; else the last batch of each epoch is smaller.

  Returns:
    Iterator of trees of numpy arrays [batch_size / processes, ...]. `get_state()` is
    its position, a dict that JSON can hold; `set_state()` goes there, in a new process
    too, if that has as many workers.

  Raises:
    UserError: the batch size is not a multiple of the number of processes, or the
      source has fewer examples than one batch.
  """
  chex.assert_scalar_positive(batch_size)
  chex.assert_scalar_non_negative(seed)
  processes = jax.process_count()
  remainder = 0 if drop_remainder else len(source) % batch_size
  if batch_size % processes or remainder % processes:
    raise UserError(
      f"{processes} processes cannot share batches of {batch_size}"
      + (f" with a last one of {remainder}" if remainder else "")
    )
  if len(source) < (batch_size if drop_remainder else 1):
    raise UserError(
      f"the data set has {len(source)} examples, fewer than a batch of {batch_size}"
    )
  dataset = grain.MapDataset.source(
    _Batches(
      source=source,
      batch_size=batch_size,
      seed=seed,
      shuffle=shuffle,
      num_epochs=num_epochs,
      transform=transform,
      drop_remainder=drop_remainder,
      process=jax.process_index(),
      processes=processes,
    )
  ).to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
  if workers:
    # Grain's workers ask absl flags, which only absl.app.run parses.
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
  return iter(dataset)


class _Batches:
  """All batches of all epochs as one sequence."""

  def __init__(
    self,
    *,
    source: Source,
    batch_size: int,
    seed: int,
    shuffle: bool,
    num_epochs: int | None,
    transform: Transform | None,
    drop_remainder: bool,
    process: int,
    processes: int,
  ):
    self._source = source
    self._batch_size = batch_size
    self._seed = seed
    self._shuffle = shuffle
    self._transform = transform
    self._process = process
    self._processes = processes
    whole, remainder = divmod(len(source), batch_size)
    self._per_epoch = whole + (remainder > 0 and not drop_remainder)
    self._length = sys.maxsize if num_epochs is None else num_epochs * self._per_epoch

  def __len__(self) -> int:
    return self._length

  def __repr__(self) -> str:
    return f"batches of {self._batch_size} from {len(self._source)} examples"

  def __getitem__(self, number: int) -> Example:
    epoch, number = divmod(number, self._per_epoch)
    first = number * self._batch_size
    order = _order(len(self._source), self._seed if self._shuffle else None, epoch)
    whole = order[first : first + self._batch_size]
    share = np.split(whole, self._processes)[self._process]
    examples = [self._example(epoch, int(index)) for index in share]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *examples)

  def _example(self, epoch: int, index: int) -> Example:
    example = self._source[index]
    if self._transform is None:
      return example
    # The leading 1 keeps this stream apart from those of _order.
    return self._transform(
      example, np.random.default_rng([1, self._seed, epoch, index])
    )


@functools.lru_cache(maxsize=2)
def _order(length: int, seed: int | None, epoch: int) -> np.ndarray:
  """Returns the indices 0..length-1 in the order of an epoch."""
  if seed is None:
    return np.arange(length)
  return np.random.default_rng([0, seed, epoch]).permutation(length)
