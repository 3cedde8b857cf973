"""What the paper's method is compared with (A9), and normals from positions."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import local_fit
from jaxvision.papers.fermat_paths import refinement


def back_project(
  transients: chex.Array,
  bins: chex.Array,
  wall: chex.Array,
  voxels: chex.Array,
  *,
  source: chex.Array | None = None,
) -> chex.Array:
  """Returns how much light each voxel may have returned, summed over the wall.

  Args:
    transients: [n, m].
    bins: [m] centres of equally wide bins of path length, cm.
    wall: [n, 3] where light is detected, cm.
    voxels: [P, 3] centres, cm.
    source: [3] the lit wall point; the detectors when None.

  Returns:
    [P] sums of the transients at the voxels' path lengths.

  Source: A9 (ii); Velten et al., Nature Communications 2012.
  """
  chex.assert_shape(transients, (wall.shape[0], bins.shape[0]))
  chex.assert_shape([wall, voxels], (None, 3))

  def add(total, row):
    transient, detector = row
    lengths = refinement.path_length(voxels, detector, source)
    return total + jnp.interp(lengths, bins, transient, left=0.0, right=0.0), None

  start = jnp.zeros(voxels.shape[0], transients.dtype)
  return jax.lax.scan(add, start, (transients, wall))[0]


def laplacian_filter(volume: chex.Array) -> chex.Array:
  """Returns minus the Laplacian of a back-projected volume, where positive."""
  padded = jnp.pad(volume, 1, mode="edge")
  middle = (slice(1, -1),) * volume.ndim
  total = sum(
    jnp.roll(padded, shift, axis)[middle]
    for axis in range(volume.ndim)
    for shift in (-1, 1)
  )
  return jnp.maximum(2 * volume.ndim * volume - total, 0.0)


def pca_normals(
  points: chex.Array, valid: chex.Array, size: int = 5
) -> tuple[chex.Array, chex.Array]:
  """Returns normals of least variance of the points around each grid point.

  Args:
    points: [H, W, 3] cm.
    valid: [H, W].
    size: side of the neighbourhood, the same as that of the derivatives' fit.

  Returns:
    [H, W, 3] unit normals with z ≤ 0, towards the wall, and [H, W] whether six
    neighbours or more were valid.
  """
  chex.assert_shape(points, (*valid.shape, 3))
  around = local_fit.windows(jnp.where(valid[..., None], points, jnp.nan), size)
  known = jnp.all(jnp.isfinite(around), axis=-1, keepdims=True)
  count = jnp.sum(known, axis=(2, 3))
  around = jnp.where(known, around, 0.0)
  mean = jnp.sum(around, axis=2) / jnp.maximum(count, 1)[..., None]
  centred = jnp.where(known, around - mean[:, :, None], 0.0)
  highest = jax.lax.Precision.HIGHEST
  spread = jnp.einsum("hwsa,hwsb->hwab", centred, centred, precision=highest)
  _, vectors = jnp.linalg.eigh(spread)
  return _towards_wall(vectors[..., 0]), valid & (count >= 6)


def difference_normals(
  points: chex.Array, valid: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Returns normals across the central differences of a grid of points.

  Args:
    points: [H, W, 3] cm.
    valid: [H, W].

  Returns:
    [H, W, 3] unit normals with z ≤ 0, and [H, W] whether the four neighbours were
    valid.
  """
  chex.assert_shape(points, (*valid.shape, 3))
  points = jnp.where(valid[..., None], points, jnp.nan)
  padded = jnp.pad(points, ((1, 1), (1, 1), (0, 0)), constant_values=jnp.nan)
  down = padded[2:, 1:-1] - padded[:-2, 1:-1]
  right = padded[1:-1, 2:] - padded[1:-1, :-2]
  normals = jnp.cross(right, down)
  length = jnp.linalg.norm(normals, axis=-1)
  known = valid & (length > 0)  # NaN is not
  normals = jnp.where(known[..., None], normals / length[..., None], 0.0)
  return _towards_wall(normals), known


def voxel_grid(
  low: tuple[float, float, float], high: tuple[float, float, float], spacing: float
) -> np.ndarray:
  """Returns the [X, Y, Z, 3] centres of a box of voxels, cm."""
  axes = [
    np.arange(a, b + spacing / 2, spacing) for a, b in zip(low, high, strict=True)
  ]
  return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)


def _towards_wall(normals):
  return jnp.where(normals[..., 2:] > 0, -normals, normals)
