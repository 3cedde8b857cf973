"""Tests of the HSV conversions."""

import colorsys

import chex
import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops.hsv import hsv_to_rgb, rgb_to_hsv

to_hsv, to_rgb = jax.jit(rgb_to_hsv), jax.jit(hsv_to_rgb)
unit_colors = hypothesis.extra.numpy.arrays(
  np.float32, (20, 3), elements=st.floats(0, 1, width=32, allow_subnormal=False)
)


class HsvTest(chex.TestCase):
  @parameterized.parameters(
    ((1, 0, 0), (0, 1, 1)),
    ((0, 1, 0), (1 / 3, 1, 1)),
    ((0, 0, 1), (2 / 3, 1, 1)),
    ((0.5, 0.25, 0.5), (5 / 6, 0.5, 0.5)),
    ((0.3, 0.3, 0.3), (0, 0, 0.3)),
    ((0, 0, 0), (0, 0, 0)),
  )
  def test_known_colors(self, rgb, hsv):
    np.testing.assert_allclose(to_hsv(np.array(rgb, np.float32)), hsv, atol=1e-6)
    np.testing.assert_allclose(to_rgb(np.array(hsv, np.float32)), rgb, atol=1e-6)

  @chex.variants(with_jit=True, without_jit=True)
  def test_agrees_with_the_standard_library(self):
    rgb = np.random.default_rng(0).uniform(size=(50, 3)).astype(np.float32)
    expected = [colorsys.rgb_to_hsv(*color) for color in rgb.tolist()]
    np.testing.assert_allclose(self.variant(rgb_to_hsv)(rgb), expected, atol=1e-5)

  @hypothesis.given(unit_colors)
  @hypothesis.settings(max_examples=30, deadline=None)
  def test_there_and_back(self, rgb):
    np.testing.assert_allclose(to_rgb(to_hsv(rgb)), rgb, atol=2e-6)

  def test_hue_beyond_the_circle_is_red(self):
    hsv = jnp.array([[1.2, 1.0, 0.5], [-0.2, 1.0, 0.5]])
    np.testing.assert_allclose(to_rgb(hsv), [[0.5, 0, 0]] * 2, atol=1e-6)

  def test_gradients_agree_with_finite_differences(self):
    rgb = jnp.array([[0.9, 0.2, 0.4], [0.1, 0.8, 0.5], [0.3, 0.2, 0.7]])
    with jax.enable_x64(True):
      for function in (to_hsv, to_rgb):
        jax.test_util.check_grads(function, (np.asarray(rgb, float),), 1, ["rev"])

  def test_gradients_at_grey_and_black_are_finite(self):
    degenerate = jnp.array([[0.0, 0, 0], [0.5, 0.5, 0.5], [1, 1, 1], [0.5, 0.5, 0.2]])
    cotangent = jnp.array([1.0, 2.0, 3.0])
    total = jax.grad(lambda rgb: jnp.sum(rgb_to_hsv(rgb) * cotangent))
    gradient = jax.jit(total)(degenerate)
    chex.assert_tree_all_finite(gradient)
    # Grey keeps the gradient of its value.
    np.testing.assert_allclose(jnp.sum(gradient[:3], axis=-1), [3, 3, 3], rtol=1e-6)

  def test_wrong_arguments_are_refused(self):
    with self.assertRaises(AssertionError):
      rgb_to_hsv(jnp.zeros((4, 4)))
    with self.assertRaises(AssertionError):
      hsv_to_rgb(jnp.zeros((4, 3), jnp.int32))


if __name__ == "__main__":
  absltest.main()
