"""How long meshes and their measures take at the paper's size."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import mise, point_metrics, voxels
from jaxvision.papers.occupancy_networks import decoders, generation, shapes

_CHUNK = 16384


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns a row for each operation.

  Args:
    seconds: call -> its median time in seconds.
  """
  decoder = decoders.CBatchNormDecoder()
  points = np.random.default_rng(0).uniform(-0.5, 0.5, (_CHUNK, 3)).astype(np.float32)
  code = jnp.ones((1, 256))
  variables = jax.jit(decoder.init)(jax.random.key(0), points[None, :1], None, code)
  solid = jax.tree.map(lambda part: part[0], shapes.sample(("torus",), 1, 0))

  @jax.jit
  def field(points):
    # The paper's decoder, whose work is done and whose values do not count.
    logits = decoder.apply(variables, points[None], None, code)[0]
    return 1e-9 * logits - shapes.signed_distance(solid, points)

  def decode():
    return field(points)

  def extract():
    found = mise.extract(
      lambda p: field(p.astype(np.float32)), resolution=32, steps=2, chunk=_CHUNK
    )
    return found, generation.surface_of(found.values, 0.0)

  found, _ = extract()
  chunk = seconds(decode)
  dense = chunk * -(-found.values.size // _CHUNK)
  whole = seconds(extract)
  table = [
    {"name": f"decode {_CHUNK} points, hidden 256", "milliseconds": 1e3 * chunk},
    {
      "name": "MISE to 128^3 and mesh, hidden 256",
      "milliseconds": 1e3 * whole,
      "points": int(sum(found.counts)),
      "dense_milliseconds": 1e3 * dense,
      "of_dense": whole / dense,
    },
  ]

  vertices, faces = shapes.mesh(solid, resolution=64)
  rng = np.random.default_rng(1)
  first, second = rng.random((2, 10_000, 3), np.float32)
  inside = functools.partial(jax.jit(voxels.contains), first - 0.5, vertices, faces)
  solid_grid = functools.partial(
    jax.jit(voxels.voxelize_solid, static_argnums=2), vertices, faces, 32
  )
  chamfer = functools.partial(jax.jit(point_metrics.chamfer), first, second)
  for name, call in (
    ("Chamfer distance, 10,000 points each", chamfer),
    (f"10,000 points in a mesh of {len(faces)} faces", inside),
    (f"32^3 voxels of a mesh of {len(faces)} faces", solid_grid),
  ):
    table.append({"name": name, "milliseconds": 1e3 * seconds(call)})
  return table
