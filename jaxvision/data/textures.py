"""Solid textures: a brightness at each point of space, the same wherever it is seen."""

import chex
import jax.numpy as jnp

CHECKER, STRIPES, NOISE, SPOTS = range(4)
FAMILIES = 4

_EDGE = 5.0  # how sharp the borders of checkers and stripes are
_OCTAVES = 3


def solid_texture(
  points: chex.Array,
  family: chex.Array,
  frequency: chex.Array,
  direction: chex.Array,
  seed: chex.Array,
) -> chex.Array:
  """Returns the brightness of points inside a textured solid.

  Args:
    points: [..., 3] in the solid's own frame, metres.
    family: [...] int32, CHECKER, STRIPES, NOISE or SPOTS.
    frequency: [...] cells per metre.
    direction: [..., 3] unit normal of the stripes.
    seed: [...] uint32, one for each solid.

  Returns:
    [...] float in [0, 1], smooth but for the borders of spots' cells, where it is 0.
  """
  chex.assert_axis_dimension(points, -1, 3)
  chex.assert_equal_shape([points, direction])
  chex.assert_shape([family, frequency, seed], points.shape[:-1])
  chex.assert_type([points, frequency, direction], float)

  cells = points * frequency[..., None]
  along = jnp.sum(cells * direction, axis=-1)
  # A quarter period off, so that a solid's middle planes are no border.
  waves = jnp.tanh(_EDGE * jnp.cos(jnp.pi * cells))
  checker = (1 + jnp.prod(waves, axis=-1)) / 2
  stripes = (1 + jnp.tanh(_EDGE / 2 * jnp.sin(2 * jnp.pi * along))) / 2
  return jnp.select(
    [family == CHECKER, family == STRIPES, family == SPOTS],
    [checker, stripes, _spots(cells, seed)],
    _fractal_noise(cells, seed),
  )


def value_noise(cells: chex.Array, seed: chex.Array) -> chex.Array:
  """Returns random values at integer points, smoothly interpolated between them.

  Args:
    cells: [..., 3] points; the noise varies over about one unit.
    seed: [...] uint32.

  Returns:
    [...] float in [0, 1].
  """
  chex.assert_shape(seed, cells.shape[:-1])
  corner = jnp.floor(cells)
  offset = cells - corner
  weight = (offset * offset * (3 - 2 * offset))[..., None, :]
  steps = jnp.stack(jnp.meshgrid(*[jnp.arange(2)] * 3), axis=-1).reshape(8, 3)
  shares = jnp.prod(jnp.where(steps == 1, weight, 1 - weight), axis=-1)
  values = _hash(corner.astype(jnp.int32)[..., None, :] + steps, seed[..., None])
  return jnp.sum(shares * values, axis=-1)


def _fractal_noise(cells: chex.Array, seed: chex.Array) -> chex.Array:
  """Sums noise of doubling frequency and halving height, with contrast raised."""
  octaves = jnp.arange(_OCTAVES)
  heights = 0.5**octaves
  noise = value_noise(
    cells[..., None, :] * 2.0 ** octaves[:, None],
    seed[..., None] + octaves.astype(jnp.uint32),
  )
  mean = noise @ heights / heights.sum()
  return jnp.clip(0.5 + 1.8 * (mean - 0.5), 0, 1)


def _spots(cells: chex.Array, seed: chex.Array) -> chex.Array:
  """Puts a ball of random size and place into each cell."""
  corner = jnp.floor(cells).astype(jnp.int32)
  salts = jnp.arange(4, dtype=jnp.uint32)
  random = _hash(corner[..., None, :], seed[..., None] + salts)
  center = 0.4 + 0.2 * random[..., :3]
  distance = jnp.linalg.norm(cells - corner - center, axis=-1)
  radius = 0.25 + 0.12 * random[..., 3]
  return jnp.clip((radius - distance) / 0.05, 0, 1)


def _hash(lattice: chex.Array, seed: chex.Array) -> chex.Array:
  """Returns [...] float in [0, 1) for [..., 3] integer points."""
  primes = jnp.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D], jnp.uint32)
  mixed = lattice.astype(jnp.uint32) * primes
  bits = mixed[..., 0] ^ mixed[..., 1] ^ mixed[..., 2]
  bits ^= seed * jnp.uint32(0x27D4EB2F)
  # The finalizer of murmur3: each input bit flips half of the output bits.
  bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
  bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
  bits ^= bits >> 16
  return (bits >> 8).astype(jnp.float32) * 2.0**-24
