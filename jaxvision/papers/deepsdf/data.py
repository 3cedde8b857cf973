"""The demo's shapes: families with holes and thin legs, sampled as the paper does."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import shape_families
from jaxvision.data.shape_families import Shapes
from jaxvision.papers.deepsdf import preprocessing
from jaxvision.papers.deepsdf.preprocessing import Samples
from jaxvision.train import jit_once


class ShapeSet(NamedTuple):
  """Shapes with samples and surfaces, on the host.

  Attributes:
    shapes: [S] parametric shapes.
    samples: of each shape, as `preprocessing.split` gives them.
    points: [S, K, 3] of the surfaces, in random order.
    normals: [S, K, 3] outward.
  """

  shapes: Shapes
  samples: list[Samples]
  points: np.ndarray
  normals: np.ndarray

  def __len__(self) -> int:
    return len(self.samples)

  def shape(self, index: int) -> Shapes:
    """Returns one of the shapes."""
    return one_of(self.shapes, index)

  def examples(self) -> list[dict]:
    """Returns what `training.draw_samples` draws from."""
    return [
      {"shape": np.int32(index), "pos": samples.pos, "neg": samples.neg}
      for index, samples in enumerate(self.samples)
    ]


def make(seed: int, count: int, *, samples: int, surface: int) -> ShapeSet:
  """Returns shapes of all families in turn.

  Args:
    seed: of shapes and samples.
    count: number of shapes.
    samples: of each; 47 of 50 near the surface (M3), distances exact.
    surface: points of each surface.
  """
  shape_key, sample_key = jax.random.split(jax.random.key(seed))
  families = np.arange(count) % len(shape_families.FAMILIES)
  shapes = jax.tree.map(np.asarray, shape_families.random_shapes(shape_key, families))
  # One at a time: however many there are, one function is compiled.
  rows, points, normals = (
    np.stack(parts)
    for parts in zip(
      *(
        jax.tree.map(np.asarray, _sample(one_of(shapes, index), key, samples, surface))
        for index, key in enumerate(jax.random.split(sample_key, count))
      ),
      strict=True,
    )
  )
  return ShapeSet(
    shapes,
    [preprocessing.split(one[:, :3], one[:, 3]) for one in rows],
    points,
    normals,
  )


def one_of(shapes: Shapes, index: int) -> Shapes:
  """Returns one of several shapes."""
  return jax.tree.map(lambda leaf: leaf[index], shapes)


def _draw(shape, key, samples, surface):
  """Returns samples [N, 4], points and normals [K, 3] of one shape."""
  near = int(47 / 50 * samples) // 2
  deviations = np.sqrt([preprocessing.VARIANCE, preprocessing.SECOND_VARIANCE])
  keys = jax.random.split(key, 3)
  points, normals = shape_families.sample_surface(keys[0], shape, surface)
  base = points[jnp.arange(near) % surface]
  noise = jax.random.normal(keys[1], (2, near, 3))
  scattered = base + jnp.asarray(deviations, jnp.float32)[:, None, None] * noise
  anywhere = jax.random.uniform(keys[2], (samples - 2 * near, 3), minval=-1.0)
  queries = jnp.concatenate([scattered.reshape(-1, 3), anywhere])
  distances = shape_families.signed_distance(shape, queries)
  rows = jnp.concatenate([queries, distances[:, None]], axis=1)
  return rows, points, normals


_sample = jit_once(_draw, static_argnums=(2, 3))


def half_seen(samples: Samples, *, axis: int = 2, band: float = 0.08) -> Samples:
  """Returns the samples of half a shape, near its surface.

  Args:
    samples: of the whole shape.
    axis: the half with positive coordinates along it is seen.
    band: largest distance of samples kept.
  """
  return Samples(
    *(side[(side[:, axis] > 0) & (np.abs(side[:, 3]) < band)] for side in samples)
  )


def midpoint(first: Shapes, second: Shapes) -> Shapes:
  """Returns the shape of the same family whose parameters lie halfway."""
  chex.assert_equal(int(first.family), int(second.family))
  return Shapes(first.family, (first.parameters + second.parameters) / 2)
