"""Pictures of a field without a mesh, by sphere tracing (M13)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.papers.deepsdf import decoder as decoders
from jaxvision.papers.deepsdf import losses
from jaxvision.papers.deepsdf.decoder import Decoder


class Hit(NamedTuple):
  """Where rays meet the surface.

  Attributes:
    points: [R, 3]; where nothing is met, where the search ended.
    depth: [R] distance along the ray; infinite where nothing is met.
    normals: [R, 3] unit; 0 where nothing is met.
  """

  points: chex.Array
  depth: chex.Array
  normals: chex.Array


def trace(
  decoder: Decoder,
  params: Mapping[str, Any],
  code: chex.Array,
  origins: chex.Array,
  directions: chex.Array,
  *,
  far: float = 2.5,
  band: float = losses.BAND,
  steps: int = 100,
  tolerance: float = 2e-3,
) -> Hit:
  """Returns where rays meet the zero level set; jittable.

  Rays go on by the distance that the field tells, at most by δ, where the field is
  saturated.

  Args:
    decoder: the network.
    params: its parameters.
    code: [L].
    origins: [R, 3] outside of the shape.
    directions: [R, 3] unit.
    far: largest depth.
    band: δ of the training.
    steps: at most.
    tolerance: distance to the surface at which a ray has arrived.
  """
  chex.assert_equal_shape([origins, directions])
  decoder, params = decoders.fold(decoder, params)

  def distance(depth):
    points = origins + depth[:, None] * directions
    return decoder.apply({"params": params}, code, points)

  def is_under_way(state):
    step, depth, ahead = state
    return (step < steps) & jnp.any((ahead > tolerance) & (depth < far))

  def advance(state):
    step, depth, ahead = state
    moving = (ahead > tolerance) & (depth < far)
    depth = depth + jnp.where(moving, jnp.minimum(ahead, band), 0.0)
    return step + 1, depth, distance(depth)

  start = jnp.zeros_like(origins[:, 0])
  _, depth, ahead = jax.lax.while_loop(
    is_under_way, advance, (0, start, distance(start))
  )
  points = origins + depth[:, None] * directions
  arrived = (jnp.abs(ahead) <= tolerance) & (depth < far)
  # Where a step went in too deep, it is taken back.
  arrived |= (ahead < 0) & (depth < far)
  normals = decoders.normals(decoder, params, code, points)
  return Hit(
    points,
    jnp.where(arrived, depth, jnp.inf),
    jnp.where(arrived[:, None], normals, 0.0),
  )


def rays(axes: chex.Array, size: int) -> tuple[chex.Array, chex.Array]:
  """Returns [size², 3] origins and directions of an orthographic camera.

  Args:
    axes: [3, 3] rows right, up, backward.
    size: pixels along each side of [-1, 1].
  """
  axis = (jnp.arange(size) + 0.5) * 2 / size - 1
  right, up = jnp.meshgrid(axis, -axis)
  places = jnp.stack([right, up, jnp.full_like(right, 1.25)], axis=-1).reshape(-1, 3)
  return places @ axes, jnp.broadcast_to(-axes[2], places.shape)


def shade(hit: Hit, axes: chex.Array, size: int) -> chex.Array:
  """Returns a picture [size, size, 3] of what rays met, lit from the camera."""
  facing = jnp.abs(hit.normals @ axes[2])
  light = jnp.where(jnp.isfinite(hit.depth), 0.15 + 0.8 * facing, 1.0)
  return jnp.broadcast_to(light.reshape(size, size, 1), (size, size, 3))
