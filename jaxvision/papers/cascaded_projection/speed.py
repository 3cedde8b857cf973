"""How fast the polar projection and its gradient are, beside the SVD inside."""

import functools

import jax
import jax.numpy as jnp

from jaxvision.ops import svd

SHAPE = (512, 256)


def rows(seconds) -> list[dict]:
  """Returns the benchmark's rows.

  Args:
    seconds: call -> its median time.
  """
  x, cotangent = jax.random.normal(jax.random.key(0), (2, *SHAPE))
  decompose = jax.jit(functools.partial(jnp.linalg.svd, full_matrices=False))

  @jax.jit
  def project_and_back(x, cotangent):
    projection, pull_back = jax.vjp(svd.polar_projection, x)
    return projection, *pull_back(cotangent)

  bare = seconds(lambda: decompose(x))
  both = seconds(lambda: project_and_back(x, cotangent))
  name = f"cascaded_projection/{SHAPE[0]} x {SHAPE[1]}"
  return [
    {"name": f"{name} thin SVD", "milliseconds": 1e3 * bare},
    {
      "name": f"{name} polar projection and gradient",
      "milliseconds": 1e3 * both,
      "times_one_svd": both / bare,
    },
  ]
