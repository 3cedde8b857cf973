"""Neural imaging pipelines: networks that develop a RAW image to RGB (M8-M10).

All map packed mosaics [B, h, w, 4] in [0, 1] (planes R, G, G, B, see ops.bayer) to
RGB images [B, 2h, 2w, 3], nominally in [0, 1] but not clipped: the fidelity loss is
taken before `clip_developed`.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.nn import unet
from jaxvision.nn.convolution import Conv
from jaxvision.ops import bayer, padding
from jaxvision.ops.clip import clip
from jaxvision.ops.demosaic import bilinear_kernel
from jaxvision.ops.space_to_depth import depth_to_space
from jaxvision.papers.content_authentication.camera import D90

# A 1-4-1 network of tanh units that the authors fitted to x^(1/2.2).
_GAMMA_ENCODE = (2.9542332, 17.780445, 0.6280197, 0.40384966)
_GAMMA_ENCODE_BIAS = (0.4047071, 1.1489044, -0.17624384, 0.47826886)
_GAMMA_DECODE = (0.44949612, 0.78081024, 0.97692937, -0.24265033)
_GAMMA_DECODE_BIAS = -0.4702738


def clip_developed(developed: chex.Array, *, straight_through: bool = False):
  """Returns the developed image within [0, 1].

  Args:
    developed: [B, H, W, 3] output of a pipeline.
    straight_through: whether the gradient ignores the clipping (the authors'
      TensorFlow 2 code) instead of ending where a value is clipped (CVPR).
  """
  clipped = clip(developed)
  if straight_through:
    return developed + jax.lax.stop_gradient(clipped - developed)
  return clipped


class UNet(nn.Module):
  """The U-Net of "Learning to See in the Dark" (M9, 7,760,268 parameters).

  Attributes:
    features: channels of each level, finest first.
    keras: the TensorFlow 2 variant: biased up-sampling, a last convolution of 3 x 3
      (7,763,820 parameters), Glorot's initialisation throughout.
  """

  features: tuple[int, ...] = (32, 64, 128, 256, 512)
  keras: bool = False

  @nn.compact
  def __call__(self, raw: chex.Array) -> chex.Array:
    _assert_raw(raw)
    variant = {}
    if self.keras:
      glorot = nn.initializers.glorot_uniform()
      variant = {"head_size": 3, "upsample_bias": True, "upsample_init": glorot}
    body = unet.UNet(12, self.features, **variant, name="unet")
    return depth_to_space(body(raw), 2)


class INet(nn.Module):
  """The steps of a classical pipeline as convolutions (M8, 321 parameters).

  Attributes:
    pattern: colour filters of the sensor, one of bayer.PATTERNS.
    color_matrix: 3 x 3 camera RGB to sRGB, the initial colour conversion.
    kernel_size: side of the demosaicing kernel.
    random_init: whether to start from noise instead of the known constants.
  """

  pattern: str = D90.pattern
  color_matrix: tuple[tuple[float, ...], ...] = D90.color_matrix
  kernel_size: int = 5
  random_init: bool = False

  @nn.compact
  def __call__(self, raw: chex.Array) -> chex.Array:
    _assert_raw(raw)
    blocks = np.eye(3)
    demosaic = _constant(bilinear_kernel(self.kernel_size))
    color = _constant(np.array(self.color_matrix).T[None, None])
    encode = _constant(np.kron(blocks, _GAMMA_ENCODE)[None, None])
    encode_bias = _constant(np.tile(_GAMMA_ENCODE_BIAS, 3))
    decode = _constant(np.kron(blocks, _GAMMA_DECODE).T[None, None])
    decode_bias = _constant(np.full(3, _GAMMA_DECODE_BIAS))
    if self.random_init:
      demosaic = encode = decode = nn.initializers.normal(0.1)
      color = _constant(np.eye(3)[None, None])
      encode_bias = decode_bias = nn.initializers.zeros

    rgb = _scattered(self, raw, self.pattern)
    rgb = Conv(
      3,
      (self.kernel_size, self.kernel_size),
      padding=self.kernel_size // 2,
      padding_mode="reflect",
      use_bias=False,
      kernel_init=demosaic,
      name="demosaic",
    )(rgb)
    rgb = Conv(3, (1, 1), use_bias=False, kernel_init=color, name="color")(rgb)
    hidden = Conv(
      12, (1, 1), kernel_init=encode, bias_init=encode_bias, name="gamma_encode"
    )(rgb)
    return Conv(
      3, (1, 1), kernel_init=decode, bias_init=decode_bias, name="gamma_decode"
    )(jnp.tanh(hidden))


class DNet(nn.Module):
  """A network for joint demosaicing and denoising (M10).

  Attributes:
    pattern: colour filters of the sensor, one of bayer.PATTERNS.
    layers: number of 3 x 3 convolutions at the RAW's resolution.
    features: their channels.
    normalize: True for the code behind the paper's numbers (493,976 parameters),
      whose batch normalisation never ran in training mode: an affine map with
      statistics that stay 0 and 1. False for biases instead, as in later code.

  Source: Gharbi, Chaurasia, Paris, Durand, SIGGRAPH Asia 2016.
  """

  pattern: str = D90.pattern
  layers: int = 15
  features: int = 64
  normalize: bool = True

  @nn.compact
  def __call__(self, raw: chex.Array) -> chex.Array:
    _assert_raw(raw)
    kernel_init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
    x = raw
    for layer in range(self.layers):
      features = 12 if layer == self.layers - 1 else self.features
      x = Conv(
        features,
        (3, 3),
        padding="VALID",
        use_bias=not self.normalize,
        kernel_init=kernel_init,
        name=f"conv{layer}",
      )(x)
      if self.normalize:
        x = FixedBatchNorm(name=f"bn{layer}")(x)
      x = padding.pad(nn.relu(x), ((1, 1), (1, 1)), "reflect")
    mosaic = _scattered(self, raw, self.pattern)
    x = jnp.concatenate([depth_to_space(x, 2), mosaic], axis=-1)
    x = Conv(
      self.features,
      (3, 3),
      padding="VALID",
      kernel_init=kernel_init,
      name="conv_postupscale",
    )(x)
    x = padding.pad(nn.relu(x), ((1, 1), (1, 1)), "reflect")
    return Conv(
      3, (1, 1), use_bias=False, kernel_init=nn.initializers.ones, name="conv_final"
    )(x)


class FixedBatchNorm(nn.Module):
  """Batch normalisation whose statistics are constants, initially mean 0, variance 1.

  They live in the collection "constants", which training leaves alone.
  """

  epsilon: float = 1e-3

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    shape = (x.shape[-1],)
    mean = self.variable("constants", "mean", jnp.zeros, shape)
    variance = self.variable("constants", "variance", jnp.ones, shape)
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    slope = scale * jax.lax.rsqrt(variance.value + self.epsilon)
    return (x - mean.value) * slope + bias


def _scattered(module: nn.Module, raw: chex.Array, pattern: str) -> chex.Array:
  """Returns the zero-filled RGB mosaic by the module's constant kernel."""
  kernel = module.variable(
    "constants", "upsampling", lambda: jnp.asarray(bayer.scatter_kernel(pattern))
  )
  return depth_to_space(jnp.matmul(raw, kernel.value, precision="highest"), 2)


def _constant(value: np.ndarray) -> nn.initializers.Initializer:
  def init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    del key
    chex.assert_shape(value, shape)
    return jnp.asarray(value, dtype)

  return init


def _assert_raw(raw: chex.Array) -> None:
  chex.assert_rank(raw, 4)
  chex.assert_type(raw, float)
  chex.assert_axis_dimension(raw, -1, 4)
