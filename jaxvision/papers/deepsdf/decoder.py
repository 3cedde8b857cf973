"""The decoder f(z, x): from a shape's code and a point to the signed distance (M4)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.ops import dropout

_LAYER_NORM_EPSILON = 1e-5


class Decoder(nn.Module):
  """A multi-layer perceptron that sees code and point again in the middle.

  Every shape's code is given once for all of its points: what layers make of it is
  computed once a shape and added to what they make of each point.

  Attributes:
    latent_size: numbers of a code; 0 for a network of one shape (M12).
    dims: widths of the hidden layers; where a layer's successor sees the input again,
      the input's width is taken off.
    latent_in: layers that see (code, point) behind the features.
    norm_layers: layers with weight normalisation, or else with layer normalisation.
    weight_norm: which of the two.
    dropout_layers: layers whose features are dropped in training.
    dropout: probability of it.
    xyz_in_all: whether every layer but those of `latent_in` sees the point too.
    use_tanh: whether tanh is taken twice at the end.
    latent_dropout: whether a fifth of the code is dropped in training, but where it
      comes in again.

  Source: Section 4 and Fig. 4; networks/deep_sdf_decoder.py.
  """

  latent_size: int = 256
  dims: tuple[int, ...] = (512,) * 8
  latent_in: tuple[int, ...] = (4,)
  norm_layers: tuple[int, ...] = tuple(range(8))
  weight_norm: bool = True
  dropout_layers: tuple[int, ...] = tuple(range(8))
  dropout: float = 0.2
  xyz_in_all: bool = False
  use_tanh: bool = False
  latent_dropout: bool = False

  @nn.compact
  def __call__(
    self, codes: chex.Array, points: chex.Array, *, train: bool = False
  ) -> chex.Array:
    """Returns the signed distances of points to the shapes of codes.

    Args:
      codes: [..., latent_size].
      points: [..., N, 3] in the normalised frame.
      train: whether features are dropped, by the random numbers "dropout".

    Returns:
      [..., N] in (-1, 1); negative inside.
    """
    chex.assert_shape(codes, (*points.shape[:-2], self.latent_size))
    chex.assert_axis_dimension(points, -1, 3)
    codes = codes[..., None, :]
    widths = self.layer_widths()
    features = None
    for number, (fan_in, width) in enumerate(widths):
      # The parts that a layer's input consists of, in the authors' order.
      if number == 0:
        code = codes
        if self.latent_dropout and train:
          shape = (*points.shape[:-1], self.latent_size)
          code = jnp.broadcast_to(codes, shape)
          code = dropout.dropout(code, self.make_rng("dropout"), 0.2)
        parts = [code, points]
      elif number in self.latent_in:
        parts = [features, codes, points]
      elif self.xyz_in_all:
        parts = [features, points]
      else:
        parts = [features]
      is_normed = number in self.norm_layers and number + 1 < len(widths)
      features = _Linear(
        fan_in, width, self.weight_norm and is_normed, name=f"lin{number}"
      )(parts)
      if number + 1 == len(widths):
        break
      if is_normed and not self.weight_norm:
        norm = nn.LayerNorm(epsilon=_LAYER_NORM_EPSILON, name=f"bn{number}")
        features = norm(features)
      if train and self.dropout and number in self.dropout_layers:
        key = self.make_rng("dropout")
        features = dropout.relu_dropout(features, key, self.dropout)
      else:
        features = nn.relu(features)
    distances = features[..., 0]
    return jnp.tanh(jnp.tanh(distances) if self.use_tanh else distances)

  def layer_widths(self) -> list[tuple[int, int]]:
    """Returns (inputs, outputs) of every layer.

    Raises:
      ValueError: a layer before one of `latent_in` is narrower than the input.
    """
    sizes = (self.latent_size + 3, *self.dims, 1)
    widths = []
    for number in range(len(sizes) - 1):
      width = sizes[number + 1]
      if number + 1 in self.latent_in:
        width -= sizes[0]
      elif self.xyz_in_all and number < len(sizes) - 2:
        width -= 3
      if width < 1:
        raise ValueError(
          f"layer {number} has {sizes[number + 1]} features, of which the input of "
          f"{sizes[0]} numbers leaves none"
        )
      widths.append((sizes[number], width))
    return widths


class _Linear(nn.Module):
  """A linear layer of an input in parts, which need not be put together.

  Parameters: kernel [in, out], bias [out] and, with weight normalisation, scale [out]:
  column o of the effective kernel is scale[o] * kernel[:, o] / |kernel[:, o]|.
  """

  fan_in: int
  width: int
  weight_norm: bool

  @nn.compact
  def __call__(self, parts: list[chex.Array]) -> chex.Array:
    shape = (self.fan_in, self.width)
    bound = self.fan_in**-0.5

    def uniform(key, shape):
      return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

    kernel = self.param("kernel", uniform, shape)
    bias = self.param("bias", uniform, (self.width,))
    if self.weight_norm:
      length = jnp.linalg.norm(kernel, axis=0)
      scale = self.param("scale", lambda _: jnp.linalg.norm(kernel, axis=0))
      kernel = kernel * (scale / length)
    ends = [0]
    for part in parts:
      ends.append(ends[-1] + part.shape[-1])
    chex.assert_equal(ends[-1], self.fan_in)
    total = bias
    for part, start, end in zip(parts, ends, ends[1:], strict=False):
      if end - start == 3:  # a point: three products are quicker than a matrix's
        rows = kernel[start:end]
        total = total + sum(part[..., k, None] * rows[k] for k in range(3))
      elif end > start:
        # As one matrix: XLA copies a transposed batch of matrices in the gradient.
        flat = part.reshape(-1, end - start) @ kernel[start:end]
        total = total + flat.reshape(*part.shape[:-1], self.width)
    return total


def init(decoder: Decoder, key: chex.PRNGKey) -> dict:
  """Returns random parameters of a decoder; also under `jax.eval_shape`."""
  codes, points = jnp.zeros((decoder.latent_size,)), jnp.zeros((1, 3))
  return decoder.init(key, codes, points)["params"]


def fold(decoder: Decoder, params: Mapping[str, Any]) -> tuple[Decoder, dict]:
  """Returns an equal decoder without weight normalisation, and its parameters.

  Inference then does not normalise the same weights again at every step.
  """
  if not decoder.weight_norm:
    return decoder, dict(params)
  folded = {}
  for name, layer in params.items():
    kernel = layer["kernel"]
    if "scale" in layer:
      kernel = kernel * (layer["scale"] / jnp.linalg.norm(kernel, axis=0))
    folded[name] = {"kernel": kernel, "bias": layer["bias"]}
  plain = dataclasses.replace(decoder, weight_norm=False, norm_layers=())
  return plain, folded


def gradient(
  decoder: Decoder, params: Mapping[str, Any], codes: chex.Array, points: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Returns distances [..., N] and their gradients [..., N, 3] by the points."""

  def total(points):
    distances = decoder.apply({"params": params}, codes, points)
    return jnp.sum(distances), distances

  slopes, distances = jax.grad(total, has_aux=True)(points)
  return distances, slopes


def normals(
  decoder: Decoder, params: Mapping[str, Any], codes: chex.Array, points: chex.Array
) -> chex.Array:
  """Returns unit normals [..., N, 3]: the gradient's direction (M13); 0 where flat."""
  _, slopes = gradient(decoder, params, codes, points)
  squares = jnp.sum(jnp.square(slopes), axis=-1, keepdims=True)
  return jnp.where(squares > 0, slopes * jax.lax.rsqrt(squares + (squares == 0)), 0.0)
