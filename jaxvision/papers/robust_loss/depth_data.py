"""Video snippets with known depth, seen by a camera that moves through a room."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import scenes

_RENDERED_AT_ONCE = 16
_OBJECTS = 5
_FIELD_OF_VIEW = 1.4
_GROUND = 1.2  # metres below the camera


def snippets(seed: int, count: int, height: int, width: int) -> dict[str, np.ndarray]:
  """Returns targets, each with the views before and after it in a steady motion.

  Args:
    seed: of the scenes and motions.
    count: number of snippets.
    height, width: of the images.

  Returns:
    "target": [count, H, W, 3] in [0, 1].
    "sources": [count, 2, H, W, 3].
    "intrinsics": [count, 3, 3].
    "depth": [count, H, W] of the target, in metres.
  """
  keys = jax.random.split(jax.random.key(seed), count)
  parts = [
    _snippet(keys[start : start + _RENDERED_AT_ONCE], height, width)
    for start in range(0, count, _RENDERED_AT_ONCE)
  ]
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@functools.partial(jax.jit, static_argnums=(1, 2))
@functools.partial(jax.vmap, in_axes=(0, None, None))
def _snippet(key: chex.PRNGKey, height: int, width: int) -> dict[str, jax.Array]:
  keys = jax.random.split(key, 4)
  scene = _street(keys[0], scenes.random_scene(keys[1], num_objects=_OBJECTS))
  camera = scenes.front_camera(height, width, field_of_view=_FIELD_OF_VIEW)
  low, high = jnp.array([-0.1, -0.02, 0.4]), jnp.array([0.1, 0.02, 0.6])
  shift = jax.random.uniform(keys[2], (3,), minval=low, maxval=high)
  turn = 0.005 * jax.random.normal(keys[3], (3,))

  def render(sign):
    moved = scenes.moved_camera(camera, sign * turn, sign * shift)
    found = scenes.render(scene, moved)
    return found["image"], found["depth"]

  # One after the other, so that it is compiled once.
  images, depths = jax.lax.map(render, jnp.array([0.0, -1.0, 1.0]))
  return {
    "target": images[0],
    "sources": images[1:],
    "intrinsics": camera.intrinsics,
    "depth": depths[0],
  }


def _street(key: chex.PRNGKey, scene: scenes.Scene) -> scenes.Scene:
  """Returns the scene with its room made a street and its objects put on the ground."""
  count = scene.kind.shape[0]
  low, high = jnp.array([-3.5, 0.0, 4.0]), jnp.array([3.5, 0.0, 14.0])
  center = jax.random.uniform(key, (count, 3), minval=low, maxval=high)
  # The camera's own lane stays free.
  center = center.at[:, 0].add(jnp.sign(center[:, 0]) * 0.8)
  center = center.at[:, 1].set(_GROUND - scene.half_size[:, 1])
  kind = jnp.full_like(scene.kind, scenes.BOX).at[0].set(scenes.ROOM)
  rotation = jnp.broadcast_to(jnp.eye(3), scene.rotation.shape)
  return scene.replace(
    kind=kind,
    half_size=scene.half_size.at[0].set(jnp.array([5.0, 4.0, 12.0])),
    center=center.at[0].set(jnp.array([0.0, _GROUND - 4.0, 10.0])),
    rotation=rotation,
    light=scene.light.at[:].set(-scene.light[0]).at[0].set(scene.light[0]),
    frequency=0.5 * scene.frequency,
  )
