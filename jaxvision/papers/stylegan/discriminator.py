"""The discriminator, which grows as the synthesis network does (M6, M8)."""

from collections.abc import Sequence
from typing import Any

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.equalized import EqualizedConv, EqualizedDense
from jaxvision.ops import resampling
from jaxvision.ops.interpolation import lerp
from jaxvision.ops.normalization import minibatch_stddev
from jaxvision.papers.stylegan.mapping import SLOPE
from jaxvision.papers.stylegan.synthesis import check_level


class Discriminator(nn.Module):
  """Scores images [N, r, r, colors]: large means real.

  Attributes:
    widths: channels at 4 x 4, 8 x 8, ... pixels, as those of `Synthesis`.
    hidden: width of the dense layer before the last.
    label_size: length of one-hot labels, of which each has a score of its own; 0 where
      there are none.
    group_size: examples whose spread the last convolution sees; below 2 it sees none.
    num_spreads: channels that say it.
    blur: whether maps are low-pass filtered before they are halved.
    dtype: of the computation; None promotes input and parameters.

  Source: Karras et al., ICLR 2018, with the blur of Section 2; the authors' D_basic,
    and without blur their D_paper.
  """

  widths: Sequence[int]
  hidden: int = 512
  label_size: int = 0
  group_size: int = 4
  num_spreads: int = 1
  blur: bool = True
  dtype: Any = None

  @property
  def resolution(self) -> int:
    """Side of the full image in pixels."""
    return 2 ** (len(self.widths) + 1)

  @nn.compact
  def __call__(
    self,
    images: chex.Array,
    labels: chex.Array | None = None,
    *,
    fade: chex.Numeric | None = None,
  ) -> chex.Array:
    """Returns scores [N].

    Args:
      images: [N, r, r, colors] in [-1, 1]; their side says the level of growing.
      labels: [N, label_size] one-hot; None where label_size is 0.
      fade: lod - level in [0, 1]: how far the images enter one level coarser. None for
        a level that is not fading.
    """
    chex.assert_rank(images, 4)
    chex.assert_type(images, float)
    side = images.shape[1]
    chex.assert_axis_dimension(images, 2, side)
    level = max(self.resolution // side, 1).bit_length() - 1
    if side * 2**level != self.resolution:
      raise ValueError(f"images of {side} pixels for a network of {self.resolution}")
    check_level(level, len(self.widths))
    if self.is_initializing() and level:
      raise ValueError(
        f"initialise with images of {self.resolution} pixels, not {side}"
      )
    top = len(self.widths) - 1 - level
    x = self._from_colors(images, top)
    for stage in range(top, 0, -1):
      x = self._act(self._conv(x, self.widths[stage], f"conv{stage}_0"))
      if self.blur:
        x = resampling.blur(x)
      x = self._conv(x, self.widths[stage - 1], f"conv{stage}_1", sampling="down")
      x = self._act(x)
      fading = stage == top and fade is not None
      if fading or self.is_initializing():
        images = resampling.downsample_box(images)
        coarser = self._from_colors(images, stage - 1)
        x = lerp(x, coarser, fade) if fading else x
    if self.group_size > 1:
      spread = minibatch_stddev(
        x, group_size=self.group_size, num_features=self.num_spreads
      )
      x = jnp.concatenate([x, spread], axis=-1)
    x = self._act(self._conv(x, self.widths[0], "conv0_0"))
    x = x.reshape(len(x), -1)
    x = self._act(EqualizedDense(self.hidden, dtype=self.dtype, name="dense0")(x))
    scores = EqualizedDense(
      max(self.label_size, 1), gain=1.0, dtype=self.dtype, name="dense1"
    )(x)
    if not self.label_size:
      return scores[:, 0]
    chex.assert_shape(labels, scores.shape)
    return jnp.sum(scores * labels, axis=-1)

  def _from_colors(self, images: chex.Array, stage: int) -> chex.Array:
    conv = EqualizedConv(
      self.widths[stage], (1, 1), dtype=self.dtype, name=f"from_rgb{stage}"
    )
    return self._act(conv(images))

  def _conv(
    self, x: chex.Array, features: int, name: str, sampling: str = "same"
  ) -> chex.Array:
    return EqualizedConv(features, sampling=sampling, dtype=self.dtype, name=name)(x)

  def _act(self, x: chex.Array) -> chex.Array:
    return nn.leaky_relu(x, SLOPE)
