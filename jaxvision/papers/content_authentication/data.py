"""Pairs of RAW and developed images, and the patches that networks see of them.

Pairs are kept as the authors store them: RAW stacks uint16, pictures uint8. Patches
are float32 in [0, 1]: "raw" [B, s, s, 4] and "target" [B, 2s, 2s, 3]. Cutting whole
cells of the mosaic keeps every patch's offset in the picture even.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.photographs import photographs
from jaxvision.errors import UserError
from jaxvision.papers.content_authentication import camera as cameras
from jaxvision.train import jit_once

TRAIN_PHOTOGRAPHS = (
  "astronaut",
  "chelsea",
  "coffee",
  "motorcycle",
  "retina",
  "rocket",
  "tissue",
)
VALIDATION_PHOTOGRAPHS = ("china", "flower")

# A patch of less variance is flat, and is dull below the second: kept half the time.
FLAT, DULL = 0.01, 0.02
ATTEMPTS = 100


class Pair(NamedTuple):
  """One photograph before and after development.

  Attributes:
    raw: [h, w, 4] uint16, planes R, G, G, B; 65535 is saturation.
    target: [2h, 2w, 3] uint8 sRGB.
  """

  raw: np.ndarray
  target: np.ndarray


def simulate_pairs(
  names: Sequence[str],
  camera: cameras.Camera,
  key: chex.PRNGKey,
  *,
  low_pass: float = 0.0,
  shape: tuple[int, int] = (300, 400),
) -> list[Pair]:
  """Returns photographs of `jaxvision.data.photographs` as a camera would take them.

  Args:
    names: of the photographs.
    camera: the camera to simulate.
    key: random key of the sensor's noise.
    low_pass: blur by lens and optical filter, in pixels; see camera.simulate.
    shape: height and width of the part around the centre that is taken, even.
  """
  crops = crop_photographs(names, shape).astype(np.float32) / 255
  take = functools.partial(cameras.simulate, camera=camera, low_pass=low_pass)
  raw, target = jit_once(take)(crops, key=key)
  raw = np.round(65535 * np.asarray(raw)).astype(np.uint16)
  target = np.round(255 * np.asarray(target)).astype(np.uint8)
  return [Pair(*arrays) for arrays in zip(raw, target, strict=True)]


def simulate_splits(
  camera: cameras.Camera, key: chex.PRNGKey, *, low_pass: float = 0.0
) -> dict[str, list[Pair]]:
  """Returns the demo's "train" and "validation" photographs; see `simulate_pairs`."""
  names = TRAIN_PHOTOGRAPHS + VALIDATION_PHOTOGRAPHS
  pairs = simulate_pairs(names, camera, key, low_pass=low_pass)
  number = len(TRAIN_PHOTOGRAPHS)
  return {"train": pairs[:number], "validation": pairs[number:]}


def crop_photographs(names: Sequence[str], shape: tuple[int, int]) -> np.ndarray:
  """Returns [B, *shape, 3] uint8: the middle of `jaxvision.data.photographs`."""
  images = photographs()
  height, width = shape
  crops = []
  for name in names:
    top = (images[name].shape[0] - height) // 2
    left = (images[name].shape[1] - width) // 2
    crops.append(images[name][top : top + height, left : left + width])
  return np.stack(crops)


def batch_shapes(batch: int, size: int) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of a batch of patches; `size` is the RAW's side."""
  return {
    "raw": jax.ShapeDtypeStruct((batch, size, size, 4), jnp.float32),
    "target": jax.ShapeDtypeStruct((batch, 2 * size, 2 * size, 3), jnp.float32),
  }


def training_batches(
  pairs: Sequence[Pair],
  *,
  batch_size: int,
  size: int,
  seed: int,
  reject_flat: bool = False,
) -> Callable[[int], dict[str, np.ndarray]]:
  """Returns step -> this process's share of the step's batch.

  Batches go through the photographs in order, one random patch of each. A batch
  depends on (seed, step) alone, so that a resumed run sees the same.

  Args:
    pairs: the photographs.
    batch_size: patches of the global batch.
    size: side of a RAW patch; its picture's is twice that.
    seed: of the positions.
    reject_flat: whether to look for another patch where one has no detail.

  Raises:
    UserError: the batch cannot be shared by the processes, or a photograph is
      smaller than a patch.
  """
  processes = jax.process_count()
  if batch_size % processes:
    raise UserError(f"{processes} processes cannot share batches of {batch_size}")
  _check_sizes(pairs, size)
  share = batch_size // processes
  first = share * jax.process_index()

  def batch(step: int) -> dict[str, np.ndarray]:
    patches = []
    for number in range(step * batch_size + first, step * batch_size + first + share):
      rng = np.random.default_rng((seed, number))
      patches.append(_sample(pairs[number % len(pairs)], size, rng, reject_flat))
    return _stack(patches)

  return batch


def validation_patches(
  pairs: Sequence[Pair], *, per_image: int, size: int, seed: int
) -> dict[str, np.ndarray]:
  """Returns `per_image` patches of each photograph that are not flat.

  Args:
    pairs: the photographs.
    per_image: patches of each.
    size: side of a RAW patch.
    seed: of the positions.

  Returns:
    {"raw": [N, size, size, 4], "target": [N, 2 size, 2 size, 3]} float32.
  """
  _check_sizes(pairs, size)
  rng = np.random.default_rng(seed)
  return _stack(
    [_sample(pair, size, rng, True) for pair in pairs for _ in range(per_image)]
  )


def _sample(
  pair: Pair,
  size: int,
  rng: np.random.Generator,
  reject_flat: bool,
  attempts: int = 100,
) -> Pair:
  """Returns a random patch; the last of `attempts`, where all are flat."""
  for _ in range(attempts):
    row, column = (rng.integers(side - size + 1) for side in pair.raw.shape[:2])
    patch = Pair(
      pair.raw[row : row + size, column : column + size],
      pair.target[2 * row : 2 * (row + size), 2 * column : 2 * (column + size)],
    )
    if not reject_flat:
      break
    variance = np.var(patch.target / 255)
    dull_but_kept = variance >= FLAT and rng.uniform() > 0.5
    if variance >= DULL or dull_but_kept:
      break
  return patch


def _stack(patches: Sequence[Pair]) -> dict[str, np.ndarray]:
  raw, target = (np.stack(arrays) for arrays in zip(*patches, strict=True))
  return {
    "raw": raw.astype(np.float32) / 65535,
    "target": target.astype(np.float32) / 255,
  }


def _check_sizes(pairs: Sequence[Pair], size: int) -> None:
  smallest = min(min(pair.raw.shape[:2]) for pair in pairs)
  if smallest < size:
    raise UserError(
      f"a photograph of {2 * smallest} pixels has no patches of {2 * size}"
    )
