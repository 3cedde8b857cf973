"""The 3-D end point error, as a training loss and as a measure (M12, M13)."""

import chex
import jax.numpy as jnp

from jaxvision.ops import rigid
from jaxvision.ops.resize import resize
from jaxvision.papers.inverse_compositional import geometry

TRAINING_SIZE = (60, 80)  # height and width at which the loss is taken
CENTIMETRES = 100.0


def end_point_error(
  poses: chex.Array,
  truth: chex.Array,
  depth: chex.Array,
  intrinsics: chex.Array,
  invalid: chex.Array,
) -> chex.Array:
  """Returns how far apart the poses move the points that the template shows.

  Args:
    poses: [B, *N, 4, 4].
    truth: [B, 4, 4].
    depth: [B, H, W] metres.
    intrinsics: [B, 4] of the depth's size.
    invalid: [B, H, W] bool, pixels that do not count.

  Returns:
    [B, *N] metres, the mean over the pixels that count; 0 where none does.

  Source: Eq. 21 (there squared; here as in the authors' code).
  """
  chex.assert_equal_shape([depth, invalid])
  chex.assert_shape(truth, (len(depth), 4, 4))
  points = geometry.unproject(depth, intrinsics).reshape(len(depth), -1, 3)
  counts = ~invalid.reshape(len(depth), -1)
  # Depth that does not count may be infinite or NaN, and NaN times 0 is NaN.
  points = jnp.where(counts[..., None], points, 0.0)
  extra = [1] * (poses.ndim - 3)
  points = points.reshape(len(points), *extra, -1, 3)
  counts = counts.reshape(len(points), *extra, -1)
  difference = poses - truth.reshape(len(truth), *extra, 4, 4)
  moved = points @ jnp.swapaxes(difference[..., :3, :3], -1, -2)
  square = jnp.sum(jnp.square(moved + difference[..., None, :3, 3]), axis=-1)
  # The norm has no derivative at 0, where a pose is exact.
  distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
  total = jnp.sum(jnp.where(counts, distance, 0.0), axis=-1)
  return total / jnp.maximum(jnp.sum(counts, axis=-1), 1)


def pose_loss(
  poses: chex.Array,
  truth: chex.Array,
  depth: chex.Array,
  intrinsics: chex.Array,
  invalid: chex.Array,
  *,
  size: tuple[int, int] = TRAINING_SIZE,
) -> chex.Array:
  """Returns the loss [B] in metres: the error at a fixed size, summed over the levels.

  Args:
    poses: [B, L, 4, 4] after each level.
    truth: [B, 4, 4].
    depth: [B, H, W] metres.
    intrinsics: [B, 4] of the depth's size.
    invalid: [B, H, W] bool.
    size: height and width to which depth is resized; a pixel into which any invalid one
      enters does not count.

  Source: Section 4.4; the authors' code.
  """
  chex.assert_rank(poses, 4)
  height, width = depth.shape[1:]
  finite = jnp.where(jnp.isfinite(depth), depth, 0.0)
  resized = resize(finite[..., None], size)[..., 0]
  share = resize(invalid.astype(depth.dtype)[..., None], size)[..., 0]
  intrinsics = geometry.scale_intrinsics(
    intrinsics, (size[1] / width, size[0] / height)
  )
  errors = end_point_error(poses, truth, resized, intrinsics, share > 0)
  return jnp.sum(errors, axis=-1)


def relative_pose_error(
  poses: chex.Array, truth: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Returns the angle [...] in radians and distance [...] in metres between poses.

  Args:
    poses: [..., 4, 4].
    truth: [..., 4, 4].

  Source: Section 5.2; M13.
  """
  chex.assert_equal_shape([poses, truth])
  between = truth @ rigid.invert(poses)
  trace = jnp.trace(between[..., :3, :3], axis1=-2, axis2=-1)
  angle = jnp.arccos(jnp.clip((trace - 1) / 2, -1, 1))
  return angle, jnp.linalg.norm(between[..., :3, 3], axis=-1)


def euler_angles(rotations: chex.Array) -> chex.Array:
  """Returns the angles [..., 3] about the fixed axes x, then y, then z, in radians.

  Args:
    rotations: [..., 3, 3]; where the second angle is ±π/2 the third is 0.
  """
  chex.assert_shape(rotations, (..., 3, 3))
  cosine = jnp.hypot(rotations[..., 0, 0], rotations[..., 1, 0])
  locked = cosine <= 1e-8
  x = jnp.where(
    locked,
    jnp.arctan2(-rotations[..., 1, 2], rotations[..., 1, 1]),
    jnp.arctan2(rotations[..., 2, 1], rotations[..., 2, 2]),
  )
  y = jnp.arctan2(-rotations[..., 2, 0], cosine)
  z = jnp.arctan2(rotations[..., 1, 0], rotations[..., 0, 0])
  return jnp.stack([x, y, jnp.where(locked, 0.0, z)], axis=-1)


def is_success(
  poses: chex.Array,
  truth: chex.Array,
  *,
  distance: float = 0.05,
  angle: float = 5 * jnp.pi / 180,
) -> chex.Array:
  """Returns whether poses [..., 4, 4] are this near the truth: bool [...].

  Args:
    poses: [..., 4, 4].
    truth: [..., 4, 4].
    distance: metres.
    angle: norm of the three Euler angles, radians.

  Source: the object motion table, "success"; M13.
  """
  _, far = relative_pose_error(poses, truth)
  between = truth @ rigid.invert(poses)
  turned = jnp.linalg.norm(euler_angles(between[..., :3, :3]), axis=-1)
  return (far < distance) & (turned < angle)
