"""Pooling held to its definition and to the gradient that XLA defines."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from flax import linen as nn
from hypothesis import strategies as st

from jaxvision.ops.pooling import average_pool, max_pool


def with_gradient(function, x):
  y, pull = jax.vjp(function, x)
  return y, pull(jnp.arange(1.0, y.size + 1).reshape(y.shape))[0]


class MaxPoolTest(chex.TestCase):
  @hypothesis.settings(max_examples=6, deadline=None, derandomize=True)
  @hypothesis.given(
    st.tuples(st.integers(4, 7), st.integers(4, 7)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from(["SAME", "VALID", ((1, 0), (0, 1))]),
    st.integers(0, 99),
  )
  def test_value_and_gradient_are_those_of_xla(
    self, sizes, window, strides, padding, seed
  ):
    # Few levels, so that many windows hold their largest element twice.
    levels = np.random.default_rng(seed).integers(3, size=(2, *sizes, 2))
    x = jnp.asarray(levels, jnp.float32)

    @jax.jit
    def both(x):
      ours = functools.partial(max_pool, window=window, strides=strides)
      xla = functools.partial(nn.max_pool, window_shape=window, strides=strides)
      return [
        with_gradient(functools.partial(f, padding=padding), x) for f in (ours, xla)
      ]

    chex.assert_trees_all_equal(*both(x))

  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.parameters(1, 3)
  def test_any_number_of_axes(self, axes):
    x = jnp.arange(2 * 4**axes * 3, dtype=jnp.float32).reshape(2, *(4,) * axes, 3)
    pooled = self.variant(max_pool)(x)
    last = x[(slice(None), *(slice(1, None, 2),) * axes)]
    np.testing.assert_array_equal(pooled, last)

  def test_second_derivatives(self):
    with jax.enable_x64(True):
      x = jnp.asarray(np.random.default_rng(0).permutation(25.0 * np.arange(32)) / 800)
      x = x.reshape(1, 4, 4, 2)
      jax.test_util.check_grads(
        jax.jit(lambda x: jnp.sum(jnp.sin(max_pool(x, 3, strides=1)))), (x,), order=2
      )

  def test_nan_is_kept(self):
    x = jnp.zeros((1, 4, 4, 1)).at[0, 0, 1, 0].set(jnp.nan).at[0, 2, 2, 0].set(jnp.nan)
    np.testing.assert_array_equal(
      jnp.isnan(max_pool(x))[0, :, :, 0], [[True, False], [False, True]]
    )

  def test_wrong_arguments_are_told(self):
    x = jnp.zeros((1, 4, 4, 1))
    with self.assertRaisesRegex(ValueError, "larger than the padded input"):
      max_pool(x, 5)
    with self.assertRaisesRegex(ValueError, "window"):
      max_pool(x, (2, 2, 2))
    with self.assertRaises(AssertionError):
      max_pool(x.astype(jnp.int32))


class AveragePoolTest(chex.TestCase):
  @parameterized.parameters(
    ((5, 6), (3, 3), (2, 2), ((1, 1), (1, 1)), False),
    ((4, 7), (2, 3), (1, 2), "SAME", True),
    ((6, 4), (2, 3), (3, 1), "VALID", False),
  )
  def test_value_and_gradient_are_those_of_xla(
    self, sizes, window, strides, padding, count
  ):
    x = jax.random.normal(jax.random.key(sum(sizes)), (2, *sizes, 2))

    @jax.jit
    def both(x):
      options = {"strides": strides, "padding": padding}
      ours = functools.partial(average_pool, window=window, count_padding=count)
      xla = functools.partial(nn.avg_pool, window_shape=window, count_include_pad=count)
      return [with_gradient(functools.partial(f, **options), x) for f in (ours, xla)]

    chex.assert_trees_all_close(*both(x), rtol=1e-5, atol=1e-5)

  @chex.variants(with_jit=True, without_jit=True)
  def test_padding_is_left_out_of_the_count(self):
    x = jnp.ones((1, 5, 6, 2))
    pool = self.variant(lambda x: average_pool(x, 3, strides=2, padding=1))
    np.testing.assert_allclose(pool(x), np.ones((1, 3, 3, 2)), rtol=1e-6)

  def test_wrong_arguments_are_told(self):
    x = jnp.zeros((1, 4, 4, 1))
    with self.assertRaisesRegex(ValueError, "larger than the padded input"):
      average_pool(x, 5)
    with self.assertRaises(AssertionError):
      average_pool(x.astype(jnp.int32))


if __name__ == "__main__":
  absltest.main()
