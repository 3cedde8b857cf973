"""Similarities (scale, rotation, translation) that bring points onto others."""

import chex
import jax.numpy as jnp

from jaxvision.ops import procrustes


def align(source: chex.Array, target: chex.Array) -> chex.Array:
  """Returns the source moved by the similarity that comes closest to the target.

  A reflection is never used. A source at a single place stays at one.

  Args:
    source: [..., N, d] points.
    target: [..., N, d] their correspondences.

  Returns:
    [..., N, d].

  Source: Umeyama, PAMI 1991.
  """
  rotation, _ = procrustes.procrustes(source, target)
  source_mean = jnp.mean(source, axis=-2, keepdims=True)
  target_mean = jnp.mean(target, axis=-2, keepdims=True)
  centred = source - source_mean
  turned = jnp.matmul(centred, jnp.swapaxes(rotation, -1, -2), precision="highest")
  extent = jnp.sum(jnp.square(centred), axis=(-2, -1), keepdims=True)
  shared = jnp.sum(turned * (target - target_mean), axis=(-2, -1), keepdims=True)
  return shared / jnp.where(extent > 0, extent, 1.0) * turned + target_mean
