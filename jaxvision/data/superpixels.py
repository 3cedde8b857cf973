"""Superpixels: simple linear iterative clustering (SLIC), on the host with NumPy."""

import chex
import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

# sRGB to XYZ, D65 (IEC 61966-2-1), divided by the white point.
_XYZ = np.array(
  [
    [0.412453, 0.357580, 0.180423],
    [0.212671, 0.715160, 0.072169],
    [0.019334, 0.119193, 0.950227],
  ]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def slic(
  image: np.ndarray,
  segments: int,
  *,
  compactness: float = 10.0,
  iterations: int = 10,
) -> np.ndarray:
  """Returns connected regions of like colour and about equal area.

  Pixels are clustered by colour and place around centres that begin on a grid; each
  centre is looked at by the pixels of its own and the eight neighbouring cells. Then
  what is not connected is cut, and pieces below a quarter of the mean area join the
  neighbour with which they share the longest border.

  Args:
    image: [H, W, 3] float in [0, 1], sRGB.
    segments: about how many.
    compactness: weight of place against colour (in CIELAB); larger is squarer.
    iterations: of the clustering.

  Returns:
    [H, W] int32 labels 0, 1, ..., in the order of their first pixel, each connected.

  Source: Achanta et al., SLIC Superpixels Compared to State-of-the-Art Superpixel
    Methods, TPAMI 2012.
  """
  chex.assert_rank(image, 3)
  chex.assert_axis_dimension(image, -1, 3)
  chex.assert_scalar_positive(segments)
  height, width, _ = image.shape
  side = np.sqrt(height * width / segments)
  rows, columns = (max(round(size / side), 1) for size in (height, width))
  y, x = np.mgrid[:height, :width]
  place = np.stack([y, x], axis=-1) * (compactness / side)
  points = np.concatenate([_lab(np.asarray(image, np.float64)), place], axis=-1)
  points = points.reshape(-1, 5)
  row, column = (y * rows // height).reshape(-1), (x * columns // width).reshape(-1)
  label = row * columns + column

  candidates = []
  for down in (-1, 0, 1):
    for right in (-1, 0, 1):
      # At the border a cell is its own neighbour: the same candidate again.
      near = np.clip(row + down, 0, rows - 1) * columns
      candidates.append(near + np.clip(column + right, 0, columns - 1))
  candidates = np.stack(candidates)
  centers = np.zeros((rows * columns, 5))
  for _ in range(iterations):
    count = np.bincount(label, minlength=len(centers))
    filled = count > 0
    sums = [np.bincount(label, points[:, i], len(centers)) for i in range(5)]
    centers[filled] = np.stack(sums, axis=1)[filled] / count[filled, None]
    distance = np.square(centers[candidates] - points).sum(axis=-1)
    label = np.take_along_axis(candidates, distance.argmin(axis=0)[None], axis=0)[0]
  return _connected(label.reshape(height, width), smallest=side * side / 4)


def _lab(image: np.ndarray) -> np.ndarray:
  """Returns sRGB [..., 3] in [0, 1] as CIELAB."""
  linear = np.where(image > 0.04045, ((image + 0.055) / 1.055) ** 2.4, image / 12.92)
  ratio = np.maximum(linear @ _XYZ.T / _WHITE, 0)
  f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
  lightness = 116 * f[..., 1] - 16
  return np.stack(
    [lightness, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
  )


def _connected(label: np.ndarray, smallest: float) -> np.ndarray:
  """Returns the connected parts of equal labels, small ones joined to a neighbour."""
  number = np.arange(label.size).reshape(label.shape)
  sides = [
    (number[:, :-1].ravel(), number[:, 1:].ravel()),
    (number[:-1].ravel(), number[1:].ravel()),
  ]
  first, second = (np.concatenate(ends) for ends in zip(*sides, strict=True))
  same = label.ravel()[first] == label.ravel()[second]
  part = _components(first[same], second[same], label.size)
  while True:
    size = np.bincount(part)
    border = part[first] != part[second]
    ends = np.stack([part[first], part[second]])[:, border]
    ends = np.concatenate([ends, ends[::-1]], axis=1)
    ends = ends[:, size[ends[0]] < smallest]
    if not ends.size:
      break
    shared = scipy.sparse.coo_array(
      (np.ones(ends.shape[1]), ends), shape=(len(size), len(size))
    ).tocsr()
    small = np.flatnonzero(np.diff(shared.indptr))
    joined = shared[small].toarray().argmax(axis=1)
    part = _components(small, joined, len(size))[part]
  _, begins, part = np.unique(part, return_index=True, return_inverse=True)
  order = np.empty(len(begins), np.int32)
  order[np.argsort(begins)] = np.arange(len(begins))
  return order[part.reshape(label.shape)]


def _components(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
  graph = scipy.sparse.coo_array(
    (np.ones(len(first), bool), (first, second)), shape=(count, count)
  )
  return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
