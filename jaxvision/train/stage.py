"""What fit, plan and benchmark need to know of one training stage."""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex

from jaxvision.train.state import State


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage of an experiment's training.

  Attributes:
    name: names the stage's checkpoints and curves.
    init: key -> State; must also run under `jax.eval_shape`.
    step: (state, batch) -> (state, {metric: scalar}), under axis name "batch": it
      averages its gradients and metrics over that axis, as `gradient_step` does.
    batch: tree of `jax.ShapeDtypeStruct` of the global batch, over all devices of all
      processes; the leading axis is the global batch size.
    forward: (state, batch) -> anything: the network's inference, for the benchmark.
  """

  name: str
  init: Callable[[chex.PRNGKey], State]
  step: Callable[[State, Any], tuple[State, dict[str, chex.Array]]]
  batch: Any
  forward: Callable[[State, Any], Any]
