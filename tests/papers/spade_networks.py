"""Variables and shapes of spade's networks, without compiling them."""

import math

import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(0)


def count(tree):
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def params_of(network, *shapes):
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  return jax.eval_shape(network.init, KEY, *inputs)["params"]


def filled(network, *inputs):
  """Returns random variables of a network, which takes no compilation."""
  shapes = jax.eval_shape(network.init, KEY, *inputs)
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes
  )
