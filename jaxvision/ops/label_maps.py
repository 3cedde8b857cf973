"""Label maps as networks take them: one-hot channels, and borders of instances."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

UNKNOWN = 255  # how 8-bit label maps mark pixels without a class


def one_hot(
  labels: chex.Array, num_classes: int, *, unknown_class: bool = False
) -> chex.Array:
  """Returns the classes of pixels as channels.

  Args:
    labels: [..., H, W] int. A value that is no class gives zeros in all channels.
    num_classes: number of classes, from 0.
    unknown_class: whether UNKNOWN becomes one more class, the last.

  Returns:
    [..., H, W, num_classes + unknown_class] float32.
  """
  chex.assert_type(labels, int)
  labels = labels.astype(jnp.int32)
  if unknown_class:
    labels = jnp.where(labels == UNKNOWN, num_classes, labels)
  return jax.nn.one_hot(labels, num_classes + unknown_class)


def instance_edges(instances: chex.Array) -> chex.Array:
  """Returns where a pixel has a neighbour, of four, of another instance.

  Args:
    instances: [..., H, W] int identifiers. What lies outside differs from nothing.

  Returns:
    [..., H, W] bool; pixels on both sides of a border are marked.
  """
  chex.assert_type(instances, int)
  rows = instances[..., 1:, :] != instances[..., :-1, :]
  columns = instances[..., :, 1:] != instances[..., :, :-1]
  none = [(0, 0)] * (instances.ndim - 2)

  def shifted(marks, axis, pair):
    widths = [pair if i == axis else (0, 0) for i in range(2)]
    return jnp.pad(marks, [*none, *widths])

  return (
    shifted(rows, 0, (1, 0))
    | shifted(rows, 0, (0, 1))
    | shifted(columns, 1, (1, 0))
    | shifted(columns, 1, (0, 1))
  )


def resize_nearest(maps: chex.Array, shape: tuple[int, int]) -> chex.Array:
  """Returns maps at another resolution, each pixel that of a source pixel.

  Output i is source floor(i · in / out), as PyTorch's mode "nearest" has it, which
  also rounds in / out to float32. `jax.image.resize` takes the pixel at the centre of
  the output's instead, which differs when sides shrink.

  Args:
    maps: [..., H, W, C] of any type.
    shape: height and width of the result.

  Returns:
    [..., *shape, C].
  """
  height, width = maps.shape[-3:-1]
  chex.assert_scalar_positive(min(*shape, height, width))
  if shape != (height, width):
    maps = jnp.take(maps, _sources(height, shape[0]), axis=-3)
    maps = jnp.take(maps, _sources(width, shape[1]), axis=-2)
  return maps


def _sources(length: int, size: int) -> np.ndarray:
  """Returns the [size] indices of the sources on an axis."""
  ratio = np.float32(length) / np.float32(size)
  sources = np.floor(np.arange(size, dtype=np.float32) * ratio).astype(np.int32)
  return np.minimum(sources, length - 1)
