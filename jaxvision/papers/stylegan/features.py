"""The network that judges generated faces here: it tells a drawn face's factors.

Its last hidden layer takes the place of Inception's pool in the Fréchet distance, its
maps that of VGG in path lengths, and its outputs that of the authors' attribute
classifiers. Where there are no factors to learn it is used untrained: convolutions with
random weights. Published weights of Inception and VGG put the paper's own networks in
the first two places.
"""

import os
from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.nn import inception
from jaxvision.nn.equalized import EqualizedConv, EqualizedDense
from jaxvision.nn.lpips import lpips
from jaxvision.nn.vgg import VGG, VGG16
from jaxvision.ops.perceptual import perceptual_distance
from jaxvision.ops.resampling import downsample_box
from jaxvision.published import lpips as published_lpips
from jaxvision.published import torchvision
from jaxvision.train import Stage, State, gradient_step


class FactorNetwork(nn.Module):
  """Estimates the factors of drawn faces.

  Attributes:
    factors: their number.
    width: channels of the first maps; they double with each halving, up to 4 times.
    hidden: features before the last layer.
  """

  factors: int
  width: int = 16
  hidden: int = 64

  @nn.compact
  def __call__(self, images: chex.Array) -> tuple[chex.Array, chex.Array, list]:
    """Returns factors [N, factors], features [N, hidden] and maps of each resolution.

    Args:
      images: [N, H, H, C] float in [0, 255], H a power of two from 8 on.
    """
    chex.assert_rank(images, 4)
    chex.assert_type(images, float)
    x = images / 127.5 - 1
    maps, width = [], self.width
    while x.shape[1] >= 4:
      x = nn.leaky_relu(EqualizedConv(width)(x), 0.2)
      maps.append(x)
      width = min(2 * width, 4 * self.width)
      if x.shape[1] == 4:
        break
      x = downsample_box(x)
    x = x.reshape(len(x), -1)
    features = nn.leaky_relu(EqualizedDense(self.hidden)(x), 0.2)
    return EqualizedDense(self.factors, gain=1.0)(features), features, maps


def stage(network: FactorNetwork, side: int, *, batch: int, rate, colors: int = 3):
  """Returns the training of a factor network on images of `side` pixels.

  A batch is {"image": [N, side, side, colors] uint8, "factors": [N, factors]}.

  Args:
    network: which.
    side: pixels.
    batch: images, over all devices.
    rate: of Adam, a number or a schedule.
    colors: channels of the images.
  """
  optimizer = optax.adam(rate)

  def init(key):
    first, training = jax.random.split(key)
    variables = network.init(first, jnp.zeros((1, side, side, colors)))
    return State.create(training, variables["params"], optimizer)

  def loss(params, model_state, batch, rng):
    del rng
    images = batch["image"].astype(jnp.float32)
    found, _, _ = network.apply({"params": params}, images)
    return jnp.mean(jnp.square(found - batch["factors"])), ({}, model_state)

  shapes = {
    "image": jax.ShapeDtypeStruct((batch, side, side, colors), jnp.uint8),
    "factors": jax.ShapeDtypeStruct((batch, network.factors), jnp.float32),
  }

  def forward(state, batch):
    images = batch["image"].astype(jnp.float32)
    return network.apply({"params": state.params}, images)[0]

  return Stage("features", init, gradient_step(loss, optimizer), shapes, forward)


class Judge:
  """What measures ask of images [N, H, H, C] float in [0, 255].

  Attributes:
    factors: images -> [N, factors].
    features: images -> [N, hidden], for the Fréchet distance.
    distance: two batches -> [N] perceptual distances.
  """

  def __init__(
    self,
    network: FactorNetwork,
    params: Any,
    distance: Callable[[chex.Array, chex.Array], chex.Array] | None = None,
    features: Callable[[chex.Array], chex.Array] | None = None,
  ):
    """Takes a factor network; LPIPS and Inception's features where they are at hand."""
    variables = {"params": params}

    def apart(a, b):
      maps = network.apply(variables, jnp.concatenate([a, b]))[2]
      maps = [jnp.split(m, 2) for m in maps]
      return perceptual_distance(*zip(*maps, strict=True))

    self.factors = jax.jit(lambda images: network.apply(variables, images)[0])
    self.features = features or jax.jit(lambda x: network.apply(variables, x)[1])
    self.distance = distance or apart


def load_inception(path: os.PathLike) -> Callable:
  """Returns the features that FID is defined by, of images [N, H, W, 3] in [0, 255].

  Args:
    path: FID's Inception-v3 in PyTorch's form (pt_inception-2015-12-05).

  Raises:
    UserError: the file is missing, damaged, or of another network.
  """
  network = inception.InceptionV3(inception.FID_OUTPUTS, "fid")
  image = jnp.zeros((1, inception.SIDE, inception.SIDE, 3))
  shapes = jax.eval_shape(network.init, jax.random.key(0), image)
  variables = torchvision.inception(published.load(path), shapes)
  features = jax.jit(inception.inception_features)
  return lambda images: features(variables, images / 255)


def load_lpips(vgg: os.PathLike, heads: os.PathLike) -> Callable:
  """Returns LPIPS of images in [0, 255] by published weights.

  Args:
    vgg: torchvision's VGG-16.
    heads: LPIPS's for VGG-16.

  Raises:
    UserError: a file is missing, damaged, or of another network.
  """
  shapes = jax.eval_shape(
    VGG(stages=VGG16).init, jax.random.key(0), jnp.zeros((1, 224, 224, 3))
  )
  variables = torchvision.vgg(published.load(vgg), shapes)
  weights = published_lpips.heads(published.load(heads), str(heads))
  if [len(head) for head in weights] != [stage[-1] for stage in VGG16]:
    raise UserError(f"{heads}: no heads for VGG-16")

  def distance(a, b):
    return lpips(variables, weights, a / 127.5 - 1, b / 127.5 - 1)

  return distance
