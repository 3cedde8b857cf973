"""Measures of extrapolated views (Section 6 of the paper)."""

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops.metrics import ssim_map
from jaxvision.ops.wasserstein import wasserstein_1d

WINDOW = 7
DISOCCLUDED = 0.075  # weight that a plane gains


def masked_ssim(
  rendered: chex.Array, target: chex.Array, mask: chex.Array
) -> chex.Array:
  """Returns the mean structural similarity over some pixels.

  Args:
    rendered: [B, H, W, 3] in [0, 1].
    target: [B, H, W, 3].
    mask: [B, H, W, 1] bool; those nearer than half a window to the border never count.

  Returns:
    [B] in [-1, 1]; NaN where no pixel counts.
  """
  chex.assert_equal_shape_prefix([rendered, mask], 3)
  similarity = jnp.mean(ssim_map(rendered, target, window=WINDOW), axis=-1)
  rim = WINDOW // 2
  inner = mask[:, rim : mask.shape[1] - rim, rim : mask.shape[2] - rim, 0]
  inner = inner.astype(similarity.dtype)
  return jnp.sum(similarity * inner, axis=(1, 2)) / jnp.sum(inner, axis=(1, 2))


def naturalness(
  rendered: chex.Array, target: chex.Array, mask: chex.Array
) -> chex.Array:
  """Returns -log of the distance between the gradients of two images' pixels.

  Args:
    rendered: [B, H, W, 3] in [0, 1].
    target: [B, H, W, 3].
    mask: [B, H, W, 1] bool.

  Returns:
    [B], higher is better: -ln W1 of the magnitudes of grey gradients (central
    differences, [0, 1] a pixel) over the mask; NaN where no pixel counts.

  Source: Srinivasan et al., Section 6.1, NAT_occ; bins are not said there, so samples
    are compared as they are.
  """
  chex.assert_equal_shape([rendered, target])
  weights = mask[..., 0].astype(rendered.dtype)

  def distance(a, b, weight):
    flat = (gradient_magnitude(a).ravel(), gradient_magnitude(b).ravel())
    return wasserstein_1d(*flat, weight.ravel(), weight.ravel())

  return -jnp.log(jnp.maximum(jax.vmap(distance)(rendered, target, weights), 1e-6))


def gradient_magnitude(image: chex.Array) -> chex.Array:
  """Returns |∇ grey| [H, W] of an image [H, W, 3]; one-sided at the border."""
  grey = jnp.mean(image, axis=-1)
  down, right = jnp.gradient(grey)
  return jnp.sqrt(jnp.square(down) + jnp.square(right))
