"""Scans of objects by a model of a depth camera: noise, occlusion, two sides.

The object is a real mesh where a package that brings one is installed (pymeshlab,
pyvista or pybullet: nothing is imported from it, only its mesh files are read), or else
the built-in surface.
"""

import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import meshes, wheel_meshes
from jaxvision.ops import rigid
from jaxvision.papers.filterreg import data

# What is scanned, the most bunny-like first.
_OBJECTS = ("bunny", "cow", "low bunny", "duck", "small airplane")
_HEIGHT, _WIDTH, _FOCAL = 120, 160, 320.0
_DISTANCE = 0.45  # metres from the camera to the object


def sample_mesh(path: pathlib.Path, count: int, seed: int) -> np.ndarray:
  """Returns points [count, 3], uniform on a mesh scaled to `data.SIZE`, centred."""
  mesh = meshes.read_mesh(path)
  corners = mesh.vertices[mesh.faces]
  edges = corners[:, 1:] - corners[:, :1]
  area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
  rng = np.random.default_rng(seed)
  chosen = rng.choice(len(area), count, p=area / area.sum())
  shares = rng.random((count, 2, 1))
  shares = np.where(shares.sum(axis=1, keepdims=True) > 1, 1 - shares, shares)
  points = corners[chosen, 0] + (shares * edges[chosen]).sum(axis=1)
  low, high = points.min(axis=0), points.max(axis=0)
  scaled = (points - (low + high) / 2) * (data.SIZE / (high - low).max())
  return scaled.astype(np.float32)


def dense_surface(count: int = 60_000) -> tuple[np.ndarray, str]:
  """Returns points [count, 3] of the object that is scanned, and its name."""
  path = wheel_meshes.find(_OBJECTS)
  if path is not None:
    return sample_mesh(path, count, 0), path.stem
  points, _ = jax.jit(data.sample_surface, static_argnums=1)(jax.random.key(7), count)
  return np.asarray(points), "built-in surface"


def scan(
  key: chex.PRNGKey, surface: chex.Array, pose: chex.Array, *, noise: float = 0.002
) -> chex.Array:
  """Returns what a depth camera sees of a dense surface, in the camera's frame.

  Points are splatted into a depth buffer, of which the nearest remain; depth has noise
  that grows with its square, and is read in steps of a millimetre.

  Args:
    key: of the noise.
    surface: [K, 3] points, so dense that the front hides the back.
    pose: [4, 4] of the object in the camera's frame.
    noise: standard deviation of depth in parts of its square.

  Returns:
    [H W, 3], NaN where nothing is seen.
  """
  points = rigid.apply(pose, surface)
  depth = points[:, 2]
  center = jnp.array([_WIDTH - 1, _HEIGHT - 1]) / 2
  pixel = jnp.rint(_FOCAL * points[:, :2] / depth[:, None] + center).astype(jnp.int32)
  inside = (pixel >= 0).all(axis=1) & (pixel < jnp.array([_WIDTH, _HEIGHT])).all(axis=1)
  row = jnp.where(inside & (depth > 0), pixel[:, 1], _HEIGHT)
  buffer = jnp.full((_HEIGHT, _WIDTH), jnp.inf)
  seen = buffer.at[row, pixel[:, 0]].min(depth, mode="drop")
  error = noise * jnp.square(seen) * jax.random.normal(key, seen.shape)
  read = jnp.round((seen + error) * 1000) / 1000
  intrinsics = jnp.array(
    [[_FOCAL, 0, center[0]], [0, _FOCAL, center[1]], [0.0, 0.0, 1.0]]
  )
  return data.back_project(read, intrinsics)[0]


def scan_pair(
  key: chex.PRNGKey, surface: chex.Array, *, degrees: float, noise: float, count: int
) -> data.Trial:
  """Returns two scans of an object that turned in between.

  Args:
    key: of the poses, the noise and the choice of points.
    surface: [K, 3] dense points.
    degrees: of the turn; the larger, the less do both scans have in common.
    noise: see `scan`.
    count: points kept of each scan; NaN where a scan has fewer.
  """
  keys = jax.random.split(key, 5)
  away = jnp.array([0.0, 0.0, _DISTANCE])
  first = data.random_motion(
    keys[0],
    jnp.zeros(3),
    angle=jax.random.uniform(keys[1], maxval=jnp.pi),
    shift=(0.0, 0.0),
  )
  first = rigid.transform(first[:3, :3], away)
  turn = data.random_motion(
    keys[2], away, angle=np.deg2rad(degrees), shift=(0.005, 0.02)
  )
  second = jnp.matmul(turn, first, precision="highest")
  clouds = []
  for scan_key, pose in ((keys[3], first), (keys[4], second)):
    noise_key, choice_key = jax.random.split(scan_key)
    points = scan(noise_key, surface, pose, noise=noise)
    order = jax.random.uniform(choice_key, points.shape[:1])
    order = jnp.where(jnp.isfinite(points[:, 2]), order, 2.0)
    clouds.append(points[jnp.argsort(order)[:count]])
  return data.Trial(*clouds, truth=turn, surface=rigid.apply(first, surface)[:count])
