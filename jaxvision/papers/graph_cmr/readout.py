"""Parameters of the body model read off a mesh (M11)."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

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


def linear(features: int, inputs: int, name: str) -> nn.Dense:
  """Returns a linear layer that starts as PyTorch's do."""
  bound = inputs**-0.5

  def bias(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return nn.Dense(features, kernel_init=LINEAR, bias_init=bias, name=name)
