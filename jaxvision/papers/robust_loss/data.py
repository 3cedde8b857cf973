"""Stand-ins for the paper's data that need no download.

Those of `depth` are in `depth_data`.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.photographs import photographs
from jaxvision.errors import UserError
from jaxvision.ops import rigid

PHOTOGRAPHS = ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")
SPLITS = ("validation", "train", "all")
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
    split: "train", from the left three quarters of each photograph, "validation",
      from the rest, or "all", from anywhere.

  Returns:
    [count, size, size, 3] float32 in [0, 1], half of them mirrored.
  """
  if split not in SPLITS:
    raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
  images = _halved(split)
  rng = np.random.default_rng([seed, SPLITS.index(split)])
  found = np.empty((count, size, size, 3), np.float32)
  for patch, which in zip(found, rng.integers(len(images), size=count), strict=True):
    height, width = images[which].shape[:2]
    row, column = rng.integers(height - size + 1), rng.integers(width - size + 1)
    patch[:] = images[which][row : row + size, column : column + size]
  mirrored = rng.random(count) < 0.5
  found[mirrored] = found[mirrored, :, ::-1]
  return found


def registration(
  key: chex.PRNGKey,
  *,
  outliers: chex.Numeric,
  noise: chex.Numeric,
  count: int = 400,
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
  diameter = jnp.max(jnp.linalg.norm(source[:, None] - source, axis=-1))
  noisy = truth + noise * diameter * jax.random.normal(keys[4], truth.shape)
  wrong_key, order_key = jax.random.split(keys[5])
  is_wrong = jax.random.permutation(wrong_key, count) < jnp.round(outliers * count)
  elsewhere = jax.random.permutation(order_key, truth)
  return Pairs(source, jnp.where(is_wrong[:, None], elsewhere, noisy), truth)


def digits() -> tuple[np.ndarray, np.ndarray]:
  """Returns scikit-learn's [1797, 64] digits in [0, 1], and the class of each.

  Raises:
    UserError: scikit-learn is not installed.
  """
  try:
    from sklearn import datasets
  except ImportError as error:
    raise UserError(
      "the digits come with scikit-learn, which is not installed: "
      "pip install 'jaxvision[demo]'"
    ) from error
  images, labels = datasets.load_digits(return_X_y=True)
  return (images / 16).astype(np.float32), labels


@functools.cache
def _halved(split: str) -> Sequence[np.ndarray]:
  columns = {
    "validation": lambda border: slice(border, None),
    "train": lambda border: slice(border),
    "all": lambda border: slice(None),
  }[split]
  halved = []
  found = photographs()
  for name in PHOTOGRAPHS:
    image = found[name].astype(np.float32) / 255
    height, width = (side // 2 for side in image.shape[:2])
    small = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    small = small.mean(axis=(1, 3))
    halved.append(small[:, columns(round(_TRAIN_SHARE * width))])
  return halved
