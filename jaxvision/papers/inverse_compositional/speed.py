"""How long the alignment of a 160 x 120 pair takes."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from jaxvision.papers.inverse_compositional.tracker import Tracker

SIZE = (120, 160)
INTRINSICS = (131.25, 131.25, 79.875, 59.875)


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns a row for each tracker and batch size.

  Args:
    seconds: call -> its median time in seconds.
  """
  trackers = {
    "A+B+C": Tracker(),
    "A+B": Tracker(solver="gauss_newton"),
    "A": Tracker(estimator="none", solver="gauss_newton"),
    "no learning": Tracker("RGB", "none", "gauss_newton"),
  }
  table = []
  for name, tracker in trackers.items():
    for pairs in (1, 8):
      variables = tracker.init(jax.random.key(0))

      def track(variables, batch, tracker=tracker):
        return tracker.track(*variables, batch).poses[:, -1]

      call = functools.partial(jax.jit(track), variables, random_batch(pairs))
      duration = seconds(call)
      table.append(
        {
          "name": f"align {name}, 160 x 120",
          "pairs": pairs,
          "milliseconds": 1e3 * duration,
          "milliseconds_per_pair": 1e3 * duration / pairs,
        }
      )
  return table


def random_batch(pairs: int) -> dict[str, np.ndarray]:
  """Returns pairs of random smooth views, on the device."""
  rng = np.random.default_rng(0)
  height, width = SIZE

  def smooth(*shape):
    coarse = rng.random((pairs, height // 8, width // 8, *shape), np.float32)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)

  batch = {f"image{view}": smooth(3) for view in (0, 1)}
  batch |= {f"depth{view}": 1 + 3 * smooth() for view in (0, 1)}
  batch["intrinsics"] = np.tile(np.float32(INTRINSICS), (pairs, 1))
  return jax.device_put(batch)
