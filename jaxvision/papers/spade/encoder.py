"""The encoder of styles: a picture to the distribution of a vector (M8)."""

import math

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.spectral_norm import SpectralConv
from jaxvision.ops.normalization import instance_norm
from jaxvision.ops.resize import resize
from jaxvision.papers.spade.conditioning import EPSILON, XAVIER
from jaxvision.papers.spade.generator import LATENT

_LAST_SIDE = 4


class StyleEncoder(nn.Module):
  """Maps images to mean and logarithmic variance of their style.

  Attributes:
    features: channels of the first layer; they double up to 8 times as many.
    side: images are resized to side x side; halved until they are 4 x 4. The authors
      always take 256.
    latent: width of the style.
    spectral: whether convolutions are spectrally normalised.

  Source: Fig. 15 of the arXiv version; models/networks/encoder.py.
  """

  features: int = 64
  side: int = 256
  latent: int = LATENT
  spectral: bool = True

  @nn.compact
  def __call__(
    self, images: chex.Array, *, train: bool = False
  ) -> tuple[chex.Array, chex.Array]:
    """Returns mean and log-variance, each [B, latent], of images [B, H, W, 3].

    Args:
      images: in [-1, 1].
      train: whether power iterations go on.

    Raises:
      ValueError: the side is no power of 2 of at least 8.
    """
    chex.assert_shape(images, (None, None, None, 3))
    layers = round(math.log2(self.side / _LAST_SIDE))
    if layers < 1 or _LAST_SIDE * 2**layers != self.side:
      raise ValueError(f"side is {self.side}, no power of 2 of at least 8")
    x = images
    if x.shape[1:3] != (self.side, self.side):
      x = resize(x, (self.side, self.side))
    for number in range(layers):
      x = SpectralConv(
        self.features * min(2**number, 8),
        (3, 3),
        strides=2,
        padding=1,
        use_bias=False,
        spectral=self.spectral,
        kernel_init=XAVIER,
        name=f"layer_{number}",
      )(leaky_relu(x) if number else x, train=train)
      x = instance_norm(x, epsilon=EPSILON)
    x = leaky_relu(x).reshape(len(x), -1)
    mean = nn.Dense(self.latent, kernel_init=XAVIER, name="mean")(x)
    log_variance = nn.Dense(self.latent, kernel_init=XAVIER, name="log_variance")(x)
    return mean, log_variance


def reparameterize(
  key: chex.PRNGKey, mean: chex.Array, log_variance: chex.Array
) -> chex.Array:
  """Returns a draw from the Gaussian, differentiable in its parameters.

  Args:
    key: of the draw.
    mean: [B, Z].
    log_variance: [B, Z].
  """
  chex.assert_equal_shape([mean, log_variance])
  noise = jax.random.normal(key, mean.shape, mean.dtype)
  return mean + jnp.exp(log_variance / 2) * noise
