"""Tiny networks for the tests of mono2binaural."""

import jax
import numpy as np

from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.papers.mono2binaural.networks import Sizes

# 32 frames of 33 frequencies.
FORM = AudioFormat(rate=2000, n_fft=64, hop=32, window=50, segment=0.496)
TINY = Sizes(features=2, reduced=3, visual_blocks=(1,), visual_widths=(4,))
KEY = jax.random.key(0)


def filled(shapes):
  """Returns random variables of such shapes, as of a network that has learned."""
  rng = np.random.default_rng(1)

  def fill(path, leaf):
    name = path[-1].key
    values = rng.standard_normal(leaf.shape) * (0.1 if name == "kernel" else 0.3)
    return np.float32(np.abs(1 + values) if name in ("scale", "var") else values)

  return jax.tree_util.tree_map_with_path(fill, shapes)
