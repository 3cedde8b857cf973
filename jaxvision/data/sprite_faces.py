"""Small drawn faces whose every factor is known, for generative models.

A face is a disc with eyes, a mouth and speckled hair on a plain ground. Its factors are
numbers in [0, 1], named by FACTORS; one combination never occurs: a face that is red
(hue > 1/2) and large (size > 1/2). A latent space without holes must therefore be
warped to fit the faces (Karras et al., CVPR 2019, Figure 6).
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.interpolation import lerp

FACTORS = ("hue", "size", "eyes", "smile", "right", "down", "ground", "hair")
HUE, SIZE, EYES, SMILE, RIGHT, DOWN, GROUND, HAIR = range(len(FACTORS))
# What an attribute is called whose factor is above 1/2.
ATTRIBUTES = (
  "red face",
  "large face",
  "wide eyes",
  "smile",
  "right of the middle",
  "below the middle",
  "green ground",
  "fair hair",
)

_COLORS = {  # at factor 0 and at 1
  HUE: ((0.98, 0.86, 0.55), (0.88, 0.36, 0.30)),
  GROUND: ((0.30, 0.42, 0.75), (0.42, 0.68, 0.40)),
  HAIR: ((0.16, 0.11, 0.10), (0.80, 0.66, 0.36)),
}
_DARK = (0.12, 0.10, 0.14)
_SPECKLE = 0.3  # of the hair's brightness, uniform, to both sides
_CHUNK = 256  # faces drawn at once


class Faces(NamedTuple):
  """Faces and what they are made of.

  Attributes:
    images: [N, side, side, 3] uint8.
    factors: [N, FACTORS] float32 in [0, 1].
  """

  images: np.ndarray
  factors: np.ndarray


def draw_factors(key: chex.PRNGKey, count: int) -> chex.Array:
  """Returns random factors [count, FACTORS]; none are red and large."""
  values_key, side_key = jax.random.split(key)
  factors = jax.random.uniform(values_key, (count, len(FACTORS)))
  is_forbidden = (factors[:, HUE] > 0.5) & (factors[:, SIZE] > 0.5)
  loses_hue = jax.random.bernoulli(side_key, shape=(count,))
  factors = factors.at[:, HUE].add(-0.5 * (is_forbidden & loses_hue))
  return factors.at[:, SIZE].add(-0.5 * (is_forbidden & ~loses_hue))


def draw_face(key: chex.PRNGKey, factors: chex.Array, side: int) -> chex.Array:
  """Returns one face [side, side, 3] in [0, 1].

  Args:
    key: of the speckles of its hair, which no factor says.
    factors: [FACTORS] in [0, 1].
    side: pixels.
  """
  chex.assert_shape(factors, (len(FACTORS),))
  chex.assert_type(factors, float)
  chex.assert_scalar_positive(side)
  axis = (jnp.arange(side) + 0.5) * (2 / side) - 1
  v, u = jnp.meshgrid(axis, axis, indexing="ij")
  # Coordinates of the face: its middle is 0 and its radius 1.
  radius = 0.46 + 0.28 * factors[SIZE]
  u = (u - 0.3 * (factors[RIGHT] - 0.5)) / radius
  v = (v - 0.24 * (factors[DOWN] - 0.5) - 0.06) / radius

  def cover(image, distance, color):
    """Paints where the distance to an outline, in radii, is negative."""
    share = jnp.clip(0.5 - distance * radius * side / 2, 0, 1)
    return lerp(image, jnp.asarray(color), share[..., None])

  def color(factor):
    return lerp(*jnp.asarray(_COLORS[factor]), factors[factor])

  speckle = jax.random.uniform(key, (side, side, 1), minval=-1, maxval=1)
  hair = color(HAIR) * (1 + _SPECKLE * speckle)
  image = jnp.broadcast_to(color(GROUND), (side, side, 3))
  image = cover(image, jnp.hypot(u, v + 0.15) - 1.15, hair)
  skin = jnp.maximum(jnp.hypot(u, v) - 1, -0.4 - v)  # below the hair line
  image = cover(image, skin, color(HUE))
  apart = 0.26 + 0.26 * factors[EYES]
  eyes = jnp.hypot(jnp.abs(u) - apart, v + 0.02) - 0.17
  image = cover(image, eyes, _DARK)
  bend = 0.55 * (factors[SMILE] - 0.5)
  line = jnp.abs(v - 0.55 + bend * (2 * jnp.square(u / 0.45) - 1)) - 0.1
  mouth = jnp.maximum(line, jnp.abs(u) - 0.5)
  return jnp.clip(cover(image, mouth, _DARK), 0, 1)


def faces(seed: int, count: int, side: int) -> Faces:
  """Returns random faces, the same for the same seed.

  Args:
    seed: not negative.
    count: at least 1.
    side: pixels, at least 8.
  """
  chex.assert_scalar_positive(count)
  chex.assert_scalar_non_negative(side - 8)
  factors, speckle = jax.random.split(jax.random.key(seed))
  factors = draw_factors(factors, count)
  images = []
  for first in range(0, count, _CHUNK):
    wanted = jnp.arange(first, first + _CHUNK) % count
    keys = jax.vmap(functools.partial(jax.random.fold_in, speckle))(wanted)
    images.append(np.asarray(_draw(keys, factors[wanted], side)))
  return Faces(np.concatenate(images)[:count], np.asarray(factors))


@functools.partial(jax.jit, static_argnums=2)
def _draw(keys, factors, side):
  images = jax.vmap(functools.partial(draw_face, side=side))(keys, factors)
  return jnp.round(255 * images).astype(jnp.uint8)
