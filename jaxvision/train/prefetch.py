"""Batches in order, from wherever they come, with a position to resume at."""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from jaxvision.errors import UserError
from jaxvision.train import replication


class Source:
  """Draws the batch of each step and can go on at any of them.

  `batches` is one of
  - a callable `batches(step) -> batch`: has no position beyond the step;
  - an iterator with `get_state` and `set_state` (grain's): its state is the position;
  - any other iterator or iterable: to resume, the batches of the steps already done
    are drawn once more and dropped, so it must begin afresh with every program.
  """

  def __init__(self, batches: Any):
    is_callable = callable(batches) and not hasattr(batches, "__next__")
    self._batch_of = batches if is_callable else None
    self._iterator = None if is_callable else iter(batches)
    self._has_state = hasattr(self._iterator, "set_state")

  def draw(self, step: int) -> Any:
    """Returns the batch of step `step`, counted from 0; call in order of steps."""
    if self._batch_of is not None:
      return self._batch_of(step)
    try:
      return next(self._iterator)
    except StopIteration:
      raise UserError(f"the batches ended after {step} steps") from None

  def position(self) -> str:
    """Returns the state of the iterator after the last batch drawn, "" for none."""
    if not self._has_state:
      return ""
    state = self._iterator.get_state()
    # grain's DataLoader gives JSON as bytes, its Dataset a dict.
    return state.decode() if isinstance(state, bytes) else json.dumps(state)

  def seek(self, step: int, position: str):
    """Goes to the batch of step `step`, where `position` was taken."""
    if self._has_state and position:
      is_bytes = isinstance(self._iterator.get_state(), bytes)
      self._iterator.set_state(position.encode() if is_bytes else json.loads(position))
    elif self._iterator is not None:
      for _ in itertools.islice(self._iterator, step):
        pass


@dataclasses.dataclass(frozen=True)
class Call:
  """What one dispatch consumes.

  Attributes:
    batches: on the devices, as `replication.shard` puts them there.
    last: number of steps done after it.
    num_examples: in each of its steps, over all processes.
    position: of the source after it.
  """

  batches: Any
  last: int
  num_examples: int
  position: str


def load_calls(
  source: Source, start: int, num_steps: int, grid: Sequence[int]
) -> Iterator[Call]:
  """Yields the calls from step `start` on, drawing no more than `num_steps` batches.

  Each goes to the next multiple of any number in `grid`.
  """
  while start < num_steps:
    last = min(num_steps, *((start // n + 1) * n for n in grid))
    drawn = [source.draw(step) for step in range(start, last)]
    batches = replication.shard(drawn)
    num_examples = len(jax.tree.leaves(drawn[0])[0]) * jax.process_count()
    yield Call(batches, last, num_examples, source.position())
    start = last
