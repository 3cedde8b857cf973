"""Animated GIFs."""

import io
from collections.abc import Sequence

import chex
import numpy as np
from etils import epath
from PIL import Image

from jaxvision.data import files


def write_gif(
  path: epath.PathLike, frames: Sequence[np.ndarray], *, milliseconds: int = 40
) -> None:
  """Writes frames as a GIF that repeats for ever, each with its best 256 colours.

  Args:
    path: where to; an existing file is replaced.
    frames: [H, W, 3] uint8 each, at least one.
    milliseconds: how long each is shown; GIFs know multiples of 10.
  """
  for frame in frames:
    chex.assert_shape(frame, (*frames[0].shape[:2], 3))
    chex.assert_type(frame, np.uint8)
  first, *others = [
    Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE) for frame in frames
  ]
  encoded = io.BytesIO()
  first.save(
    encoded,
    "GIF",
    save_all=True,
    append_images=others,
    duration=milliseconds,
    loop=0,
  )
  files.write_bytes(path, encoded.getvalue())
