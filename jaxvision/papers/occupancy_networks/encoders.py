"""Encoders of observations: an image, a point cloud, a voxel grid, or points with
occupancies (the latent encoder). Each gives one vector a shape.
"""

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.resnet import resnet
from jaxvision.papers.occupancy_networks.layers import ResnetBlock, conv, linear

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResnetEncoder(nn.Module):
  """A residual network for images [B, H, W, 3] in [0, 1], normalised inside.

  Attributes:
    c_dim: size of the code.
    depth: 18, 34 or 50 (the authors' class named Resnet101 is a ResNet-50).
  """

  c_dim: int = 256
  depth: int = 18

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    x = resnet(self.depth, 0, name="features")(_normalize(x), train=train)[-1]
    x = jnp.mean(x, axis=(1, 2))
    return linear(x.shape[-1], self.c_dim, "fc")(x)


class ConvEncoder(nn.Module):
  """Five strided convolutions of images [B, H, W, 3], without normalisation.

  Attributes:
    c_dim: size of the code.
    widths: channels of the layers.
  """

  c_dim: int = 128
  widths: tuple[int, ...] = (32, 64, 128, 256, 512)

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    del train
    chex.assert_shape(x, (None, None, None, 3))
    for index, width in enumerate(self.widths):
      x = nn.relu(x) if index else x
      x = conv(x.shape[-1], width, 3, 2, f"conv{index}", stride=2)(x)
    x = nn.relu(jnp.mean(x, axis=(1, 2)))
    return linear(x.shape[-1], self.c_dim, "fc_out")(x)


class R2N2Encoder(nn.Module):
  """The image encoder of the original 3D-R2N2, for images [B, 127, 127, 3] in [0, 1].

  Attributes:
    c_dim: size of the code.
  """

  c_dim: int = 1024

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    del train
    x = _normalize(x)
    for index, width in enumerate((96, 128, 256, 256, 256, 256)):
      size = 7 if index == 0 else 3
      name = f"convnet_{3 * index}"
      layer = conv(x.shape[-1], width, size, 2, name, padding=size // 2)
      x = nn.max_pool(layer(x), (2, 2), (2, 2), ((1, 1), (1, 1)))
      x = leaky_relu(x, slope=0.01)
    x = jnp.moveaxis(x, -1, 1).reshape(len(x), -1)
    return linear(x.shape[-1], self.c_dim, "fc_out")(x)


class Pixel2MeshEncoder(nn.Module):
  """The image network of Pixel2Mesh, for images [B, 224, 224, 3].

  Attributes:
    width: channels of the first layers.
  """

  width: int = 16

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> tuple[chex.Array, ...]:
    """Returns four maps: strides 4, 8, 16 and 32, of 4, 8, 16 and 32 times `width`."""
    del train
    chex.assert_shape(x, (None, None, None, 3))
    # (channels over `width`, window, stride) of each block's layers.
    blocks = (
      ((1, 3, 1), (1, 3, 1), (2, 3, 2), (2, 3, 1), (2, 3, 1), *_stage(4, 3, 2)),
      _stage(8, 3, 2),
      _stage(16, 5, 2),
      _stage(32, 5, 3),
    )
    maps = []
    for number, block in enumerate(blocks, start=1):
      for index, (width, size, stride) in enumerate(block):
        layer = conv(
          x.shape[-1],
          width * self.width,
          size,
          2,
          f"block_{number}_{2 * index}",
          stride=stride,
          padding=size // 2,
        )
        x = nn.relu(layer(x))
      maps.append(x)
    return tuple(maps)


class PointNetEncoder(nn.Module):
  """Residual PointNet: every layer also sees the maximum over the points.

  Attributes:
    c_dim: size of the code.
    hidden: channels h.
    residual: whether layers are residual blocks (`pointnet_resnet`), or single linear
      maps (`pointnet_simple`, which has one less).

  Source: Supplementary, Section 1.2; `ResnetPointnet` and `SimplePointnet`.
  """

  c_dim: int = 512
  hidden: int = 512
  residual: bool = True

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    """Returns codes [B, c_dim] of clouds [B, N, 3], N ≥ 1."""
    del train
    chex.assert_shape(x, (None, None, 3))
    x = linear(3, 2 * self.hidden, "fc_pos")(x)
    count = 5 if self.residual else 4
    for index in range(count):
      if self.residual:
        x = ResnetBlock(self.hidden, name=f"block_{index}")(x)
      else:
        x = linear(x.shape[-1], self.hidden, f"fc_{index}")(nn.relu(x))
      if index < count - 1:
        x = _with_maximum(x)
    x = nn.relu(jnp.max(x, axis=1))
    return linear(self.hidden, self.c_dim, "fc_c")(x)


class VoxelEncoder(nn.Module):
  """Strided 3-D convolutions of grids [B, X, Y, Z].

  Attributes:
    c_dim: size of the code.
    widths: channels, of the first layer and of those that halve the grid.
    coordinates: whether the cells' coordinates are three more input channels.
  """

  c_dim: int = 256
  widths: tuple[int, ...] = (32, 64, 128, 256, 512)
  coordinates: bool = False

  @nn.compact
  def __call__(self, x: chex.Array, *, train: bool = False) -> chex.Array:
    del train
    chex.assert_rank(x, 4)
    sizes = x.shape[1:]
    x = x[..., None].astype(float)
    if self.coordinates:
      axes = [jnp.linspace(-0.5, 0.5, size) for size in sizes]
      grid = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)
      grid = jnp.broadcast_to(grid, (len(x), *grid.shape))
      x = jnp.concatenate([x, grid], axis=-1)
    x = conv(x.shape[-1], self.widths[0], 3, 3, "conv_in", padding=1)(x)
    for index, width in enumerate(self.widths[1:]):
      layer = conv(x.shape[-1], width, 3, 3, f"conv_{index}", stride=2, padding=1)
      x = layer(nn.relu(x))
    x = nn.relu(jnp.moveaxis(x, -1, 1).reshape(len(x), -1))  # channels first
    return linear(x.shape[-1], self.c_dim, "fc")(x)


class EmbeddingEncoder(nn.Module):
  """A trained vector for each training shape (M12), initialised from N(0, 1).

  Attributes:
    c_dim: size of the code.
    count: number of shapes.
  """

  c_dim: int
  count: int

  @nn.compact
  def __call__(self, index: chex.Array, *, train: bool = False) -> chex.Array:
    """Returns codes [B, c_dim] of shapes given by their indices [B]."""
    del train
    chex.assert_rank(index, 1)
    table = nn.Embed(
      self.count,
      self.c_dim,
      embedding_init=nn.initializers.normal(1.0),
      name="embedding",
    )
    return table(index)


class LatentEncoder(nn.Module):
  """The posterior of the latent code, from points and their occupancies (M2).

  Attributes:
    z_dim: size of the code.
    hidden: channels.
    leaky: slope 0.2 instead of ReLU, and means over the points instead of maxima.
  """

  z_dim: int = 128
  hidden: int = 128
  leaky: bool = False

  @nn.compact
  def __call__(
    self, p: chex.Array, occupancy: chex.Array, c: chex.Array | None = None
  ) -> tuple[chex.Array, chex.Array]:
    """Returns mean and log standard deviation, [B, z_dim] each.

    Args:
      p: [B, T, 3].
      occupancy: [B, T] in {0, 1}.
      c: [B, C], the condition if there is one.
    """
    chex.assert_shape(p, (*occupancy.shape, 3))
    pool = jnp.mean if self.leaky else jnp.max

    def activation(x):
      return leaky_relu(x, slope=0.2) if self.leaky else nn.relu(x)

    hidden = self.hidden
    x = linear(1, hidden, "fc_0")(occupancy[..., None])
    x += linear(3, hidden, "fc_pos")(p)
    if c is not None:
      x += linear(c.shape[-1], hidden, "fc_c")(c)[:, None]
    for index in (1, 2, 3):
      x = linear(x.shape[-1], hidden, f"fc_{index}")(activation(x))
      if index < 3:
        x = _with_maximum(x, pool)
    x = pool(x, axis=1)
    mean = linear(hidden, self.z_dim, "fc_mean")(x)
    return mean, linear(hidden, self.z_dim, "fc_logstd")(x)


def _stage(width, size, more):
  """Returns a strided layer and `more` that follow it."""
  return ((width, size, 2), *[(width, 3, 1)] * more)


def _normalize(images):
  chex.assert_shape(images, (None, None, None, 3))
  return (images - jnp.array(IMAGENET_MEAN)) / jnp.array(IMAGENET_STD)


def _with_maximum(x, pool=jnp.max):
  pooled = pool(x, axis=1, keepdims=True)
  return jnp.concatenate([x, jnp.broadcast_to(pooled, x.shape)], axis=-1)
