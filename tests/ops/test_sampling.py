"""Tests of bilinear sampling."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops.sampling import bilinear

compiled = jax.jit(bilinear, static_argnames="outside")
IMAGES = jax.random.uniform(jax.random.key(0), (2, 5, 7, 3))
# Sides are drawn from few: each shape is compiled anew.
SIZES = ((1, 1), (1, 6), (5, 1), (4, 6))


def grid(height, width):
  axes = jnp.meshgrid(jnp.arange(width), jnp.arange(height))
  return jnp.stack(axes, axis=-1).astype(jnp.float32)


class SamplingTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_centres_of_pixels_give_the_image(self):
    points = jnp.broadcast_to(grid(5, 7), (2, 5, 7, 2))
    np.testing.assert_array_equal(self.variant(bilinear)(IMAGES, points), IMAGES)

  @settings(max_examples=30, deadline=None)
  @given(st.sampled_from(SIZES), st.integers(0, 2**20))
  def test_agrees_with_scipy_inside_and_beyond_the_border(self, size, seed):
    height, width = size
    rng = np.random.default_rng(seed)
    image = rng.random((height, width, 2), np.float32)
    points = rng.uniform(-3, 9, (4, 5, 2)).astype(np.float32)
    expected = [
      scipy.ndimage.map_coordinates(
        image[..., channel],
        np.moveaxis(points[..., ::-1], -1, 0),
        order=1,
        mode="nearest",
      )
      for channel in range(2)
    ]
    ours = compiled(image, points)
    np.testing.assert_allclose(ours, np.stack(expected, axis=-1), atol=1e-5)

  @parameterized.parameters((((),)), (((2, 3),)))
  def test_leading_axes_are_samples_of_their_own(self, leading):
    key = jax.random.key(1)
    images = jax.random.uniform(key, (*leading, 4, 5, 2))
    points = jax.random.uniform(key, (*leading, 6, 2), maxval=4.0)
    ours = compiled(images, points)
    self.assertEqual(ours.shape, (*leading, 6, 2))
    for index in np.ndindex(*leading):
      one = compiled(images[index], points[index])
      np.testing.assert_allclose(ours[index], one, rtol=1e-6)

  def test_gradients_agree_with_finite_differences(self):
    with jax.enable_x64(True):
      images = jnp.asarray(IMAGES, jnp.float64)
      points = jax.random.uniform(
        jax.random.key(2), (2, 9, 2), jnp.float64, minval=-2.0, maxval=7.0
      )
      jax.test_util.check_grads(compiled, (images, points), 1, eps=1e-7)

  def test_coordinate_that_left_the_image_has_no_gradient(self):
    point = jnp.array([-3.0, 1.5])
    gradient = jax.jit(jax.grad(lambda p: bilinear(IMAGES[0], p).sum()))(point)
    self.assertEqual(gradient[0], 0.0)
    self.assertNotEqual(gradient[1], 0.0)

  def test_points_that_are_not_finite_read_nothing_out_of_range(self):
    points = jnp.array([[jnp.nan, 1.0], [jnp.inf, 2.0], [2.0, -jnp.inf]])
    ours = bilinear(IMAGES[0], points)
    self.assertTrue(jnp.all(jnp.isnan(ours[0])))
    np.testing.assert_allclose(ours[1], IMAGES[0, 2, 6], rtol=1e-6)
    np.testing.assert_allclose(ours[2], IMAGES[0, 0, 2], rtol=1e-6)

  def test_wrong_shapes_are_refused(self):
    with self.assertRaises(AssertionError):
      bilinear(IMAGES, jnp.zeros((2, 4, 3)))
    with self.assertRaises(AssertionError):
      bilinear(IMAGES, jnp.zeros((3, 4, 2)))

  def test_zero_border_fades_within_a_pixel(self):
    image = jnp.ones((1, 4, 6, 1))
    x = jnp.array([-1.5, -1.0, -0.75, -0.25, 0.0, 5.0, 5.25, 5.75, 6.0, 7.0])
    points = jnp.stack([x, jnp.full_like(x, 2.0)], axis=-1)[None]
    expected = [0, 0, 0.25, 0.75, 1, 1, 0.75, 0.25, 0, 0]
    samples = compiled(image, points, outside="zero")
    np.testing.assert_allclose(samples[0, :, 0], expected, atol=1e-6)
    samples = compiled(jnp.swapaxes(image, 1, 2), points[..., ::-1], outside="zero")
    np.testing.assert_allclose(samples[0, :, 0], expected, atol=1e-6)

  @settings(max_examples=20, deadline=None)
  @given(st.sampled_from(SIZES), st.integers(0, 2**20))
  def test_zero_border_is_an_image_with_a_rim(self, size, seed):
    height, width = size
    rng = np.random.default_rng(seed)
    image = rng.random((1, height, width, 2), np.float32)
    points = rng.uniform(-4, 9, (1, 40, 2)).astype(np.float32)
    rim = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    np.testing.assert_allclose(
      compiled(image, points, outside="zero"), compiled(rim, points + 1), atol=1e-6
    )

  def test_zero_border_gives_nothing_for_what_is_not_finite(self):
    points = jnp.array([[[jnp.nan, 1.0], [jnp.inf, 1.0], [1.0, -jnp.inf]]] * 2)

    def total(images, points):
      return jnp.sum(bilinear(images, points, outside="zero"))

    value, gradients = jax.jit(jax.value_and_grad(total, (0, 1)))(IMAGES, points)
    np.testing.assert_array_equal(value, 0.0)
    for gradient in gradients:
      np.testing.assert_array_equal(gradient, 0.0)

  def test_zero_border_gradients_agree_with_finite_differences(self):
    points = jnp.array([[[-0.6, 1.3], [2.2, 4.4], [6.5, -0.3]]] * 2)
    jax.test_util.check_grads(
      lambda images, points: compiled(images, points, outside="zero"),
      (IMAGES, points),
      order=1,
      modes=["rev"],
      eps=1e-2,
      rtol=1e-2,
      atol=1e-2,
    )

  def test_unknown_border_is_refused(self):
    with self.assertRaisesRegex(ValueError, "outside"):
      bilinear(IMAGES, jnp.zeros((2, 1, 2)), outside="wrap")


if __name__ == "__main__":
  absltest.main()
