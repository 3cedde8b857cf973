"""Transients of hidden surfaces by summing over samples (T1), differentiable.

A transient is the light that arrives per unit of path length τ, which does not count
the legs between the instruments and the wall.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp

from jaxvision.papers.fermat_paths.surfaces import Samples

_CHUNK = 8192  # samples that fit the cache: four times as fast as all at once


@dataclasses.dataclass(frozen=True)
class Reflectance:
  """How the hidden surface and the wall reflect.

  Attributes:
    diffuse: ρ_d of the surface.
    specular: ρ_s of its Phong lobe around the mirror direction.
    exponent: p of the lobe, 0 or more.
    isotropic_wall: whether the wall's cosine is left out.
  """

  diffuse: float = 1.0
  specular: float = 0.0
  exponent: float = 1.0
  isotropic_wall: bool = True


def render(
  samples: Samples,
  wall: chex.Array,
  bins: chex.Array,
  reflectance: Reflectance = Reflectance(),
  *,
  source: chex.Array | None = None,
  wall_normals: chex.Array | None = None,
  occlusion: int | None = None,
) -> chex.Array:
  """Returns the transient of every wall point.

  Args:
    samples: of the hidden surface.
    wall: [n, 3] points v at which light is detected, cm.
    bins: [m] centres of equally wide bins of path length, cm, m ≥ 2.
    reflectance: of surface and wall.
    source: [3] the wall point v_s that is lit; that which is detected when None
      (confocal).
    wall_normals: [n, 3] unit; +z when None.
    occlusion: directions across the map by which samples behind others are left
      out; None for surfaces that do not hide each other. It must be coarse enough
      that a map's cell holds several samples.

  Returns:
    [n, m] per cm of path length. Light is split linearly between the two nearest
    bins; what falls outside all bins is lost.

  Source: Eq. 1; T1.
  """
  chex.assert_shape(list(samples[:2]), (None, 3))
  chex.assert_shape(wall, (None, 3))
  chex.assert_rank(bins, 1)
  chex.assert_type([wall, bins, *samples], float)
  if bins.size < 2:
    raise ValueError("a transient needs at least two bins")
  if wall_normals is None:
    wall_normals = jnp.zeros_like(wall).at[:, 2].set(1.0)
  chex.assert_equal_shape([wall, wall_normals])
  whole = jax.tree.map(lambda leaf: jnp.asarray(leaf).T, samples)  # [3, N]: vectorises
  chunks = jax.tree.map(_in_chunks, whole)
  chunks = chunks._replace(areas=_in_chunks(whole.areas, mode="constant"))

  def one(detector_and_normal):
    detector, normal = detector_and_normal
    visible = jnp.ones_like(chunks.areas)
    if occlusion is not None:
      ends = (detector,) if source is None else (detector, source)
      seen = [
        _visible(*_leg(end, whole.points), whole.normals, occlusion) for end in ends
      ]
      visible = _in_chunks(jnp.all(jnp.stack(seen), axis=0).astype(wall.dtype))

    def add(pairs, chunk):
      parts, visible = chunk
      weight, lengths = _shade(parts, detector, source, normal, reflectance)
      return _deposit(pairs, lengths, weight * visible, bins), None

    start = jnp.zeros((bins.shape[0] + 1, 2), wall.dtype)
    return _from_pairs(jax.lax.scan(add, start, (chunks, visible))[0])

  return jax.lax.map(one, (wall, wall_normals))


def histogram(lengths: chex.Array, weights: chex.Array, bins: chex.Array) -> chex.Array:
  """Returns the density of weights over length, split linearly between two bins.

  Args:
    lengths: [N].
    weights: [N].
    bins: [m] centres of equally wide bins.

  Returns:
    [m] sums divided by the bins' width; what lies outside is lost.
  """
  chex.assert_equal_shape([lengths, weights])
  start = jnp.zeros((bins.shape[0] + 1, 2), weights.dtype)
  return _from_pairs(_deposit(start, lengths, weights, bins))


def _deposit(pairs, lengths, weights, bins):
  """Adds weights to [m + 1, 2] pairs: what goes to the bin before and to that after."""
  count = bins.shape[0]
  width = (bins[-1] - bins[0]) / (count - 1)
  position = (lengths - bins[0]) / width
  low = jnp.floor(position)
  part = position - low
  inside = (low >= -1) & (low < count)  # NaN is not
  slot = jnp.where(inside, low, -1).astype(jnp.int32) + 1
  weights = jnp.where(inside, weights, 0.0) / width
  # One update of two values each is twice as fast as two updates.
  updates = jnp.stack([weights * (1 - part), weights * part], axis=-1)
  return pairs.at[slot].add(jnp.where(inside[:, None], updates, 0.0))


def _from_pairs(pairs):
  return pairs[1:, 0] + pairs[:-1, 1]


def _in_chunks(leaf, mode="edge"):
  """Returns [..., N] as [chunks, ..., _CHUNK], the last ones filled up."""
  size = min(_CHUNK, leaf.shape[-1])
  fill = [(0, 0)] * (leaf.ndim - 1) + [(0, -leaf.shape[-1] % size)]
  padded = jnp.pad(leaf, fill, mode=mode)
  return jnp.moveaxis(padded.reshape(*leaf.shape[:-1], -1, size), -2, 0)


def _shade(parts, detector, source, wall_normal, reflectance):
  """Returns what samples return per unit of intensity, and their path lengths."""
  to_detector, far = _leg(detector, parts.points)
  throughput = _throughput(to_detector, far, parts.normals, wall_normal, reflectance)
  if source is None:
    half, weight, lengths = to_detector, jnp.square(throughput), 2 * far
  else:
    to_source, near = _leg(source, parts.points)
    half = to_source + to_detector
    half /= jnp.maximum(jnp.sqrt(jnp.sum(jnp.square(half), axis=0)), 1e-12)
    other = _throughput(to_source, near, parts.normals, wall_normal, reflectance)
    weight, lengths = throughput * other, far + near
  return weight * _lobe(half, parts.normals, reflectance) * parts.areas, lengths


def _leg(wall_point, points):
  """Returns unit vectors [3, N] from the samples to a wall point, and distances."""
  offsets = wall_point[:, None] - points
  distances = jnp.sqrt(jnp.sum(jnp.square(offsets), axis=0))
  return offsets / distances, distances


def _throughput(to_wall, distances, normals, wall_normal, reflectance):
  """Returns the geometric factor of one leg."""
  cosine = jnp.maximum(jnp.sum(to_wall * normals, axis=0), 0.0)
  if not reflectance.isotropic_wall:
    cosine *= jnp.maximum(-jnp.sum(to_wall * wall_normal[:, None], axis=0), 0.0)
  return cosine / jnp.square(distances)


def _lobe(half, normals, reflectance):
  if reflectance.specular == 0:
    return reflectance.diffuse
  cosine = jnp.sum(half * normals, axis=0)
  facing = cosine > 0
  # Powers of 0 have no gradient.
  lobe = jnp.where(facing, cosine, 1.0) ** reflectance.exponent
  return reflectance.diffuse + reflectance.specular * jnp.where(facing, lobe, 0.0)


def _visible(to_wall, distances, normals, size):
  """Returns whether each sample is the nearest in its cell of the directions' map.

  The map is octahedral: it has no poles, and serves walls of any orientation.
  """
  x, y, z = -to_wall / jnp.sum(jnp.abs(to_wall), axis=0)
  fold_x, fold_y = (
    (1 - jnp.abs(b)) * jnp.where(a >= 0, 1.0, -1.0) for a, b in ((x, y), (y, x))
  )
  u, v = jnp.where(z < 0, fold_x, x), jnp.where(z < 0, fold_y, y)
  cell = [
    jnp.clip((0.5 * (axis + 1) * size).astype(jnp.int32), 0, size - 1)
    for axis in (u, v)
  ]
  index = cell[0] * size + cell[1]
  cosine = jnp.sum(to_wall * normals, axis=0)
  fronts = jnp.where(cosine > 0, distances, jnp.inf)
  nearest = jnp.full(size * size, jnp.inf, distances.dtype).at[index].min(fronts)
  # A cell spans about 4 / size; a tilted surface changes its depth within it.
  slack = distances * (4.0 / size) / jnp.clip(cosine, 0.1, 1.0)
  return jax.lax.stop_gradient(distances <= nearest[index] + slack)
