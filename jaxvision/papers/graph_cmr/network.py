"""From an image to a mesh: the paper's network and its two baselines (M1, M5, M6)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.nn.resnet import ResNet, resnet
from jaxvision.ops import skinning, sparse
from jaxvision.papers.graph_cmr.body import Body
from jaxvision.papers.graph_cmr.layers import (
  GraphResidualBlock,
  Initial,
  VertexGroupNorm,
  VertexLinear,
)
from jaxvision.papers.graph_cmr.readout import (
  ParameterReadout,
  linear,
  parameters_of,
)

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
SHAPE_HEAD = (64, 32)  # widths of the blocks before the vertices' places


class Mesh(NamedTuple):
  """A regressed mesh.

  Attributes:
    coarse: [B, N, 3] the network's vertices, in metres; None of a body model's.
    vertices: [B, V, 3] all vertices.
    camera: [B, 3] weak-perspective.
  """

  coarse: chex.Array | None
  vertices: chex.Array
  camera: chex.Array


class Parameters(NamedTuple):
  """A body model's parameters, and its mesh.

  Attributes:
    rotations: [B, K, 3, 3].
    shape: [B, S].
    vertices: [B, V, 3] in metres.
  """

  rotations: chex.Array
  shape: chex.Array
  vertices: chex.Array


class Prediction(NamedTuple):
  """What a network says of images: a mesh, parameters, or both."""

  mesh: Mesh
  parameters: Parameters | None


class Encoder(nn.Module):
  """Images in [0, 1] to a vector each: a ResNet without its classifier.

  Attributes:
    depth: 18 to 152 of the ImageNet networks, whose last map is averaged; 0 for a small
      one of a basic block a stage, of stride 4. It has not the channels to tell where
      it saw something, so it says the mean place of each under a softmax over places.
    widths: of the stages of the small one.
    code: how many channels are placed; the vector is twice as long.
  """

  depth: int = 50
  widths: Sequence[int] = (16, 32, 64)
  code: int = 128

  @nn.compact
  def __call__(self, images: chex.Array, *, train: bool = False) -> chex.Array:
    """Returns [B, D] of images [B, H, W, 3]."""
    x = (images - jnp.array(IMAGE_MEAN)) / jnp.array(IMAGE_STD)
    if self.depth:
      x = resnet(self.depth, 0, name="resnet")(x, train=train)[-1]
      return jnp.mean(x, axis=(1, 2))
    ones = (1,) * len(self.widths)
    network = ResNet(0, "basic", ones, self.widths, strides=ones, name="resnet")
    x = network(x, train=train)[-1]
    x = nn.Dense(self.code, name="detections")(x)
    return mean_places(nn.softmax(x, axis=(1, 2))).reshape(len(x), -1)


def mean_places(shares: chex.Array) -> chex.Array:
  """Returns the mean (row, column) in [-1, 1], [B, 2, C], of shares [B, H, W, C]."""
  _, height, width, _ = shares.shape
  rows, columns = jnp.linspace(-1, 1, height), jnp.linspace(-1, 1, width)
  return jnp.stack(
    [
      jnp.einsum("bhwc,h->bc", shares, rows),
      jnp.einsum("bhwc,w->bc", shares, columns),
    ],
    axis=1,
  )


class GraphDecoder(nn.Module):
  """Features of an image to vertices and a camera, by graph convolutions.

  Attributes:
    channels: C.
    layers: residual blocks behind the first.
    norm: whether to normalise.
    initial: range of linear layers but the camera's, see `VertexLinear`.

  Source: models/graph_cnn.py.
  """

  channels: int = 256
  layers: int = 5
  norm: bool = True
  initial: Initial = "tiny"

  @nn.compact
  def __call__(
    self,
    features: chex.Array,
    reference: chex.Array,
    adjacency: sparse.SparseMatrix | None,
  ) -> tuple[chex.Array, chex.Array]:
    """Returns vertices [B, N, 3] and cameras [B, 3].

    Args:
      features: [B, D] of images.
      reference: [N, 3] the template.
      adjacency: [N, N]; None leaves neighbours out.
    """

    def linear_of(width, name):
      return VertexLinear(width, self.initial, name=name)

    def block(width, name):
      return GraphResidualBlock(width, self.norm, self.initial, name=name)

    def activate(x, name):
      return nn.relu(VertexGroupNorm(name=name)(x) if self.norm else x)

    x = linear_of(2 * self.channels, "input")(reference[None], features)
    for layer in range(self.layers + 1):
      x = block(self.channels, f"trunk_{layer}")(x, adjacency)

    shape = x
    for index, width in enumerate(SHAPE_HEAD):
      shape = block(width, f"shape_{index}")(shape, adjacency)
    vertices = linear_of(3, "vertices")(activate(shape, "shape_norm"))

    each = VertexLinear(1, name="camera_linear")(activate(x, "camera_norm"))
    each = nn.relu(each[..., 0])
    camera = linear(3, each.shape[-1], "camera")(each)
    return vertices, camera


class FullyConnectedDecoder(nn.Module):
  """The baseline that gives all vertices from hidden layers.

  Attributes:
    vertices: N.
    hidden: widths; the paper gives none.
  """

  vertices: int
  hidden: Sequence[int] = (1024, 1024)

  @nn.compact
  def __call__(
    self,
    features: chex.Array,
    reference: chex.Array,
    adjacency: sparse.SparseMatrix | None,
  ) -> tuple[chex.Array, chex.Array]:
    """Returns vertices [B, N, 3] and cameras [B, 3]; arguments as `GraphDecoder`."""
    del reference, adjacency
    x = features
    for index, width in enumerate(self.hidden):
      x = nn.relu(nn.Dense(width, name=f"hidden_{index}")(x))
    vertices = nn.Dense(3 * self.vertices, name="vertices")(x)
    return vertices.reshape(-1, self.vertices, 3), nn.Dense(3, name="camera")(x)


class ParameterDecoder(nn.Module):
  """The baseline that gives a body model's parameters (as HMR, in one step).

  Attributes:
    joints: rotations.
    shapes: shape numbers.
    hidden: widths.
  """

  joints: int = 24
  shapes: int = 10
  hidden: Sequence[int] = (1024, 1024)

  @nn.compact
  def __call__(self, features: chex.Array) -> tuple[chex.Array, chex.Array, chex.Array]:
    """Returns rotations [B, K, 3, 3], shape [B, S] and cameras [B, 3]."""
    x = features
    for index, width in enumerate(self.hidden):
      x = nn.relu(nn.Dense(width, name=f"hidden_{index}")(x))
    raw = nn.Dense(9 * self.joints + self.shapes, name="parameters")(x)
    found = parameters_of(raw, self.joints, "nearest")
    return (*found, nn.Dense(3, name="camera")(x))


class Regressor(nn.Module):
  """An encoder, a decoder, and perhaps a network that reads parameters off the mesh.

  Attributes:
    encoder: of images.
    decoder: of one of the three kinds.
    readout: of the mesh, to which no gradient flows; None for none.
    scale: added to the cameras' s, which would start near 0.
  """

  encoder: Encoder
  decoder: nn.Module
  readout: ParameterReadout | None = None
  scale: float = 0.0

  def __call__(
    self, images: chex.Array, body: Body, *, train: bool = False
  ) -> Prediction:
    """Returns meshes and parameters of images [B, H, W, 3] in [0, 1]."""
    features = self.encoder(images, train=train)
    if isinstance(self.decoder, ParameterDecoder):
      rotations, shape, camera = self.decoder(features)
      camera += jnp.array([self.scale, 0.0, 0.0])
      parameters = with_mesh(body, rotations, shape)
      return Prediction(Mesh(None, parameters.vertices, camera), parameters)
    coarse, camera = self.decoder(features, body.reference, body.adjacency)
    camera += jnp.array([self.scale, 0.0, 0.0])
    mesh = Mesh(coarse, sparse.matmul(body.up, coarse), camera)
    parameters = None
    if self.readout is not None:
      rotations, shape, _ = self.readout(
        jax.lax.stop_gradient(coarse), body.reference, train=train
      )
      parameters = with_mesh(body, rotations, shape)
    return Prediction(mesh, parameters)


def with_mesh(body: Body, rotations: chex.Array, shape: chex.Array) -> Parameters:
  """Returns parameters with the vertices that they stand for."""
  vertices, _ = skinning.forward(body.model, rotations, shape)
  return Parameters(rotations, shape, vertices)


def count_parameters(variables: Any) -> int:
  """Returns how many numbers a tree of arrays or shapes holds."""
  leaves = jax.tree.leaves(variables)
  return int(sum(np.prod(leaf.shape) for leaf in leaves))
