"""Tests of resizing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops.resize import COORDINATES, resize

IMAGES = jax.random.uniform(jax.random.key(0), (2, 6, 8, 3))


class ResizeTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_halving_at_asymmetric_coordinates_is_decimation(self):
    half = self.variant(lambda x: resize(x, (3, 4), coordinates="asymmetric"))(IMAGES)
    np.testing.assert_array_equal(half, IMAGES[:, ::2, ::2])

  def test_doubling_at_asymmetric_coordinates_averages_what_follows(self):
    row = jnp.array([1.0, 3.0, 7.0]).reshape(1, 1, 3, 1)
    double = resize(row, (1, 6), coordinates="asymmetric")
    np.testing.assert_allclose(double.ravel(), [1, 2, 3, 5, 7, 7])

  def test_halving_at_half_pixels_is_the_mean(self):
    expected = IMAGES.reshape(2, 3, 2, 4, 2, 3).mean((2, 4))
    np.testing.assert_allclose(resize(IMAGES, (3, 4)), expected, atol=1e-6)

  @parameterized.parameters(((9, 5),), ((12, 16),), ((6, 8),), ((13, 3),))
  def test_half_pixels_agree_with_jax_image(self, shape):
    expected = jax.image.resize(IMAGES, (2, *shape, 3), "bilinear", antialias=False)
    np.testing.assert_allclose(resize(IMAGES, shape), expected, atol=1e-5)

  def test_aligned_corners_keep_the_corners(self):
    large = resize(IMAGES, (11, 15), coordinates="align_corners")
    corners = np.ix_([0, 1], [0, -1], [0, -1], [0, 1, 2])
    np.testing.assert_allclose(large[corners], IMAGES[corners], atol=1e-6)
    np.testing.assert_allclose(large[:, ::2, ::2], IMAGES, atol=1e-6)

  @parameterized.product(
    coordinates=sorted(COORDINATES), method=["bilinear", "nearest"]
  )
  def test_constants_stay(self, coordinates, method):
    images = jnp.full((1, 5, 4, 2), 0.7)
    for shape in [(3, 7), (1, 1), (10, 8)]:
      resized = resize(images, shape, method=method, coordinates=coordinates)
      np.testing.assert_allclose(resized, np.full((1, *shape, 2), 0.7), rtol=1e-6)

  def test_nearest_repeats_pixels(self):
    expected = jnp.repeat(jnp.repeat(IMAGES, 2, axis=1), 3, axis=2)
    for coordinates in ("half_pixel", "asymmetric"):
      np.testing.assert_array_equal(
        resize(IMAGES, (12, 24), method="nearest", coordinates=coordinates), expected
      )

  def test_gradient_agrees_with_finite_differences(self):
    jax.test_util.check_grads(lambda x: resize(x, (4, 9)), (IMAGES,), 1, ["rev"])

  def test_wrong_names_are_refused(self):
    with self.assertRaises(KeyError):
      resize(IMAGES, (3, 4), coordinates="half")
    with self.assertRaisesRegex(ValueError, "bicubic"):
      resize(IMAGES, (3, 4), method="bicubic")

  def test_area_averages_by_the_part_of_each_pixel(self):
    image = jnp.array([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1)
    halves = resize(image, (1, 2), method="area")
    # The middle pixel belongs to both.
    np.testing.assert_allclose(halves[0, 0, :, 0], [2 / 1.5, 7 / 1.5], rtol=1e-6)
    image = jax.random.uniform(jax.random.key(0), (2, 6, 8, 3))
    blocks = np.reshape(image, (2, 3, 2, 2, 4, 3)).mean(axis=(2, 4))
    np.testing.assert_allclose(resize(image, (3, 2), method="area"), blocks, rtol=1e-5)
    same = resize(image, (6, 8), method="area")
    np.testing.assert_allclose(same, image, rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
