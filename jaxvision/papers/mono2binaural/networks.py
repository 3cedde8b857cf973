"""The audio U-Net with the frame in its bottleneck (M3 to M5)."""

import dataclasses
import math
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.batch_norm import batch_norm
from jaxvision.nn.convolution import Conv, ConvTranspose
from jaxvision.nn.resnet import ResNet
from jaxvision.papers.mono2binaural import audio

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

WIDTHS = (1, 2, 4, 8, 8)  # channels of each level, in parts of the first one's
_PADDING = 1  # of all 4 x 4 windows of stride 2


class AudioNet(nn.Module):
  """Maps spectra [B, F, N, C] to the logits of a mask [B, F', N, outputs].

  F' is F without its odd row, the Nyquist frequency. F' and N are multiples of 32.

  Attributes:
    features: channels of the first level.
    outputs: channels of the mask.
    reduced: channels to which the frame's features are reduced before they are laid
      out in one vector, channel by channel.
  """

  features: int = 64
  outputs: int = 2
  reduced: int = 8

  @nn.compact
  def __call__(
    self, x: chex.Array, visual: chex.Array | None = None, *, train: bool = False
  ) -> chex.Array:
    """Returns the logits; `visual` [B, h, w, V] are the frame's features, if any."""
    chex.assert_rank(x, 4)
    height, width = x.shape[1] - x.shape[1] % 2, x.shape[2]
    if height % audio.STRIDE or width % audio.STRIDE:
      raise ValueError(
        f"{x.shape[1:3]} are no multiples of {audio.STRIDE} (and 1 more)"
      )

    skips = []
    for level, times in enumerate(WIDTHS, start=1):
      x = _down(times * self.features, x.shape[-1], f"down_{level}")(x)
      x = leaky_relu(_norm(train, f"down_{level}_norm")(x))
      skips.append(x)
    x = skips.pop()
    if visual is not None:
      vector = self._vector(visual, train)
      tiled = jnp.broadcast_to(vector[:, None, None], (*x.shape[:3], vector.shape[-1]))
      x = jnp.concatenate([tiled, x], axis=-1)
    for level, times in enumerate(reversed(WIDTHS[:-1]), start=1):
      x = _up(times * self.features, f"up_{level}")(x)
      x = nn.relu(_norm(train, f"up_{level}_norm")(x))
      x = jnp.concatenate([x, skips.pop()], axis=-1)
    return _up(self.outputs, f"up_{len(WIDTHS)}")(x)

  def _vector(self, visual: chex.Array, train: bool) -> chex.Array:
    """Returns [B, reduced · h · w], the features of a channel side by side."""
    chex.assert_rank(visual, 4)
    reduced = Conv(
      self.reduced,
      (1, 1),
      kernel_init=nn.initializers.normal(0.02),
      bias_init=_uniform(visual.shape[-1]),
      name="visual",
    )(visual)
    reduced = nn.relu(_norm(train, "visual_norm")(reduced))
    return jnp.moveaxis(reduced, -1, 1).reshape(len(reduced), -1)


class AudioVisualNet(nn.Module):
  """Spectra and frames to the logits of a mask.

  Attributes:
    audio: the U-Net.
    visual: what sees the frames, a `ResNet` without classes; None for a network that
      only hears (the baseline Audio-Only, M9).
  """

  audio: AudioNet
  visual: ResNet | None = None

  def __call__(
    self, x: chex.Array, frames: chex.Array | None = None, *, train: bool = False
  ) -> chex.Array:
    """Returns logits [B, F', N, outputs].

    Args:
      x: [B, F, N, C] spectra.
      frames: [B, H, W, 3], as `normalize_frames` returns them; a network that only
        hears does not look at them.
      train: whether statistics are the batch's.
    """
    visual = None if self.visual is None else self.see(frames, train=train)
    return self.hear(x, visual, train=train)

  def see(self, frames: chex.Array, *, train: bool = False) -> chex.Array:
    """Returns the features [B, h, w, V] of frames."""
    return self.visual(frames, train=train)[-1]

  def hear(
    self, x: chex.Array, visual: chex.Array | None, *, train: bool = False
  ) -> chex.Array:
    """Returns logits for spectra and features of frames."""
    return self.audio(x, visual, train=train)


def normalize_frames(frames: chex.Array) -> chex.Array:
  """Returns frames [..., 3] in [0, 1] in units of ImageNet's mean and deviation."""
  mean, deviation = jnp.array(IMAGENET_MEAN), jnp.array(IMAGENET_STD)
  return (frames - mean) / deviation


def signed_mask(logits: chex.Array) -> chex.Array:
  """Returns 2 sigmoid(logits) - 1, in [-1, 1]."""
  return jnp.tanh(0.5 * logits)


def ratio_mask(logits: chex.Array) -> chex.Array:
  """Returns sigmoid(logits), in [0, 1]."""
  return jax.nn.sigmoid(logits)


@dataclasses.dataclass(frozen=True)
class Sizes:
  """How large the networks are.

  Attributes:
    features, reduced: of the `AudioNet`.
    visual_blocks, visual_widths: of the `ResNet`; ResNet-18's by default.
  """

  features: int = 64
  reduced: int = 8
  visual_blocks: tuple[int, ...] = (2, 2, 2, 2)
  visual_widths: tuple[int, ...] = (64, 128, 256, 512)

  def make(self, *, outputs: int = 2, sees: bool = True) -> AudioVisualNet:
    """Returns the network with a mask of `outputs` channels."""
    visual = ResNet(0, "basic", self.visual_blocks, self.visual_widths)
    return AudioVisualNet(
      AudioNet(self.features, outputs, self.reduced), visual if sees else None
    )


def _down(features: int, inputs: int, name: str) -> Conv:
  return Conv(
    features,
    (4, 4),
    strides=2,
    padding=_PADDING,
    kernel_init=nn.initializers.normal(0.02),
    bias_init=_uniform(16 * inputs),
    name=name,
  )


def _up(features: int, name: str) -> ConvTranspose:
  return ConvTranspose(
    features,
    (4, 4),
    strides=2,
    padding=_PADDING,
    kernel_init=nn.initializers.normal(0.02),
    bias_init=_uniform(16 * features),  # PyTorch counts the outputs here
    name=name,
  )


def _norm(train: bool, name: str) -> nn.BatchNorm:
  return batch_norm(train=train, scale_init=_around_one, name=name)


def _around_one(key: chex.PRNGKey, shape: Sequence[int], dtype=jnp.float32):
  return 1.0 + 0.02 * jax.random.normal(key, shape, dtype)


def _uniform(fan_in: int):
  """Returns PyTorch's initialiser of biases."""
  bound = 1 / math.sqrt(fan_in)

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init
