"""What the paper is compared with (M15)."""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.convolution import Conv, ConvTranspose
from jaxvision.papers.mpi_extrapolation.model import Prediction, to_rgba, visible
from jaxvision.papers.mpi_extrapolation.networks import DILATIONS, FEATURES, VolumeUNet


class StereoMagnification(nn.Module):
  """Maps network inputs [B, H, W, D, 7] to an MPI [B, H, W, D, 4], "Original MPI".

  A flat U-Net sees the reference image and the other one swept over a FIXED number of
  planes. It predicts, for each plane, an opacity and how much of its colour is that of
  the reference image, not of one background image that it predicts too. Sizes that 8
  does not divide are padded and cropped back.

  Attributes:
    features: channels of the first convolution.

  Source: Zhou, Tucker, Flynn, Fyffe and Snavely, Stereo Magnification, SIGGRAPH 2018,
    Table 1; the authors' mpi_net.
  """

  features: int = 64

  @nn.compact
  def __call__(self, volume: chex.Array) -> chex.Array:
    """Returns the MPI of a volume, see `model.network_input`; one source only."""
    chex.assert_shape(volume, (None, None, None, None, 7))
    batch, height, width, planes, _ = volume.shape
    reference = volume[:, :, :, 0, 3:6]
    sweep = volume[..., :3].reshape(batch, height, width, 3 * planes)
    x = jnp.concatenate([reference, sweep], axis=-1)
    x = jnp.pad(x, ((0, 0), (0, -height % 8), (0, -width % 8), (0, 0)))
    x = self.network(x, 2 * planes + 3)[:, :height, :width]
    share, alpha = ((x[..., i * planes : (i + 1) * planes] + 1) / 2 for i in range(2))
    share, background = share[..., None], x[:, :, :, None, -3:]
    color = share * reference[:, :, :, None] + (1 - share) * background
    return jnp.concatenate([color, alpha[..., None]], axis=-1)

  def network(self, x: chex.Array, outputs: int) -> chex.Array:
    """Returns [B, H, W, outputs] in [-1, 1]; H and W are multiples of 8."""
    n = self.features

    def layer(kind, x, features, name, size=3, **options):
      init = nn.initializers.glorot_uniform()
      size = (size, size)
      layer = kind(
        features, size, use_bias=False, kernel_init=init, name=name, **options
      )
      return nn.relu(_layer_norm(f"{name}_norm")(layer(x)))

    def conv(x, features, name, **options):
      return layer(Conv, x, features, name, **options)

    def up(x, features, name):
      return layer(ConvTranspose, x, features, name, size=4, strides=2)

    first = conv(conv(x, n, "conv1_1"), 2 * n, "conv1_2", strides=2)
    second = conv(conv(first, 2 * n, "conv2_1"), 4 * n, "conv2_2", strides=2)
    x = conv(conv(second, 4 * n, "conv3_1"), 4 * n, "conv3_2")
    third = x = conv(x, 8 * n, "conv3_3", strides=2)
    for index in (1, 2, 3):
      x = conv(x, 8 * n, f"conv4_{index}", dilation=2)
    x = up(jnp.concatenate([x, third], axis=-1), 4 * n, "conv6_1")
    x = conv(conv(x, 4 * n, "conv6_2"), 4 * n, "conv6_3")
    x = up(jnp.concatenate([x, second], axis=-1), 2 * n, "conv7_1")
    x = conv(x, 2 * n, "conv7_2")
    x = up(jnp.concatenate([x, first], axis=-1), n, "conv8_1")
    x = conv(x, n, "conv8_2")
    return jnp.tanh(Conv(outputs, (1, 1), name="color_pred")(x))


def _layer_norm(name):
  return nn.LayerNorm(
    epsilon=1e-12,
    reduction_axes=(1, 2, 3),
    feature_axes=-1,
    use_fast_variance=False,
    name=name,
  )


def inpaint(images: chex.Array, hidden: chex.Array, steps: int = 200) -> chex.Array:
  """Returns images whose hidden pixels are filled from around them.

  Stands for "disocclusion inpainting", whose network is another paper's: the harmonic
  function that meets the pixels around the hole, by Jacobi's iteration.

  Args:
    images: [B, H, W, C].
    hidden: [B, H, W, 1] in [0, 1], 1 where the pixel is to be filled.
    steps: of the iteration; holes wider than about their root stay a little flat.
  """
  chex.assert_equal_shape_prefix([images, hidden], 3)
  hole = hidden > 0.5
  known = jnp.where(hole, 0.0, images)
  count = jnp.maximum(jnp.sum(~hole, axis=(1, 2), keepdims=True), 1)
  mean = jnp.sum(known, axis=(1, 2), keepdims=True) / count

  def relax(_, filled):
    padded = jnp.pad(filled, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:, 2:, 1:-1] + padded[:, :-2, 1:-1]
    columns = padded[:, 1:-1, 2:] + padded[:, 1:-1, :-2]
    return jnp.where(hole, (rows + columns) / 4, images)

  return jax.lax.fori_loop(0, steps, relax, jnp.where(hole, mean, images))


class DirectExtrapolator(nn.Module):
  """Like `model.Extrapolator`, but the second network predicts colours itself.

  "r_init + adversarial": free to invent what was hidden, it is trained against a
  `PatchDiscriminator`. The paper describes it in a supplement that is not to be had.

  Attributes:
    features: channels of each level of both networks.
    dilations: of the first network's coarsest level.
    alpha_bias: see `model.Extrapolator`.
  """

  features: Sequence[int] = FEATURES
  dilations: Sequence[int] = DILATIONS
  alpha_bias: float = 0.0

  def setup(self):
    self.initial = VolumeUNet(4, self.features, self.dilations)
    self.refine = VolumeUNet(4, self.features, ())

  def __call__(self, volume: chex.Array) -> Prediction:
    """Returns both MPIs of a volume, with a flow of zeros."""
    initial = to_rgba(self.initial(volume), self.alpha_bias)
    seen, behind = visible(initial)
    refined = to_rgba(self.refine(seen))
    return Prediction(initial, refined, behind, jnp.zeros_like(behind[..., :2]))


class PatchDiscriminator(nn.Module):
  """Judges patches of images [B, H, W, C]: [B, h, w, 1] logits.

  Attributes:
    features: channels of the first of three convolutions of stride 2.
  """

  features: int = 64

  @nn.compact
  def __call__(self, images: chex.Array) -> chex.Array:
    x = images
    for index in range(3):
      conv = Conv(self.features * 2**index, (4, 4), strides=2, name=f"conv_{index}")
      x = nn.leaky_relu(conv(x), 0.2)
    return Conv(1, (3, 3), name="head")(x)
