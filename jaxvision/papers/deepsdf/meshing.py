"""From a code to a mesh: the field on a grid, whole or near the surface (M10)."""

import functools
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.errors import UserError
from jaxvision.ops import marching_cubes, mise
from jaxvision.papers.deepsdf import decoder as decoders
from jaxvision.papers.deepsdf.decoder import Decoder

RESOLUTION = 256
CHUNK = 2**18  # the authors' number of points at once
_CPU_CHUNK = 4096  # whose features stay in the cache
_COARSE = 32  # cells along an axis from which refinement starts


def require() -> None:
  """Checks that meshes can be made, before anything long begins.

  Raises:
    UserError: scikit-image is missing; says how to install it.
  """
  try:
    marching_cubes.require()
  except ModuleNotFoundError as error:
    raise UserError(str(error)) from error


def chunk_size() -> int:
  """Returns how many points the field is evaluated at together."""
  return _CPU_CHUNK if jax.default_backend() == "cpu" else CHUNK


def grid_values(
  decoder: Decoder,
  params: Mapping[str, Any],
  code: chex.Array,
  resolution: int = RESOLUTION,
) -> chex.Array:
  """Returns the field [N, N, N] on the grid over [-1, 1]³, x slowest; jittable.

  Args:
    decoder: the network.
    params: its parameters.
    code: [L].
    resolution: N points along every axis.
  """
  chex.assert_shape(code, (decoder.latent_size,))
  decoder, params = decoders.fold(decoder, params)
  count = resolution**3
  chunk = min(chunk_size(), count)

  def evaluate(start):
    index = jnp.minimum(start + jnp.arange(chunk), count - 1)
    places = jnp.stack(
      [index // resolution**2, index // resolution % resolution, index % resolution],
      axis=-1,
    )
    points = -1.0 + places.astype(jnp.float32) * (2.0 / (resolution - 1))
    return decoder.apply({"params": params}, code, points)

  starts = jnp.arange(0, count, chunk)
  values = jax.lax.map(evaluate, starts).reshape(-1)[:count]
  return values.reshape((resolution,) * 3)


def mesh(
  decoder: Decoder,
  params: Mapping[str, Any],
  code: chex.Array,
  resolution: int = RESOLUTION,
  *,
  refine: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the zero level set as vertices [V, 3] and faces [F, 3].

  Args:
    decoder: the network.
    params: its parameters.
    code: [L].
    resolution: N points along every axis of [-1, 1]³.
    refine: evaluate the field only near the surface, from a grid of 33 points on
      (N - 1 must be 32 times a power of 2): parts thinner than 1/16 may be missed.

  Returns:
    both empty where the field does not change its sign. Faces turn counter-clockwise
    seen from outside.

  Raises:
    UserError: the field is not finite, or N does not suit refinement.
  """
  if not refine:
    values = np.asarray(_grid(decoder, resolution)(params, code))
  else:
    steps = _refinements(resolution)
    field = functools.partial(_field(decoder), params, code)
    chunk = chunk_size()
    try:
      values = mise.extract(
        field, resolution=_COARSE, steps=steps, low=-1.0, high=1.0, chunk=chunk
      ).values
    except ValueError as error:
      raise UserError(f"no mesh: {error}") from error
  return surface(values)


def surface(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns vertices and faces of the zero level set of a grid over [-1, 1]³.

  Raises:
    UserError: the field is not finite.
  """
  spacing = 2.0 / (np.array(values.shape) - 1)
  try:
    return marching_cubes.marching_cubes(values, 0.0, -1.0, spacing)
  except ValueError as error:
    raise UserError(f"no mesh: {error}") from error


def is_refinable(resolution: int) -> bool:
  """Returns whether a grid of so many points along an axis can be refined."""
  cells = resolution - 1
  return cells in (_COARSE * 2**steps for steps in range(1, 6))


def _refinements(resolution):
  if not is_refinable(resolution):
    raise UserError(
      f"a refined grid has 65, 129, 257, ... points along an axis, not {resolution}"
    )
  return ((resolution - 1) // _COARSE).bit_length() - 1


@functools.lru_cache(maxsize=8)
def _grid(decoder, resolution):
  return jax.jit(lambda params, code: grid_values(decoder, params, code, resolution))


@functools.lru_cache(maxsize=8)
def _field(decoder):
  @jax.jit
  def field(params, code, points):
    return decoder.apply({"params": params}, code, points)

  # In float32, so that one type of points is compiled for.
  return lambda params, code, points: field(params, code, np.float32(points))
