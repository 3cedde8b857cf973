"""The weak-perspective camera (s, tx, ty) of a square crop (M9)."""

import chex
import jax.numpy as jnp

FOCAL_LENGTH = 5000.0  # pixels, of the perspective camera that pictures are drawn with


def project(points: chex.Array, camera: chex.Array) -> chex.Array:
  """Returns where points are seen, in [-1, 1] over the crop, y downwards.

  Args:
    points: [B, N, 3] in metres; depth is ignored.
    camera: [B, 3] as (s, tx, ty): s (x + tx), s (y + ty).

  Returns:
    [B, N, 2].

  Source: models/geometric_layers.py; the paper prints s Π(X) + t.
  """
  chex.assert_shape(points, (None, None, 3))
  chex.assert_shape(camera, (points.shape[0], 3))
  return camera[:, None, :1] * (points[..., :2] + camera[:, None, 1:])


def perspective_translation(
  camera: chex.Array, size: int = 224, focal_length: float = FOCAL_LENGTH
) -> chex.Array:
  """Returns the translations [B, 3] before a perspective camera that sees the same.

  Args:
    camera: [B, 3].
    size: pixels along each side of the crop, whose centre is the principal point.
    focal_length: pixels.
  """
  chex.assert_shape(camera, (None, 3))
  depth = 2 * focal_length / (size * camera[:, :1] + 1e-9)
  return jnp.concatenate([camera[:, 1:], depth], axis=-1)
