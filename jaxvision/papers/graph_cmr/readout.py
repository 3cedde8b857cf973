"""Parameters of the body model read off a mesh (M11)."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.nn.batch_norm import batch_norm
from jaxvision.nn.point_layers import LINEAR
from jaxvision.ops import rotations


class ParameterReadout(nn.Module):
  """Maps vertices to 24 rotations and 10 shape numbers.

  Attributes:
    hidden: width.
    blocks: residual blocks.
    joints: rotations.
    shapes: shape numbers.
    rule: see `ops.rotations.orthogonalize`; the authors' weights need "sign".

  Source: models/smpl_param_regressor.py.
  """

  hidden: int = 1024
  blocks: int = 2
  joints: int = 24
  shapes: int = 10
  rule: str = "sign"

  @nn.compact
  def __call__(
    self, vertices: chex.Array, reference: chex.Array, *, train: bool = False
  ) -> tuple[chex.Array, chex.Array, chex.Array]:
    """Returns rotations [B, 24, 3, 3], shape [B, 10] and the last layer's numbers.

    Args:
      vertices: [B, N, 3] in metres.
      reference: [N, 3] or [B, N, 3] the template, in [-1, 1].
      train: whether to normalise by the batch's statistics.
    """
    reference = jnp.broadcast_to(reference, vertices.shape)
    # A vertex's place and its reference stand side by side.
    x = jnp.concatenate([vertices, reference], axis=-1).reshape(len(vertices), -1)
    x = self._layer(x, "input", train)
    for block in range(self.blocks):
      y = self._layer(x, f"block_{block}_0", train)
      y = self._layer(y, f"block_{block}_1", train, activate=False)
      x = nn.relu(x + y)
    raw = linear(9 * self.joints + self.shapes, x.shape[-1], "output")(x)
    return (*parameters_of(raw, self.joints, self.rule), raw)

  def _layer(self, x, name, train, activate=True):
    y = linear(self.hidden, x.shape[-1], f"{name}_linear")(x)
    y = batch_norm(train=train, name=f"{name}_norm")(y)
    return nn.relu(y) if activate else y


def parameters_of(
  raw: chex.Array, joints: int, rule: str
) -> tuple[chex.Array, chex.Array]:
  """Returns rotations [B, joints, 3, 3] and shape [B, S] of raw numbers.

  Args:
    raw: [B, 9 joints + S], matrices row by row first.
    joints: how many matrices.
    rule: how they become rotations.
  """
  matrices = raw[:, : 9 * joints].reshape(-1, joints, 3, 3)
  return rotations.orthogonalize(matrices, rule), raw[:, 9 * joints :]


def whitening_kernel(
  vertices: np.ndarray,
  features: int,
  *,
  components: int = 128,
  floor: float = 0.003,
  seed: int = 0,
) -> np.ndarray:
  """Returns a kernel of the first layer to which all differences of meshes are alike.

  Turns of the body move vertices a hundred times as far as turns of a hand. Behind a
  kernel that is drawn at random, what is small is learned hundreds of times as slowly.
  Of this one each feature is a random mixture of the principal components of meshes,
  each scaled to the same variance.

  Args:
    vertices: [B, N, 3] of meshes, in metres.
    features: width of the layer.
    components: how many are mixed, at most 3 N.
    floor: standard deviation in metres over all coordinates, below which components
      are not scaled up.
    seed: of the mixtures.

  Returns:
    [6 N, features], float32; zero for the reference.
  """
  count, nodes = vertices.shape[:2]
  flat = vertices.reshape(count, -1).astype(np.float64)
  flat -= flat.mean(axis=0)
  variances, directions = np.linalg.eigh(flat.T @ flat / count)
  variances, directions = variances[-components:], directions[:, -components:]
  scaled = directions / np.sqrt(np.maximum(variances, 0) + floor**2)
  shape = scaled.shape[1], features
  mixtures = np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])
  kernel = np.zeros((nodes, 6, features), np.float32)
  kernel[:, :3] = (scaled @ mixtures).reshape(nodes, 3, features)
  return kernel.reshape(-1, features)


def linear(features: int, inputs: int, name: str) -> nn.Dense:
  """Returns a linear layer that starts as PyTorch's do."""
  bound = inputs**-0.5

  def bias(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return nn.Dense(features, kernel_init=LINEAR, bias_init=bias, name=name)
