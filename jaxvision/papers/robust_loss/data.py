"""Stand-ins for the paper's data that need no download."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.photographs import photographs
from jaxvision.ops import rigid

PHOTOGRAPHS = ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")
# The share of each photograph's columns, from the left, that patches for training see.
_TRAIN_SHARE = 0.75


class Pairs(NamedTuple):
  """A registration problem.

  Attributes:
    source: [N, 3] points.
    target: [N, 3] where each is said to lie; many are wrong.
    truth: [N, 3] where it lies.
  """

  source: chex.Array
  target: chex.Array
  truth: chex.Array


@functools.cache
def patches(seed: int, count: int, size: int, split: str) -> np.ndarray:
  """Returns random square patches of photographs at half resolution.

  Args:
    seed: of the places.
    count: number of patches.
    size: their side in pixels.
    split: "train", from the left three quarters of each photograph, or "validation",
      from the rest.

  Returns:
    [count, size, size, 3] float32 in [0, 1], half of them mirrored.
  """
  images = _halved(split)
  rng = np.random.default_rng([seed, split == "train"])
  found = np.empty((count, size, size, 3), np.float32)
  for patch, which in zip(found, rng.integers(len(images), size=count), strict=True):
    height, width = images[which].shape[:2]
    row, column = rng.integers(height - size + 1), rng.integers(width - size + 1)
    patch[:] = images[which][row : row + size, column : column + size]
  mirrored = rng.random(count) < 0.5
  found[mirrored] = found[mirrored, :, ::-1]
  return found


def registration(
  key: chex.PRNGKey, *, outliers: float, noise: float, count: int = 400
) -> Pairs:
  """Returns points of a bumpy sphere and where a random rigid motion takes them.

  Args:
    key: of everything random.
    outliers: share of the pairs whose target is another point of the cloud.
    noise: standard deviation of the others, in diameters of the cloud.
    count: number of pairs.
  """
  keys = jax.random.split(key, 6)
  direction = jax.random.normal(keys[0], (count, 3))
  direction /= jnp.linalg.norm(direction, axis=-1, keepdims=True)
  x, y, z = jnp.split(direction, 3, axis=-1)
  source = direction * (
    1 + 0.2 * jnp.sin(3 * x) * jnp.cos(4 * y) + 0.15 * jnp.sin(5 * z)
  )
  axis = jax.random.normal(keys[1], (3,))
  angle = jax.random.uniform(keys[2], minval=-jnp.pi, maxval=jnp.pi)
  turn = angle * axis / jnp.linalg.norm(axis)
  twist = jnp.concatenate([turn, jax.random.normal(keys[3], (3,))])
  truth = rigid.apply(rigid.exp_twist(twist), source)
  diameter = jnp.linalg.norm(jnp.max(source, axis=0) - jnp.min(source, axis=0))
  noisy = truth + noise * diameter * jax.random.normal(keys[4], truth.shape)
  wrong_key, order_key = jax.random.split(keys[5])
  is_wrong = jax.random.permutation(wrong_key, count) < round(outliers * count)
  elsewhere = jax.random.permutation(order_key, truth)
  return Pairs(source, jnp.where(is_wrong[:, None], elsewhere, noisy), truth)


@functools.cache
def _halved(split: str) -> Sequence[np.ndarray]:
  if split not in ("train", "validation"):
    raise ValueError(f"split {split!r} is neither train nor validation")
  halved = []
  found = photographs()
  for name in PHOTOGRAPHS:
    image = found[name].astype(np.float32) / 255
    height, width = (side // 2 for side in image.shape[:2])
    small = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    small = small.mean(axis=(1, 3))
    border = round(_TRAIN_SHARE * width)
    halved.append(small[:, :border] if split == "train" else small[:, border:])
  return halved
