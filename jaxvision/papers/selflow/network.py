"""The three-frame network: pyramid, cost volumes, estimators, context (M2 to M6)."""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.convolution import Conv
from jaxvision.ops import warp
from jaxvision.ops.correlation import local_correlation, unit_length
from jaxvision.ops.resize import resize

SLOPE = 0.2  # of the leaky rectifier
DILATIONS = (1, 2, 4, 8, 16, 1)


class Flows(NamedTuple):
  """Flow of the middle frames; axis 0 is forward, then backward.

  Attributes:
    full: [2, N, B, H, W, 2] in pixels, of each of N triplets of frames.
    refined: [2, N, B, h, w, 2] in pixels of the finest level, after the context.
    levels: {level: [2, N, B, h, w, 2]} in pixels of the level.
  """

  full: chex.Array
  refined: chex.Array
  levels: dict[int, chex.Array]


def normalize(images: chex.Array) -> chex.Array:
  """Returns images [..., H, W, C] with mean 0 and variance 1 of each channel.

  Source: M14; mvn of utils.py.
  """
  chex.assert_type(images, float)
  mean = jnp.mean(images, axis=(-3, -2), keepdims=True)
  variance = jnp.var(images, axis=(-3, -2), keepdims=True)
  return (images - mean) * jax.lax.rsqrt(variance + 1e-12)


def flow_resize(
  flow: chex.Array,
  shape: tuple[int, int],
  *,
  method: str = "bilinear",
  scale: bool = True,
) -> chex.Array:
  """Returns flow [..., H, W, 2] at another resolution, corners meeting corners.

  Args:
    flow: [..., H, W, 2] in pixels.
    shape: (height, width) of the result.
    method: "bilinear" or "nearest".
    scale: whether u and v become pixels of the new resolution, by W'/W and H'/H.

  Source: M2; flow_resize of data_augmentation.py.
  """
  chex.assert_axis_dimension(flow, -1, 2)
  resized = resize(flow, shape, method=method, coordinates="align_corners")
  if not scale:
    return resized
  height, width = flow.shape[-3:-1]
  factors = jnp.array([shape[1] / width, shape[0] / height], flow.dtype)
  return resized * factors


class FeatureExtractor(nn.Module):
  """Pyramid of features: two convolutions a level, the first with stride 2 (M3).

  Attributes:
    widths: channels of each level; their number is that of levels.
  """

  widths: Sequence[int] = (16, 32, 64, 96, 128, 192)

  @nn.compact
  def __call__(self, images: chex.Array) -> list[chex.Array]:
    """Returns [B, H / 2^l, W / 2^l, widths[l - 1]] of l = 1, 2, ..., rounded up."""
    levels, x = [], images
    for level, width in enumerate(self.widths, 1):
      for number, stride in ((1, 2), (2, 1)):
        x = _conv(width, f"conv{level}_{number}", strides=stride)(x)
        x = jax.nn.leaky_relu(x, SLOPE)
      levels.append(x)
    return levels


class Estimator(nn.Module):
  """Flow of one level from correlations, features and the flow so far (M5).

  Attributes:
    widths: channels of the hidden layers.
    flow_gain: factor of the initial weights of the layer that gives flow.
  """

  widths: Sequence[int] = (128, 128, 96, 64, 32)
  flow_gain: float = 1.0

  @nn.compact
  def __call__(self, x: chex.Array) -> tuple[chex.Array, chex.Array]:
    """Returns flow [B, H, W, 2] in pixels of the level, and the last hidden layer."""
    for number, width in enumerate(self.widths, 1):
      x = jax.nn.leaky_relu(_conv(width, f"conv{number}")(x), SLOPE)
    return _conv(2, f"conv{len(self.widths) + 1}", self.flow_gain)(x), x


class ContextNetwork(nn.Module):
  """Flow of the finest level from a wide neighbourhood, by dilated layers (M6).

  Attributes:
    widths: channels of the hidden layers, at most six.
    flow_gain: factor of the initial weights of the layer that gives flow.
  """

  widths: Sequence[int] = (128, 128, 128, 96, 64, 32)
  flow_gain: float = 1.0

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the refined flow itself [B, H, W, 2], not a change of it."""
    for number, width in enumerate(self.widths, 1):
      name, dilation = f"dilated_conv{number}", DILATIONS[number - 1]
      x = jax.nn.leaky_relu(_conv(width, name, dilation=dilation)(x), SLOPE)
    return _conv(2, f"dilated_conv{len(self.widths) + 1}", self.flow_gain)(x)


def estimator_input(
  middle: chex.Array,
  neighbours: chex.Array,
  flow: chex.Array,
  *,
  radius: int = 4,
  border: warp.Border = "truncate",
  two_frame: bool = False,
  still: bool = False,
) -> chex.Array:
  """Returns what the estimator of a level sees, for both directions.

  Its channels: correlation with the own neighbour warped by the flow so far, with the
  other neighbour, features of the middle frame, the own flow, minus the other flow.

  Args:
    middle: [B, H, W, C] features of the middle frames.
    neighbours: [2, B, H, W, C] features of the frames that follow, and that precede.
    flow: [2, B, H, W, 2] so far, to the frame that follows and that precedes.
    radius: of the correlation.
    border: of the warp.
    two_frame: whether the other neighbour and flow are blanked.
    still: whether the flow so far is 0, so that no warp is needed but the authors'.

  Returns:
    [2, B, H, W, 2 (2 radius + 1)² + C + 4].

  Source: M4, M5; the paper's Fig. 3 and 3.1.
  """
  chex.assert_rank(middle, 4)
  chex.assert_equal_shape_prefix([neighbours, flow], 4)
  both = jnp.broadcast_to(middle, neighbours.shape)
  warped = neighbours
  if border == "truncate" or not still:
    warped = warp.backward_warp(neighbours, flow, border=border)
  pairs = [unit_length(x.reshape(-1, *x.shape[2:])) for x in (both, warped)]
  cost = local_correlation(*pairs, radius=radius)
  cost = cost.reshape(*flow.shape[:-1], -1)
  other_cost, other_flow = cost[::-1], -flow[::-1]
  if two_frame:
    other_cost, other_flow = jnp.zeros_like(cost), jnp.zeros_like(flow)
  return jnp.concatenate([cost, other_cost, both, flow, other_flow], axis=-1)


class SelFlow(nn.Module):
  """Flow of every frame that has two neighbours.

  Attributes:
    features: channels of each level of the pyramid; the coarsest is their number.
    estimator: channels of the hidden layers of each level's estimator.
    context: channels of the hidden layers of the context network.
    finest: level at which the context network ends, 2 for a quarter of the size.
    radius: of the correlation, in pixels of each level.
    border: of warps; the authors' "truncate" takes the last row and column away.
    two_frame: whether each direction sees only the neighbour that it leads to.
    normalized: whether each channel of each frame gets mean 0 and variance 1 first, as
      the authors have it in supervised fine-tuning.
    flow_gain: factor of the initial weights of the layers that give flow; 1 is the
      authors'. Below it flow starts near 0: where it leads out of the images at first,
      the loss has no slope that leads back.
  """

  features: Sequence[int] = (16, 32, 64, 96, 128, 192)
  estimator: Sequence[int] = (128, 128, 96, 64, 32)
  context: Sequence[int] = (128, 128, 128, 96, 64, 32)
  finest: int = 2
  radius: int = 4
  border: warp.Border = "truncate"
  two_frame: bool = False
  normalized: bool = False
  flow_gain: float = 1.0

  @nn.compact
  def __call__(self, frames: chex.Array) -> Flows:
    """Returns the flow of all triplets of consecutive frames.

    Args:
      frames: [T, B, H, W, 3] in [0, 1], T >= 3, in order of time.
    """
    chex.assert_rank(frames, 5)
    chex.assert_type(frames, float)
    if len(frames) < 3:
      raise ValueError(f"{len(frames)} frames: three are needed for a flow")
    time, batch, height, width, _ = frames.shape
    if self.normalized:
      frames = normalize(frames)
    images = frames.reshape(time * batch, height, width, 3)
    pyramid = FeatureExtractor(self.features, name="feature_extractor")(images)

    flow, hidden, levels = None, None, {}
    for level in range(len(self.features), self.finest - 1, -1):
      maps = pyramid[level - 1]
      _, rows, columns, channels = maps.shape
      maps = maps.reshape(time, batch, rows, columns, channels)
      middle = maps[1:-1].reshape(-1, rows, columns, channels)
      neighbours = jnp.stack([maps[2:], maps[:-2]])
      neighbours = neighbours.reshape(2, *middle.shape)
      still = flow is None
      if still:
        flow = jnp.zeros((*neighbours.shape[:-1], 2), maps.dtype)
      else:
        flow = flow_resize(flow, (rows, columns))
      x = estimator_input(
        middle,
        neighbours,
        flow,
        radius=self.radius,
        border=self.border,
        two_frame=self.two_frame,
        still=still,
      )
      name = f"estimator_level_{level}"
      estimate = Estimator(self.estimator, self.flow_gain, name=name)
      flow, hidden = _both_ways(estimate, x)
      levels[level] = flow

    other_hidden, other_flow = hidden[::-1], -flow[::-1]
    if self.two_frame:
      other_hidden, other_flow = jnp.zeros_like(hidden), jnp.zeros_like(flow)
    x = jnp.concatenate([hidden, other_hidden, flow, other_flow], axis=-1)
    context = ContextNetwork(self.context, self.flow_gain, name="context_network")
    refined = _both_ways(context, x)
    full = flow_resize(refined, (height, width))

    def by_triplet(x):
      return x.reshape(2, time - 2, batch, *x.shape[2:])

    return jax.tree.map(by_triplet, Flows(full, refined, levels))


def scaled(
  width: float = 1.0,
  coarsest: int = 6,
  *,
  pyramid: float | None = None,
  estimator_layers: int = 5,
  context_layers: int = 6,
  **options,
) -> SelFlow:
  """Returns the network with `width` times the channels, fewer levels and layers.

  Args:
    width: factor of the channels of all hidden layers; 1 is the paper's.
    coarsest: level of the pyramid's top; 6 is the paper's.
    pyramid: factor of the pyramid's channels; `width` when None.
    estimator_layers: hidden layers of each estimator, the last of the paper's 5.
    context_layers: hidden layers of the context network, the first of the paper's 6.
    **options: of SelFlow.
  """

  def times(factor, widths):
    return tuple(max(round(factor * channels), 2) for channels in widths)

  return SelFlow(
    features=times(width if pyramid is None else pyramid, SelFlow.features)[:coarsest],
    estimator=times(width, SelFlow.estimator)[-estimator_layers:],
    context=times(width, SelFlow.context)[:context_layers],
    **options,
  )


def _both_ways(module: nn.Module, x: chex.Array):
  """Applies a module to [2, B, ...] as one batch: the directions share its weights."""
  result = module(x.reshape(-1, *x.shape[2:]))
  return jax.tree.map(lambda y: y.reshape(2, -1, *y.shape[1:]), result)


def _conv(features: int, name: str, gain: float = 1.0, **options) -> Conv:
  # Xavier's, times the gain.
  initializer = nn.initializers.variance_scaling(gain**2, "fan_avg", "uniform")
  return Conv(features, (3, 3), kernel_init=initializer, name=name, **options)
