"""Disparity heads, with and without local guided aggregation (M8, M9)."""

from collections.abc import Callable

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.ops.aggregation import normalize_weights
from jaxvision.ops.cost_volume import expected_disparity, softmin_disparity
from jaxvision.ops.local_aggregation import local_guided_aggregation
from jaxvision.ops.resize import weights as resize_weights
from jaxvision.papers.ganet.guidance import WINDOW
from jaxvision.papers.ganet.layers import KERNEL_INIT, plain_conv

SCALE = 3  # the volume is at a third of the resolution


class Head(nn.Module):
  """Turns an aggregated volume into disparities at full resolution.

  Attributes:
    max_disp: the largest disparity; max_disp + 1 candidates are regressed over.
    kernel_init: of the convolution.
  """

  max_disp: int
  kernel_init: Callable[..., chex.Array] = KERNEL_INIT

  @nn.compact
  def __call__(
    self, volume: chex.Array, filters: tuple[chex.Array, chex.Array] | None = None
  ) -> chex.Array:
    """Returns the disparities [N, 3 h, 3 w] in pixels.

    Args:
      volume: [N, D, h, w, C].
      filters: LGA weights [N, 3 h, 3 w, 75] for before and after the softmin, not
        normalised; None for a head without LGA. With them, disparities may leave
        [0, max_disp], as weights may be negative.
    """
    cost = plain_conv(1, axes=3, name="conv32x1", init=self.kernel_init)(volume)[..., 0]
    cost = upsample(cost, self.max_disp + 1)
    if filters is None:
      return softmin_disparity(cost)
    before, after = (
      normalize_weights(f, axis=-1).reshape(*f.shape[:3], 3, WINDOW, WINDOW)
      for f in filters
    )
    cost = local_guided_aggregation(cost, before, repeats=2)
    probabilities = jax.nn.softmax(-cost, axis=1)
    probabilities = local_guided_aggregation(probabilities, after, repeats=2)
    return expected_disparity(normalize_weights(probabilities, axis=1))


def upsample(cost: chex.Array, candidates: int) -> chex.Array:
  """Returns [N, candidates, 3 h, 3 w] of [N, D, h, w], trilinear between centres."""
  chex.assert_rank(cost, 4)
  sizes = (candidates, SCALE * cost.shape[2], SCALE * cost.shape[3])
  depth, rows, columns = (
    jnp.asarray(resize_weights(length, size, "bilinear", "half_pixel"), cost.dtype)
    for length, size in zip(cost.shape[1:], sizes, strict=True)
  )
  cost = jnp.einsum("xw,ndhw->ndhx", columns, cost, precision="highest")
  cost = jnp.einsum("yh,ndhx->ndyx", rows, cost, precision="highest")
  return jnp.einsum("ed,ndyx->neyx", depth, cost, precision="highest")
