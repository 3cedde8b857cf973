"""Shaded pictures of meshes and clouds: orthographic, with a z-buffer, on the host."""

import chex
import numpy as np

GREY = (0.72, 0.74, 0.78)
_LIGHTS = (((0.35, 0.55, 1.0), 0.7), ((-0.8, 0.1, 0.5), 0.22))  # direction, strength
_AMBIENT = 0.2
_SUPERSAMPLING = 2
_PIXELS_AT_ONCE = 1 << 21


def camera(azimuth: float, elevation: float) -> np.ndarray:
  """Returns the rotation [3, 3] to a camera's right, up and backward axes.

  Args:
    azimuth: radians around the vertical axis (+y); 0 looks from +z, π/2 from +x.
    elevation: radians above the horizon.
  """
  sine, cosine = np.sin(azimuth), np.cos(azimuth)
  turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
  sine, cosine = np.sin(elevation), np.cos(elevation)
  return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ turn


def draw_mesh(
  vertices: np.ndarray,
  faces: np.ndarray | None = None,
  *,
  size: int = 256,
  azimuth: float = 0.6,
  elevation: float = 0.45,
  colors: np.ndarray | tuple[float, float, float] | None = None,
  extent: float | None = None,
  up: str = "y",
  radius: float = 0.012,
  background: float = 1.0,
) -> np.ndarray:
  """Returns a picture of a mesh, or of a cloud where there are no faces.

  Faces are lit alike from both sides. An empty mesh gives an empty picture; vertices
  that are not finite are left out, with their faces.

  Args:
    vertices: [V, 3] in any unit.
    faces: [F, 3] integers; None or empty draws the vertices as discs.
    size: pixels along each side.
    azimuth: radians around the vertical axis; 0 looks at the front.
    elevation: radians above the horizon.
    colors: in [0, 1]: one, or one a vertex [V, 3]; grey when None.
    extent: half of the picture's side around the origin, in the vertices' unit; when
      None the object is centred and fills the picture.
    up: "y" or "z", the vertical axis.
    radius: of a cloud's discs, in parts of the picture's side.
    background: its grey.

  Returns:
    [size, size, 3] float32 in [0, 1].
  """
  chex.assert_shape(vertices, (None, 3))
  faces = np.zeros((0, 3), np.int32) if faces is None else np.asarray(faces)
  chex.assert_shape(faces, (None, 3))
  if up not in ("y", "z"):
    raise ValueError(f"up={up!r}: the vertical axis is 'y' or 'z'")
  vertices = np.asarray(vertices, np.float64)
  colors = np.broadcast_to(GREY if colors is None else colors, vertices.shape)
  if up == "z":
    vertices = vertices[:, (1, 2, 0)]
  known = np.all(np.isfinite(vertices), axis=1)
  seen = np.where(known[:, None], vertices, 0.0) @ camera(azimuth, elevation).T
  if extent is None and known.any():
    low, high = seen[known].min(axis=0), seen[known].max(axis=0)
    seen -= (low + high) / 2
    extent = 1.06 * max((high - low)[:2].max() / 2, 1e-12)
  side = size * _SUPERSAMPLING
  pixels = (seen[:, :2] * (1, -1) / (extent or 1.0) + 1) * (side / 2)

  if len(faces):
    faces = faces[known[faces].all(axis=1)]
    owner = rasterize(pixels[faces], seen[faces, 2], side)
    paint = colors[faces].mean(axis=1) * _shade(seen[faces])[:, None]
  else:
    index = np.flatnonzero(known)
    owner = _splat(pixels[index], seen[index, 2], radius * side, side)
    depth = seen[index, 2] / (extent or 1.0)
    paint = colors[index] * np.clip(0.8 + 0.3 * depth, 0.3, 1.1)[:, None]
  canvas = np.full((side * side, 3), background)
  canvas[owner >= 0] = np.clip(paint, 0, 1)[owner[owner >= 0]]
  canvas = canvas.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING, 3)
  return canvas.mean(axis=(1, 3)).astype(np.float32)


def rasterize(corners: np.ndarray, depths: np.ndarray, side: int) -> np.ndarray:
  """Returns the front triangle [side²] of each pixel, row by row; -1 where none is.

  Args:
    corners: [F, 3, 2] positions (column, row) in pixels; the first pixel's centre is
      (0.5, 0.5).
    depths: [F, 3], larger is nearer.
    side: of the square picture, in pixels.
  """
  buffer = _Buffer(side)
  low = np.clip(np.floor(corners.min(axis=1)), 0, side).astype(int)
  high = np.clip(np.ceil(corners.max(axis=1)), 0, side).astype(int)
  reach = (high - low).max(axis=1, initial=0)
  is_seen = (high > low).all(axis=1)
  # Triangles of alike size are tested together, each on a square of pixels.
  square = 1
  while is_seen.any() and square < 2 * side:
    group = np.flatnonzero(is_seen & (reach <= square))
    is_seen[group] = False
    offsets = np.stack(np.divmod(np.arange(square * square), square)[::-1], axis=-1)
    at_once = max(1, _PIXELS_AT_ONCE // len(offsets))
    for start in range(0, len(group), at_once):
      part = group[start : start + at_once]
      places = low[part, None] + offsets
      weights = barycentric(places + 0.5, corners[part])
      inside = (weights >= -1e-9).all(axis=-1) & (places < side).all(axis=-1)
      depth = (weights * depths[part, None]).sum(axis=-1)
      owner = np.broadcast_to(part[:, None], inside.shape)
      buffer.put(places[inside], depth[inside], owner[inside])
    square *= 2
  return buffer.owner


def _shade(corners):
  """Returns the light [F] that comes back from triangles [F, 3, 3]."""
  edges = corners[:, 1:] - corners[:, :1]
  normals = np.cross(edges[:, 0], edges[:, 1])
  length = np.linalg.norm(normals, axis=1, keepdims=True)
  normals /= np.where(length > 0, length, 1)
  normals *= np.where(normals[:, 2:] < 0, -1, 1)  # towards the camera
  light = np.full(len(corners), _AMBIENT)
  for direction, strength in _LIGHTS:
    toward = np.array(direction) / np.linalg.norm(direction)
    light += strength * np.maximum(normals @ toward, 0)
  return light


def _splat(pixels, depths, radius, side):
  """Returns the front disc [side²] of each pixel, -1 where there is none."""
  buffer = _Buffer(side)
  reach = int(np.ceil(radius))
  around = np.arange(-reach, reach + 1)
  offsets = np.stack(np.meshgrid(around, around), axis=-1).reshape(-1, 2)
  offsets = offsets[np.square(offsets).sum(axis=1) <= radius**2]
  at_once = max(1, _PIXELS_AT_ONCE // len(offsets))
  for start in range(0, len(pixels), at_once):
    part = np.arange(start, min(start + at_once, len(pixels)))
    places = np.floor(pixels[part, None]).astype(int) + offsets
    inside = ((places >= 0) & (places < side)).all(axis=-1)
    depth = np.broadcast_to(depths[part, None], inside.shape)
    owner = np.broadcast_to(part[:, None], inside.shape)
    buffer.put(places[inside], depth[inside], owner[inside])
  return buffer.owner


class _Buffer:
  """A z-buffer: keeps of every pixel who was nearest."""

  def __init__(self, side):
    self._side = side
    self._depth = np.full(side * side, -np.inf)
    self.owner = np.full(side * side, -1)

  def put(self, places, depth, owner):
    """Offers [N, 2] pixels (column, row) with depths and owners [N]."""
    pixel = places[:, 1] * self._side + places[:, 0]
    wins = np.flatnonzero(depth > self._depth[pixel])
    wins = wins[np.argsort(depth[wins], kind="stable")]
    # Of several for one pixel the last, which is the nearest, remains.
    self._depth[pixel[wins]] = depth[wins]
    self.owner[pixel[wins]] = owner[wins]


def barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
  """Returns the weights [F, N, 3] by which points [F, N, 2] mix corners [F, 3, 2].

  They are NaN where a triangle has no area.
  """
  a, b, c = (corners[:, None, corner] for corner in range(3))
  area = _cross(b - a, c - a)
  area = np.where(np.abs(area) > 1e-12, area, np.nan)  # seen from its edge: nowhere
  second = _cross(points - a, c - a) / area
  third = _cross(b - a, points - a) / area
  return np.stack([1 - second - third, second, third], axis=-1)


def _cross(a, b):
  return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
