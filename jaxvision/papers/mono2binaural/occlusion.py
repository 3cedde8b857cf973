"""Where the network looks: what hiding a block of the frame does to the loss (M10)."""

from collections.abc import Mapping
from typing import Any

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.mono2binaural import audio, inference
from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.papers.mono2binaural.networks import (
  AudioVisualNet,
  normalize_frames,
  signed_mask,
)

BLOCK = 32  # pixels of a side


def corners(height: int, width: int, block: int, stride: int) -> np.ndarray:
  """Returns [rows, columns, 2], the upper left pixels of the blocks of a frame."""
  if min(height, width) < block:
    raise ValueError(f"a block of {block} exceeds frames of {height} x {width}")
  rows = np.arange(0, height - block + 1, stride)
  columns = np.arange(0, width - block + 1, stride)
  return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)


def occlude(frame: chex.Array, corner: chex.Array, block: int) -> chex.Array:
  """Returns the frame with blocks replaced by its mean colour.

  Args:
    frame: [H, W, 3].
    corner: [K, 2], row and column of the upper left pixel of each block.
    block: side in pixels.

  Returns:
    [K, H, W, 3].
  """
  chex.assert_rank([frame, corner], [3, 2])
  height, width, _ = frame.shape
  rows = jnp.arange(height) - corner[:, :1]
  columns = jnp.arange(width) - corner[:, 1:]
  is_row = (rows >= 0) & (rows < block)
  is_column = (columns >= 0) & (columns < block)
  hidden = is_row[:, :, None] & is_column[:, None, :]
  mean = jnp.mean(frame, axis=(0, 1))
  return jnp.where(hidden[..., None], mean, frame)


def occlusion_map(
  network: AudioVisualNet,
  variables: Mapping[str, Any],
  segment: chex.Array,
  frame: chex.Array,
  form: AudioFormat,
  *,
  block: int = BLOCK,
  stride: int | None = None,
  is_mono: bool = False,
  batch: int = inference.BATCH,
) -> chex.Array:
  """Returns the loss with each block hidden: the network looks where it is large.

  Args:
    network: the network.
    variables: of the network.
    segment: [T, 2], as long as the format's segment.
    frame: [H, W, 3] in [0, 1].
    form: of the segment.
    block: side of the blocks in pixels.
    stride: pixels between blocks; `block` when None.
    is_mono: whether the true difference is unknown; then the loss is the mean squared
      change of the predicted one.
    batch: blocks that pass the network at a time.

  Returns:
    [rows, columns], one number a block.
  """
  places = corners(*frame.shape[:2], block, stride or block)
  normal, _ = audio.normalize(segment)
  spectra = [audio.spectrum(x, form) for x in audio.sum_and_difference(normal)]

  def predict(frames):
    mix = jnp.broadcast_to(spectra[0], (len(frames), *spectra[0].shape))
    logits = network.apply(variables, mix, normalize_frames(frames))
    return audio.complex_product(signed_mask(logits), mix[:, : logits.shape[1]])

  target = predict(frame[None])[0] if is_mono else spectra[1][: form.n_fft // 2]

  def losses(places):
    predicted = predict(occlude(frame, places, block))
    return jnp.mean(jnp.square(predicted - target), axis=(1, 2, 3))

  flat = jnp.asarray(places.reshape(-1, 2))
  return inference.in_batches(losses, (flat,), batch).reshape(places.shape[:2])


def is_near(
  heat: np.ndarray, positions: np.ndarray, *, block: int, stride: int | None = None
) -> bool:
  """Returns whether the peak of a map lies within one block of a position.

  Args:
    heat: [rows, columns], of `occlusion_map`.
    positions: [S, 2], row and column in pixels.
    block, stride: of the map.
  """
  row, column = np.unravel_index(np.argmax(heat), heat.shape)
  centre = np.array([row, column]) * (stride or block) + (block - 1) / 2
  # Within one block: in the peak's block or one of its neighbours.
  return bool(np.any(np.all(np.abs(positions - centre) <= 1.5 * block, axis=-1)))


def chance(
  shape: tuple[int, int],
  positions: np.ndarray,
  *,
  block: int,
  stride: int | None = None,
) -> float:
  """Returns the share of blocks of a map for which `is_near` would hold."""
  hits = 0
  for index in range(shape[0] * shape[1]):
    heat = np.zeros(shape)
    heat.flat[index] = 1
    hits += is_near(heat, positions, block=block, stride=stride)
  return hits / (shape[0] * shape[1])
