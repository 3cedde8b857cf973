"""How long the loss and the extraction of points take."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import beta_mixture
from jaxvision.papers.weighted_hausdorff import extraction, losses

SIDE, POINTS = 256, 100
LIMIT_MILLISECONDS = 15.0  # of value and gradient, on one core
PIXELS, OBJECTS = 4096, 50


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns a row for each part.

  Args:
    seconds: call -> its median time in seconds.
  """
  table = []

  def add(name, call, **more):
    row = {"name": f"weighted_hausdorff/{name}", "milliseconds": 1e3 * seconds(call)}
    table.append(row | more)

  sizes = f"{SIDE} x {SIDE}, {POINTS} points"
  add(
    f"value and gradient, {sizes}",
    loss_call(SIDE, POINTS),
    limit_milliseconds=LIMIT_MILLISECONDS,
  )
  add(
    f"value and gradient, {sizes}, exponent -9", loss_call(SIDE, POINTS, exponent=-9.0)
  )
  add(f"value and gradient, 8 of {sizes}", loss_call(SIDE, POINTS, batch=8))
  saliency = jnp.asarray(
    np.random.default_rng(0).beta(0.5, 3, (SIDE, SIDE)), jnp.float32
  )
  add(f"beta mixture, {SIDE} x {SIDE}", functools.partial(_beta, saliency))
  add(f"{OBJECTS} Gaussians to {PIXELS} pixels", functools.partial(_cluster, _blobs()))
  return table


def loss_call(side: int, points: int, *, batch: int = 1, exponent: float = -1.0):
  """Returns a call of both terms' sum and its gradient by random maps."""
  rng = np.random.default_rng(0)
  maps = jnp.asarray(rng.random((batch, side, side)), jnp.float32)
  places = jnp.asarray(rng.integers(0, side, (batch, points, 2)), jnp.float32)
  valid = jnp.ones((batch, points), bool)
  sizes = jnp.full((batch, 2), 480.0)

  @jax.jit
  @jax.value_and_grad
  def loss(maps):
    return sum(losses.weighted_hausdorff(maps, places, valid, sizes, exponent=exponent))

  return functools.partial(loss, maps)


_beta = jax.jit(lambda saliency: beta_mixture.fit(saliency).means)


def _cluster(pixels):
  return jnp.asarray(extraction.cluster(pixels, OBJECTS))


def _blobs():
  rng = np.random.default_rng(0)
  centers = rng.uniform(0, SIDE, (OBJECTS, 2))
  return centers[rng.integers(0, OBJECTS, PIXELS)] + rng.normal(0, 3, (PIXELS, 2))
