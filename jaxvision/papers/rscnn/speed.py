"""How fast sampling and grouping are, and a shape is classified."""

import functools
from collections.abc import Callable

import jax

from jaxvision.ops.ball_query import ball_query
from jaxvision.ops.farthest_points import farthest_point_sampling
from jaxvision.papers.rscnn.networks import Classifier
from jaxvision.train import jit_once

POINTS, CENTROIDS, NEIGHBOURS = 10_000, 1024, 64
RADIUS = 0.2


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns a row for each operation, of one cloud and of a batch.

  Args:
    seconds: call -> its median time in seconds.
  """
  sample = functools.partial(farthest_point_sampling, count=CENTROIDS)

  def query(points):
    return ball_query(points[:CENTROIDS], points, RADIUS, NEIGHBOURS)

  table = []
  for name, operation in {
    f"farthest points, {POINTS} to {CENTROIDS}": sample,
    f"ball query, {CENTROIDS} x {POINTS}, {NEIGHBOURS} neighbours": query,
  }.items():
    for clouds in (1, 4):
      points = jax.random.uniform(
        jax.random.key(0), (clouds, POINTS, 3), minval=-1.0, maxval=1.0
      )
      duration = seconds(functools.partial(jax.jit(jax.vmap(operation)), points))
      table.append(
        {
          "name": f"rscnn/{name}",
          "clouds": clouds,
          "milliseconds": 1e3 * duration,
          "milliseconds_per_cloud": 1e3 * duration / clouds,
        }
      )
  network = Classifier()
  points = jax.random.normal(jax.random.key(0), (1, 1024, 3))
  variables = jit_once(network.init)(jax.random.key(1), points)
  duration = seconds(functools.partial(jax.jit(network.apply), variables, points))
  table.append(
    {
      "name": "rscnn/classification of 1,024 points",
      "clouds": 1,
      "milliseconds": 1e3 * duration,
      "milliseconds_per_cloud": 1e3 * duration,
    }
  )
  return table
