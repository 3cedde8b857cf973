"""Moving blocks of pixels into channels and back.

Images are [..., H, W, C]. The channels of one block are ordered as TensorFlow
does: first the block's rows, then its columns, then the channels of a pixel.
"""

import chex
import jax.numpy as jnp


def space_to_depth(images: chex.Array, block: int) -> chex.Array:
  """Returns [..., H/block, W/block, block² C]: each block of pixels as one pixel.

  Args:
    images: [..., H, W, C], H and W multiples of `block`.
    block: side of a block in pixels.
  """
  *batch, height, width, channels = images.shape
  if height % block or width % block:
    raise ValueError(f"images of {height} x {width} do not divide into {block}s")
  blocks = images.reshape(
    *batch, height // block, block, width // block, block, channels
  )
  return jnp.swapaxes(blocks, -3, -4).reshape(
    *batch, height // block, width // block, block * block * channels
  )


def depth_to_space(images: chex.Array, block: int) -> chex.Array:
  """Returns [..., H block, W block, C/block²]: each pixel as a block of pixels.

  Args:
    images: [..., H, W, C], C a multiple of `block` squared.
    block: side of a block in pixels.
  """
  *batch, height, width, channels = images.shape
  if channels % (block * block):
    raise ValueError(f"{channels} channels do not divide into {block} x {block}")
  blocks = images.reshape(*batch, height, width, block, block, -1)
  return jnp.swapaxes(blocks, -3, -4).reshape(
    *batch, height * block, width * block, channels // (block * block)
  )
