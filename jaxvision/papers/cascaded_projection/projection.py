"""Projections: where they start, what they become, the kernels they leave (M2-M6)."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import chex
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import svd
from jaxvision.papers.cascaded_projection import network
from jaxvision.papers.cascaded_projection.links import Link

ORTHONORMALITY = 1e-5  # largest error of P^T P = I that baking accepts


def random_proxies(
  key: chex.PRNGKey, widths: Mapping[str, int], ranks: Mapping[str, int]
) -> dict[str, chex.Array]:
  """Returns a random orthonormal X_i [c, r] for each layer, all singular values 1.

  Args:
    key: random key.
    widths: c by layer.
    ranks: r by layer.
  """
  shapes = tuple((name, widths[name], rank) for name, rank in ranks.items())
  return _random_proxies(shapes, key)


@functools.partial(jax.jit, static_argnums=0)
def _random_proxies(shapes, key):
  keys = jax.random.split(key, len(shapes))
  return {
    name: svd.random_orthonormal(key, width, rank)
    for key, (name, width, rank) in zip(keys, shapes, strict=True)
  }


@jax.jit
def project(proxies: Mapping[str, chex.Array]) -> dict[str, chex.Array]:
  """Returns P_i = U V^T of every proxy X_i = U S V^T, one SVD for each shape.

  Args:
    proxies: X_i [c, r] by layer.

  Source: the paper's PMaP, proxy matrix projection.
  """
  by_shape: dict[tuple[int, ...], list[str]] = {}
  for name, proxy in proxies.items():
    by_shape.setdefault(proxy.shape, []).append(name)
  projections = {}
  for names in by_shape.values():
    stacked = svd.polar_projection(jnp.stack([proxies[name] for name in names]))
    projections |= dict(zip(names, stacked, strict=True))
  return {name: projections[name] for name in proxies}


def rescale(proxies: Mapping[str, chex.Array]) -> dict[str, chex.Array]:
  """Returns X_i / s_max, whose projections are the same.

  Steps of SGD are at right angles to X, so that ||X|| grows and the steps, which
  scale as 1 / s, shrink; this undoes it.
  """
  return {name: x / jnp.linalg.norm(x, ord=2) for name, x in proxies.items()}


def project_kernels(
  params: Mapping[str, Any],
  links: Sequence[Link],
  projections: Mapping[str, chex.Array],
) -> dict[str, Any]:
  """Returns the parameters of the compressed network: W^O, W^I, W^IO and b P.

  The bias of layer i + 1 does not change.

  Args:
    params: nested parameters of the network.
    links: the links that the projections stand between.
    projections: P [c, r] by producer.
  """
  flat = dict(flax.traverse_util.flatten_dict(dict(params), sep="/"))
  for link in links:
    if link.producer not in projections:
      continue
    p = projections[link.producer]
    for leaf in (f"{link.producer}/kernel", f"{link.producer}/bias"):
      flat[leaf] = network.project_outputs(flat[leaf], p)
    leaf = f"{link.consumer}/kernel"
    flat[leaf] = network.project_inputs(flat[leaf], p)
  return flax.traverse_util.unflatten_dict(flat, sep="/")


def bake(
  params: Mapping[str, Any],
  links: Sequence[Link],
  projections: Mapping[str, chex.Array],
) -> dict[str, Any]:
  """Returns `project_kernels`, after checking that every P^T P is the identity.

  Raises:
    ValueError: a projection is not finite or not orthonormal within 1e-5.
  """
  known = {link.producer for link in links}
  for name, p in projections.items():
    if name not in known:
      raise ValueError(f"{name}: no link begins there")
    p = np.asarray(p, np.float64)
    error = np.max(np.abs(p.T @ p - np.eye(p.shape[1])))
    if not error <= ORTHONORMALITY:  # NaN is not
      raise ValueError(f"{name}: P^T P differs from I by {error:.2g}")
  return _project_kernels(dict(params), tuple(links), dict(projections))


_project_kernels = jax.jit(project_kernels, static_argnums=1)


def compressed_layers(links: Sequence[Link]) -> frozenset[str]:
  """Returns the paths of all layers whose kernels a compression changes."""
  return frozenset(name for link in links for name in (link.producer, link.consumer))


def selection(indices: chex.Array, width: int) -> chex.Array:
  """Returns the P [c, r] that keeps channels: columns of the identity.

  Args:
    indices: [r] int channels.
    width: c.
  """
  return jnp.asarray(np.eye(width, dtype=np.float32)[:, np.asarray(indices)])
