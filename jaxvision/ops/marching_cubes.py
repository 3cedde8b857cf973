"""Triangle meshes of the level sets of sampled fields, on the host."""

import importlib

import chex
import numpy as np


def require() -> None:
  """Does nothing where meshes can be extracted.

  Raises:
    ModuleNotFoundError: scikit-image is not installed; names the extra that brings it.
  """
  _measure()


def marching_cubes(
  values: chex.ArrayNumpy,
  level: float = 0.0,
  origin: chex.ArrayNumpy | float = 0.0,
  spacing: chex.ArrayNumpy | float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mesh on which a field has the value `level`.

  Faces turn counter-clockwise seen from where values are larger: of a signed distance
  that is negative inside, seen from outside.

  Args:
    values: [X, Y, Z] finite samples, at least 2 along each axis.
    level: of the surface.
    origin: position of the first sample, a number or [3].
    spacing: between samples, a number or [3], in the unit wanted.

  Returns:
    [V, 3] float32 vertices and [F, 3] int32 faces; both empty where the field does
    not cross the level.

  Raises:
    ValueError: a sample is not finite.
    ModuleNotFoundError: scikit-image (extra `demo`) is not installed.

  Source: Lewiner et al., Efficient Implementation of Marching Cubes' Cases with
    Topological Guarantees, 2003 (scikit-image's implementation).
  """
  chex.assert_rank(values, 3)
  values = np.array(values, np.float32)  # writable, as scikit-image asks
  if min(values.shape) < 2:
    raise ValueError(f"a field of {values.shape} samples has no cell to march through")
  if not np.all(np.isfinite(values)):
    raise ValueError("the field has samples that are not finite")
  empty = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
  if not values.min() < level < values.max():
    return empty
  spacing = np.broadcast_to(np.asarray(spacing, np.float64), 3)
  measure = _measure()
  try:
    vertices, faces, _, _ = measure.marching_cubes(
      values, level, spacing=tuple(spacing), gradient_direction="descent"
    )
  except RuntimeError:  # it touches the level without crossing it
    return empty
  return (vertices + origin).astype(np.float32), faces.astype(np.int32)


def _measure():
  try:
    return importlib.import_module("skimage.measure")
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "meshing needs scikit-image, which is not installed: "
      "pip install 'jaxvision[demo]'"
    ) from error
