"""The loss of a rendered view (M9)."""

from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxvision.nn.vgg_features import vgg_features
from jaxvision.ops.metrics import ssim_map
from jaxvision.ops.pooling import average_pool

MEAN_COLOR = (123.68, 116.779, 103.939)  # red, green, blue of ImageNet
# Divisors of the layers' differences, and by how much each has fewer pixels.
LAYERS = {
  "conv1_2": (2.6, 1),
  "conv2_2": (4.8, 2),
  "conv3_2": (3.7, 4),
  "conv4_2": (5.6, 8),
  "conv5_2": (0.15, 16),
}
_WINDOW = 5  # of structural similarity, pixels


def view_loss(
  vgg: Mapping[str, Any] | None,
  rendered: chex.Array,
  target: chex.Array,
  mask: chex.Array,
  structure: float = 0.0,
) -> chex.Array:
  """Returns the parts of the loss: pixels, and layers of a VGG-19 of mean pooling.

  Args:
    vgg: variables of `nn.vgg.VGG`; None for pixels alone.
    rendered: [B, H, W, 3] in [-1, 1].
    target: [B, H, W, 3] in [0, 1].
    mask: [B, H, W, 1] in [0, 1], which pixels count. Means are over all pixels.
    structure: weight of 1 - SSIM beside pixels of 0 to 255, which stands for VGG's
      finer layers where its weights are not to be had; not the paper's.

  Returns:
    [6], or [1] for pixels alone, and one more with structure; the loss is their sum.

  Source: Srinivasan et al., Section 5; weights of Chen and Koltun, ICCV 2017.
  """
  chex.assert_equal_shape([rendered, target])
  chex.assert_shape(mask, (*target.shape[:-1], 1))
  mean = jnp.array(MEAN_COLOR, target.dtype)
  fake, real = (rendered + 1) / 2 * 255 - mean, target * 255 - mean
  parts = [jnp.mean(mask * jnp.abs(fake - real))]
  if vgg is not None:
    features = vgg_features(vgg, jnp.concatenate([fake, real]), LAYERS, average=True)
    for (divisor, size), maps in zip(LAYERS.values(), features, strict=True):
      fake, real = jnp.split(maps, 2)
      coarse = average_pool(mask, size, padding="SAME") if size > 1 else mask
      parts.append(jnp.mean(coarse * jnp.abs(fake - real)) / divisor)
  if structure:
    similarity = ssim_map((rendered + 1) / 2, target, window=_WINDOW)
    rim = _WINDOW // 2
    inner = mask[:, rim : mask.shape[1] - rim, rim : mask.shape[2] - rim]
    parts.append(structure * jnp.mean(inner * (1 - similarity)))
  return jnp.stack(parts)


def frustum_mask(seen: chex.Array) -> chex.Array:
  """Returns `mpi.sees_every_plane` as weights."""
  return jax.lax.stop_gradient(seen.astype(jnp.float32))
