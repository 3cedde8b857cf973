"""What cascaded projection is compared with (M10).

Pruning and PCA are projections too and are baked by the same code; the factorisation
re-projects, which takes one more 1 x 1 convolution a layer.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import chex
import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import svd
from jaxvision.papers.cascaded_projection import network
from jaxvision.papers.cascaded_projection.links import Link, Tap
from jaxvision.papers.cascaded_projection.projection import selection


def l1_filters(
  params: Mapping[str, Any], ranks: Mapping[str, int]
) -> dict[str, chex.Array]:
  """Returns the P that keep the r filters of largest sum |W|, in their order.

  Args:
    params: nested parameters of the network.
    ranks: r by layer.

  Source: Li et al., Pruning filters for efficient ConvNets, ICLR 2017.
  """
  flat = flax.traverse_util.flatten_dict(dict(params), sep="/")
  projections = {}
  for name, rank in ranks.items():
    kernel = np.asarray(flat[f"{name}/kernel"])
    norms = np.abs(kernel).sum(axis=tuple(range(kernel.ndim - 1)))
    kept = np.sort(np.argsort(-norms, kind="stable")[:rank])
    projections[name] = selection(kept, kernel.shape[-1])
  return projections


def principal_projections(
  model: nn.Module,
  params: Mapping[str, Any],
  images: chex.Array,
  ranks: Mapping[str, int],
  *,
  batch_size: int = 256,
) -> dict[str, chex.Array]:
  """Returns the leading eigenvectors of each layer's output covariance, O_i.

  Args:
    model: a network without normalisation.
    params: its parameters.
    images: [N, H, W, C] that the covariance is taken over.
    ranks: r by layer.
    batch_size: images at once.
  """
  total = None
  for start in range(0, len(images), batch_size):
    new = _moments(model, tuple(ranks), params, images[start : start + batch_size])
    total = new if total is None else jax.tree.map(jnp.add, total, new)
  return _axes(tuple(ranks.items()), total)


@functools.partial(jax.jit, static_argnums=0)
def _axes(ranks, total):
  """Returns the leading axes of each layer, from its moments."""
  projections = {}
  for name, rank in ranks:
    count, first, second = total[name]
    mean = first / count
    covariance = second / count - jnp.outer(mean, mean)
    projections[name], _ = svd.principal_axes(covariance, rank)
  return projections


@functools.partial(jax.jit, static_argnums=(0, 1))
def _moments(model, layers, params, images):
  """Returns {layer: (count, sum, sum of outer products)} of outputs by position."""
  taps = [Tap(layer) for layer in layers]
  _, outputs = network.run(model, params, images, taps=taps)
  flat = {tap.path: o.reshape(-1, o.shape[-1]) for tap, o in outputs.items()}
  return {
    path: (jnp.float32(len(o)), jnp.sum(o, axis=0), o.T @ o) for path, o in flat.items()
  }


def factorise(
  params: Mapping[str, Any],
  links: Sequence[Link],
  projections: Mapping[str, chex.Array],
) -> dict[str, Any]:
  """Returns the network that projects and re-projects before each ReLU.

  Layer i has the kernel W P, and then a 1 x 1 convolution P^T without bias, `expand`:
  what reaches the ReLU is O P P^T, and the next layer is as it was.

  Args:
    params: nested parameters of the network.
    links: the links.
    projections: P [c, r] by producer.

  Source: Eq. 5.
  """
  flat = dict(flax.traverse_util.flatten_dict(dict(params), sep="/"))
  for link in links:
    name = link.producer
    if name in projections:
      p = projections[name]
      for leaf in (f"{name}/kernel", f"{name}/bias"):
        flat[leaf] = network.project_outputs(flat[leaf], p)
      flat[f"{name}/expand"] = p.T
  return flax.traverse_util.unflatten_dict(flat, sep="/")


def fresh(key: chex.PRNGKey, params: Mapping[str, Any]) -> dict[str, Any]:
  """Returns He-initialised parameters of the same shapes: for training from scratch.

  Args:
    key: random key.
    params: nested parameters; kernels are drawn, all else is 0.
  """
  flat = flax.traverse_util.flatten_dict(dict(params), sep="/")
  keys = jax.random.split(key, len(flat))
  he = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
  drawn = {
    name: he(key, leaf.shape) if name.endswith("kernel") else jnp.zeros(leaf.shape)
    for key, (name, leaf) in zip(keys, flat.items(), strict=True)
  }
  return flax.traverse_util.unflatten_dict(drawn, sep="/")
