"""The synthesis network: from styles and noise to an image (M4-M8, M15)."""

from collections.abc import Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.equalized import SQRT2, EqualizedConv, EqualizedDense
from jaxvision.ops import normalization, resampling
from jaxvision.ops.interpolation import lerp
from jaxvision.papers.stylegan.mapping import SLOPE

FUSED_FROM = 128  # resolution from which "auto" layers are the authors' fused ones


def widths(resolution: int, *, base: int = 8192, largest: int = 512) -> tuple[int, ...]:
  """Returns the channels at 4 x 4, 8 x 8, ..., resolution x resolution pixels.

  Args:
    resolution: a power of two, at least 4.
    base: channels times resolution / 2, until there are `largest`.
    largest: channels at most.

  Raises:
    ValueError: if the resolution is none.
  """
  levels = resolution.bit_length() - 1
  if resolution < 4 or resolution != 2**levels:
    raise ValueError(f"a resolution of {resolution} is no power of two, at least 4")
  return tuple(min(base // 2**level, largest) for level in range(1, levels))


def num_layers(resolution: int) -> int:
  """Returns the number of styles: two at each resolution (18 at 1024)."""
  return 2 * len(widths(resolution))


class Epilogue(nn.Module):
  """What follows every convolution: noise, bias, leaky ReLU, norms, style (M4, M5).

  Attributes:
    pixel_norm: whether pixels are normalised.
    instance_norm: whether maps are normalised.
    use_noise: whether noise is added.
    use_styles: whether maps are scaled and shifted.
    dtype: of the computation of styles.

  Source: Figure 1b, Eq. 1; the authors' layer_epilogue.
  """

  pixel_norm: bool = False
  instance_norm: bool = True
  use_noise: bool = True
  use_styles: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: chex.Array, w: chex.Array, noise: chex.Array | None
  ) -> chex.Array:
    """Returns the maps [N, H, W, C].

    Args:
      x: [N, H, W, C].
      w: [N, W].
      noise: [N or 1, H, W, 1] of variance 1; None without noise.
    """
    channels = x.shape[-1]
    zeros = nn.initializers.zeros_init()
    if self.use_noise:
      scale = self.param("noise_scale", zeros, (channels,))
      x = x + jnp.asarray(noise * scale, x.dtype)
    x = x + jnp.asarray(self.param("bias", zeros, (channels,)), x.dtype)
    x = nn.leaky_relu(x, SLOPE)
    if self.pixel_norm:
      x = normalization.pixel_norm(x)
    if self.instance_norm:
      x = normalization.instance_norm(x)
    if self.use_styles:
      style = EqualizedDense(2 * channels, gain=1.0, dtype=self.dtype, name="style")(w)
      x = normalization.modulate(x, *jnp.split(style, 2, axis=-1))
    return x


class Synthesis(nn.Module):
  """Turns styles into images, at any stage of progressive growing.

  The network of `len(widths)` resolutions can stop early: at level l it makes images of
  1 / 2^l of the full side, which are those of the authors' network at lod in
  [l, l + 1) before it repeats their pixels to the full size.

  Attributes:
    widths: channels at 4 x 4, 8 x 8, ... pixels.
    colors: channels of the image.
    constant_input: whether it starts from a learned constant; else from a dense layer
      of the first w, as traditional generators do.
    use_styles: see `Epilogue`, as the next three.
    use_noise: whether noise is added.
    pixel_norm: whether pixels are normalised.
    instance_norm: whether maps are normalised.
    blur: whether doubled maps are low-pass filtered.
    fused: "auto", True or False: where the windows of upsampling layers are flipped,
      as they are in the authors' fused layers; "auto" from 128 x 128 pixels on.
    dtype: of the computation; None promotes input and parameters.

  Variables: "params", and with noise "noise", the constant images noise0, noise1, ...
  [1, h, w, 1] that are used where no fresh ones are asked for.

  Source: Figure 1b, Section 2, Appendix C; the authors' G_synthesis.
  """

  widths: Sequence[int]
  colors: int = 3
  constant_input: bool = True
  use_styles: bool = True
  use_noise: bool = True
  pixel_norm: bool = False
  instance_norm: bool = True
  blur: bool = True
  fused: bool | str = "auto"
  dtype: Any = None

  @property
  def resolution(self) -> int:
    """Side of the full image in pixels."""
    return 2 ** (len(self.widths) + 1)

  @property
  def num_layers(self) -> int:
    """Number of styles."""
    return 2 * len(self.widths)

  @nn.compact
  def __call__(
    self,
    w: chex.Array,
    *,
    level: int = 0,
    fade: chex.Numeric | None = None,
    fresh_noise: bool = False,
  ) -> chex.Array:
    """Returns images in [-1, 1] or somewhat beyond.

    Args:
      w: [N, L, W], a style for each layer; without styles only the first is used and L
        may be 1.
      level: floor of lod, known at trace time; 0 is the full resolution.
      fade: lod - level in [0, 1]: how far the image is that of the next coarser level.
        None for a level that is not fading.
      fresh_noise: whether noise is drawn for every image, from the key "noise".

    Returns:
      [N, r, r, colors], r = resolution / 2^level.
    """
    chex.assert_rank(w, 3)
    chex.assert_type(w, float)
    if self.use_styles:
      chex.assert_axis_dimension(w, 1, self.num_layers)
    check_level(level, len(self.widths))
    top = len(self.widths) - 1 - level
    # All layers exist from the start; those above the level are not run.
    last = len(self.widths) - 1 if self.is_initializing() else top
    fresh = None
    if fresh_noise and self.use_noise:
      # All layers at once: random numbers take XLA long to compile on a CPU.
      size = sum(_side(layer) ** 2 for layer in range(2 * last + 2))
      fresh = jax.random.normal(self.make_rng("noise"), (len(w), size))
    x, images = None, {}
    for stage in range(last + 1):
      for layer in (2 * stage, 2 * stage + 1):
        x = self._start(w) if layer == 0 else self._convolve(x, layer)
        noise = self._noise(layer, fresh) if self.use_noise else None
        x = Epilogue(
          self.pixel_norm,
          self.instance_norm,
          self.use_noise,
          self.use_styles,
          self.dtype,
          name=f"epilogue{layer}",
        )(x, w[:, layer] if self.use_styles else w[:, 0], noise)
      if self.is_initializing() or stage in (top, top - 1):
        images[stage] = EqualizedConv(
          self.colors, (1, 1), gain=1.0, dtype=self.dtype, name=f"to_rgb{stage}"
        )(x)
    image = images[top]
    if fade is not None and top > 0:
      image = lerp(image, resampling.upsample_nearest(images[top - 1]), fade)
    return image

  def _start(self, w: chex.Array) -> chex.Array:
    """Returns the first maps, [N, 4, 4, C]."""
    shape = (4, 4, self.widths[0])
    if self.constant_input:
      constant = self.param("constant", nn.initializers.ones_init(), (1, *shape))
      return jnp.broadcast_to(
        jnp.asarray(constant, self.dtype or constant.dtype), (len(w), *shape)
      )
    # The gain of 1/4 makes up for the 4 x 4 pixels that one vector fills.
    dense = EqualizedDense(
      16 * self.widths[0],
      gain=SQRT2 / 4,
      use_bias=False,
      dtype=self.dtype,
      name="input",
    )
    return dense(w[:, 0]).reshape(len(w), *shape)

  def _convolve(self, x: chex.Array, layer: int) -> chex.Array:
    """Returns the convolution before an epilogue; even layers double the map."""
    doubles = layer % 2 == 0
    resolution = x.shape[1] * (2 if doubles else 1)
    fused = resolution >= FUSED_FROM if self.fused == "auto" else self.fused
    x = EqualizedConv(
      self.widths[layer // 2],
      sampling="up" if doubles else "same",
      flip=doubles and bool(fused),
      use_bias=False,
      dtype=self.dtype,
      name=f"conv{layer}",
    )(x)
    return resampling.blur(x) if doubles and self.blur else x

  def _noise(self, layer: int, fresh: chex.Array | None) -> chex.Array:
    """Returns a layer's noise [N or 1, h, w, 1], of all that is fresh [N, pixels]."""
    side = _side(layer)

    def draw():
      return jax.random.normal(self.make_rng("params"), (1, side, side, 1))

    constant = self.variable("noise", f"noise{layer}", draw).value
    if fresh is None:
      return constant
    start = sum(_side(below) ** 2 for below in range(layer))
    return fresh[:, start : start + side**2].reshape(-1, side, side, 1)


def sample_noise(key: chex.PRNGKey, resolution: int) -> dict[str, chex.Array]:
  """Returns another collection "noise" for a network of this resolution.

  Returns:
    {"noise0": [1, 4, 4, 1], ..., "noise17": [1, 1024, 1024, 1]}.
  """
  keys = jax.random.split(key, num_layers(resolution))
  return {
    f"noise{layer}": jax.random.normal(key, (1, _side(layer), _side(layer), 1))
    for layer, key in enumerate(keys)
  }


def _side(layer: int) -> int:
  """Returns the side of a layer's maps."""
  return 4 * 2 ** (layer // 2)


def check_level(level: int, stages: int) -> None:
  """Checks that a network of so many resolutions has the level.

  Raises:
    ValueError: if not.
  """
  if not 0 <= level < stages:
    raise ValueError(f"level {level} of a network with levels 0 to {stages - 1}")
