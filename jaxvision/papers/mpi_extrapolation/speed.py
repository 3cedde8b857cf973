"""How long rendering, sweeping and predicting take."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.ops import mpi

HEIGHT, WIDTH, PLANES = 384, 512, 32


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns a row for each operation on 32 planes of 512 x 384 pixels.

  Args:
    seconds: call -> its median time in seconds.
  """
  layers = jax.random.uniform(jax.random.key(0), (1, HEIGHT, WIDTH, PLANES, 4))
  focal = 0.8 * WIDTH
  intrinsics = jnp.array(
    [[[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1]]]
  )
  # A little turned, so that no plane is moved by whole rows.
  pose = jnp.eye(4)[None].at[0, 0, 3].set(0.1)
  pose = pose.at[0, 0, 1].set(0.02).at[0, 1, 0].set(-0.02)
  camera = pose, mpi.plane_depths(1.0, 100.0, PLANES), intrinsics

  def gradient(layers):
    return jax.grad(lambda layers: jnp.sum(mpi.render(layers, *camera)))(layers)

  calls = {
    "render": (lambda layers: mpi.render(layers, *camera), layers),
    "gradient of render": (gradient, layers),
    "plane sweep": (
      lambda image: mpi.plane_sweep_volume(image, *camera),
      layers[..., 0, :3],
    ),
  }
  table = []
  for name, (function, argument) in calls.items():
    duration = seconds(functools.partial(jax.jit(function), argument))
    table.append(
      {
        "name": f"{name}, {PLANES} planes of {WIDTH} x {HEIGHT}",
        "milliseconds": 1e3 * duration,
        "megasamples_per_second": PLANES * HEIGHT * WIDTH / duration / 1e6,
      }
    )
  return table
