"""Test of `jit_once`: the same numbers as `jax.jit`."""

import chex
import jax
from absl.testing import absltest

from jaxvision import train


class JitOnceTest(absltest.TestCase):
  def test_it_computes_what_jit_computes(self):
    def draw(key, shape):
      return jax.random.normal(key, shape)

    key = jax.random.key(0)
    ours = train.jit_once(draw, static_argnames="shape")(key, shape=(3, 2))
    chex.assert_trees_all_close(ours, jax.random.normal(key, (3, 2)), rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
