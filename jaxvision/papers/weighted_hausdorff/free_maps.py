"""The loss without a network: every pixel of a map is free (what both terms do)."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.papers.weighted_hausdorff import extraction, losses

# Which terms are minimised: factors of the first and the second.
WEIGHTS = {
  "both terms": (1.0, 1.0),
  "first term": (1.0, 0.0),
  "second term": (0.0, 1.0),
}
ON = 0.5
_START = 0.1  # standard deviation of the first logits


class FreeMap(NamedTuple):
  """A map that was optimised on its own.

  Attributes:
    points: [N, 2] (row, column) in pixels.
    maps: {name of WEIGHTS: [H, W]}.
    losses: [steps], the loss of both terms.
  """

  points: np.ndarray
  maps: dict[str, np.ndarray]
  losses: np.ndarray

  @property
  def pixels_on(self) -> int:
    return int(np.sum(self.maps["both terms"] > ON))

  def pixel_distance(self) -> float:
    """Returns the average Hausdorff distance of the pixels that are on."""
    pixels = jnp.asarray(np.argwhere(self.maps["both terms"] > ON), jnp.float32)
    return float(losses.averaged_hausdorff(pixels, jnp.asarray(self.points)))

  def worst_center(self, seed: int = 0) -> float:
    """Returns the largest distance of a point from the mixture's nearest mean.

    The mixture has as many Gaussians as there are points, and is fitted to the pixels
    that are on.
    """
    pixels = np.argwhere(self.maps["both terms"] > ON)
    if not len(pixels):
      return float("inf")
    means = extraction.cluster(pixels, len(self.points), seed=seed)
    away = np.linalg.norm(self.points[:, None] - means[None], axis=-1)
    return float(away.min(axis=1).max())


def optimize(
  seeds: tuple[int, ...],
  *,
  size: int = 32,
  points: int = 3,
  steps: int = 3000,
  rate: float = 0.05,
) -> dict[int, FreeMap]:
  """Returns maps after Adam, for each seed and each choice of terms.

  Args:
    seeds: of the points and the first logits.
    size: height and width.
    points: number of points, apart from each other by a quarter of the size.
    steps: of Adam.
    rate: its learning rate.
  """
  targets = np.stack([_points(seed, size, points) for seed in seeds])
  starts = np.stack(
    [np.random.default_rng([1, s]).normal(0, _START, (size, size)) for s in seeds]
  ).astype(np.float32)
  weights = np.array(list(WEIGHTS.values()), np.float32)
  maps, history = jax.device_get(_run(starts, targets, weights, steps, rate))
  return {
    seed: FreeMap(
      target,
      dict(zip(WEIGHTS, found, strict=True)),
      curves[list(WEIGHTS).index("both terms")],
    )
    for seed, target, found, curves in zip(seeds, targets, maps, history, strict=True)
  }


@functools.partial(jax.jit, static_argnums=(3, 4))
def _run(starts, targets, weights, steps, rate):
  """Returns maps [S, W, H, W'] and losses [S, W, steps] of seeds and weights."""
  adam = optax.adam(rate)
  size = jnp.full((1, 2), starts.shape[-1], jnp.float32)

  def one(start, target, factors):
    def loss(logits):
      terms = losses.weighted_hausdorff(
        jax.nn.sigmoid(logits)[None],
        target[None],
        jnp.ones((1, len(target)), bool),
        size,
      )
      return factors[0] * terms.first + factors[1] * terms.second

    def step(carry, _):
      logits, state = carry
      value, gradient = jax.value_and_grad(loss)(logits)
      updates, state = adam.update(gradient, state)
      return (optax.apply_updates(logits, updates), state), value

    (logits, _), history = jax.lax.scan(step, (start, adam.init(start)), length=steps)
    return jax.nn.sigmoid(logits), history

  by_weight = jax.vmap(one, (None, None, 0))
  return jax.vmap(by_weight, (0, 0, None))(starts, targets, weights)


def _points(seed: int, size: int, count: int) -> np.ndarray:
  """Returns [count, 2] whole-numbered points away from each other and the border."""
  rng = np.random.default_rng([0, seed])
  chex.assert_scalar_positive(count)
  found = np.zeros((0, 2))
  for _ in range(1000):
    margin = size // 8
    point = rng.integers(margin, size - margin, (1, 2))
    if np.all(np.linalg.norm(found - point, axis=1) >= size / 4):
      found = np.concatenate([found, point])
    if len(found) == count:
      return found.astype(np.float32)
  raise ValueError(f"{count} points do not fit a map of {size}")
