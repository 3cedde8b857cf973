"""M-estimators: the weight of each pixel, learned (B) or classical (M9).

All are evaluated once a level, from the residual at the pose that it starts from.
"""

from collections.abc import Callable, Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.ops.resize import resize
from jaxvision.papers.inverse_compositional.encoders import ConvBlocks, Layers

LAYERS: Layers = ((16, 1), (32, 2), (64, 4), (1, 1))

# Tuning constants at which 95% of the efficiency is kept where noise is Gaussian.
HUBER = 1.345
TUKEY = 4.685


class MEstimator(nn.Module):
  """The convolutional M-estimator (B): weights in (0, 1) from residual and features.

  Attributes:
    layers: (features, dilation) of its convolutions; the last has one feature.

  Source: Section 4.2, Figure 3.
  """

  layers: Sequence[tuple[int, int]] = LAYERS

  @nn.compact
  def __call__(
    self,
    residual: chex.Array,
    template: chex.Array,
    image: chex.Array,
    prior: chex.Array,
    *,
    train: bool = False,
  ) -> chex.Array:
    """Returns weights [B, H, W, 1].

    Args:
      residual: [B, H, W, 1] of the image, warped, to the template.
      template: [B, H, W, 1] features.
      image: [B, H, W, 1] features, not warped.
      prior: [B, h, w, 1] weights of the coarser level.
      train: whether to normalise by the batch.
    """
    chex.assert_equal_shape([residual, template, image])
    chex.assert_axis_dimension(residual, -1, 1)
    prior = resize(prior, residual.shape[1:3], coordinates="align_corners")
    context = jnp.concatenate([jnp.abs(residual), template, image, prior], axis=-1)
    layers = tuple(map(tuple, self.layers))
    return jax.nn.sigmoid(ConvBlocks(layers, name="net")(context, train=train))


def robust_scale(residual: chex.Array, valid: chex.Array) -> chex.Array:
  """Returns the deviation of a Gaussian that has the median |residual| of each image.

  Args:
    residual: [B, H, W].
    valid: [B, H, W] bool, which of them count.

  Returns:
    [B, 1, 1], ≥ 0; 0 where no pixel counts.
  """
  chex.assert_equal_shape([residual, valid])
  flat = jnp.where(valid, jnp.abs(residual), jnp.inf).reshape(len(residual), -1)
  count = jnp.sum(valid.reshape(flat.shape), axis=1, keepdims=True)
  middle = jnp.take_along_axis(jnp.sort(flat), jnp.maximum(count - 1, 0) // 2, axis=1)
  return 1.4826 * jnp.where(count > 0, middle, 0.0)[..., None]


def huber(residual: chex.Array, valid: chex.Array) -> chex.Array:
  """Returns the weights of Huber's estimator: min(1, kσ / |r|).

  Args:
    residual: [B, H, W].
    valid: [B, H, W] bool, from which σ is estimated.

  Source: Zhang, Parameter Estimation Techniques, 1997, Table 1.
  """
  limit = HUBER * robust_scale(residual, valid)
  size = jnp.abs(residual)
  return jnp.where(size <= limit, 1.0, limit / jnp.where(size > 0, size, 1.0))


def tukey(residual: chex.Array, valid: chex.Array) -> chex.Array:
  """Returns the weights of Tukey's estimator: (1 - (r / kσ)²)², 0 from kσ on.

  Arguments and source as for `huber`.
  """
  limit = TUKEY * robust_scale(residual, valid)
  share = residual / jnp.where(limit > 0, limit, 1.0)
  return jnp.square(jnp.maximum(1 - jnp.square(share), 0.0))


def least_squares(residual: chex.Array, valid: chex.Array) -> chex.Array:
  """Returns weights of 1: no pixel is doubted."""
  del valid
  return jnp.ones_like(residual)


CLASSICAL: dict[str, Callable[[chex.Array, chex.Array], chex.Array]] = {
  "none": least_squares,
  "huber": huber,
  "tukey": tukey,
}
