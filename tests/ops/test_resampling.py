"""Blurring, doubling and halving held to their definitions and to each other."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import convolution, resampling


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


class ResamplingTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_blur_is_the_binomial_window_among_zeros(self):
    x = np.zeros((1, 4, 5, 1), np.float32)
    x[0, 1, 2] = 16.0
    x[0, 3, 0] = 16.0
    expected = np.array(
      [[0, 1, 2, 1, 0], [0, 2, 4, 2, 0], [2, 2, 2, 1, 0], [4, 2, 0, 0, 0]], np.float32
    )
    np.testing.assert_allclose(
      self.variant(resampling.blur)(x)[0, :, :, 0], expected, atol=1e-5
    )

  def test_doubling_and_halving(self):
    x = jnp.arange(6.0).reshape(1, 2, 3, 1)
    doubled = resampling.upsample_nearest(x)
    np.testing.assert_array_equal(
      doubled[0, :, :, 0], np.kron(x[0, :, :, 0], np.ones((2, 2)))
    )
    np.testing.assert_array_equal(resampling.downsample_box(doubled), x)
    squares = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(
      resampling.downsample_box(squares)[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]]
    )

  def test_gradients_are_the_transposes_that_the_authors_state(self):
    x, y = normal(0, 1, 4, 6, 2), normal(1, 1, 8, 12, 2)
    _, blurred = jax.vjp(resampling.blur, x)
    np.testing.assert_allclose(blurred(x)[0], resampling.blur(x), atol=1e-6)
    _, pull_back = jax.vjp(resampling.upsample_nearest, x)
    np.testing.assert_allclose(
      pull_back(y)[0], 4 * resampling.downsample_box(y), atol=1e-5
    )
    _, pull_back = jax.vjp(resampling.downsample_box, y)
    np.testing.assert_allclose(
      pull_back(x)[0], resampling.upsample_nearest(x) / 4, atol=1e-6
    )

  @hypothesis.settings(max_examples=3, deadline=None, derandomize=True)
  @hypothesis.given(
    st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3, 5]), st.integers(0, 99)
  )
  def test_fused_layers_equal_their_two_steps(self, rows, columns, window, seed):
    kernel = normal(seed, window, window, 2, 3)
    x = normal(seed + 1, 2, rows, columns, 2)
    np.testing.assert_allclose(
      resampling.upsample_conv(x, kernel),
      convolution.conv(resampling.upsample_nearest(x), kernel),
      atol=1e-4,
    )
    x = normal(seed + 1, 2, 2 * rows, 2 * columns, 2)
    np.testing.assert_allclose(
      resampling.downsample_conv(x, kernel),
      resampling.downsample_box(convolution.conv(x, kernel)),
      atol=1e-4,
    )

  def test_second_derivatives(self):
    def slopes(kernel):  # those of the image, as the penalties of gradients need them
      def total(x):
        y = resampling.blur(resampling.upsample_conv(x, kernel))
        return jnp.sum(jnp.tanh(resampling.downsample_conv(jnp.tanh(y), kernel)))

      return jnp.sum(jax.grad(total)(x) ** 2)

    with jax.enable_x64(True):
      rng = np.random.default_rng(0)
      x = jnp.asarray(rng.normal(size=(1, 2, 2, 1)))
      kernel, direction = jnp.asarray(rng.normal(size=(2, 3, 3, 1, 1)))
      along = jax.jit(lambda t: slopes(kernel + t * direction))
      ahead, behind = along(1e-5), along(-1e-5)
      found = jnp.vdot(jax.jit(jax.grad(slopes))(kernel), direction)
      np.testing.assert_allclose(found, (ahead - behind) / 2e-5, rtol=1e-6)

  @parameterized.parameters(
    (lambda: resampling.downsample_box(jnp.zeros((1, 3, 4, 1))), "3 x 4"),
    (lambda: resampling.blur(jnp.zeros((1, 3, 4, 1)), (1, 1)), "2 taps"),
    (
      lambda: resampling.downsample_conv(
        jnp.zeros((1, 4, 3, 1)), jnp.ones((3, 3, 1, 1))
      ),
      "4 x 3",
    ),
    (
      lambda: resampling.upsample_conv(jnp.zeros((1, 4, 4, 1)), jnp.ones((2, 2, 1, 1))),
      "2 x 2",
    ),
  )
  def test_wrong_sizes_are_named(self, call, message):
    with self.assertRaisesRegex(ValueError, message):
      call()


if __name__ == "__main__":
  absltest.main()
