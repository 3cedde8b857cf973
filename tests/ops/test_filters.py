"""Tests of the image filters."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from absl.testing import absltest, parameterized

from jaxvision.ops.filters import filter2d, gaussian_kernel, median_filter

IMAGES = jax.random.uniform(jax.random.key(0), (2, 6, 7, 3))
KERNEL = np.random.default_rng(0).normal(size=(3, 5))


class FilterTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.parameters(
    ("reflect", "mirror"),
    ("symmetric", "reflect"),
    ("replicate", "nearest"),
    ("zeros", "constant"),
  )
  def test_agrees_with_scipy(self, mode, scipys):
    filtered = self.variant(lambda x: filter2d(x, KERNEL, padding_mode=mode))(IMAGES)
    expected = scipy.ndimage.correlate(IMAGES, KERNEL[None, :, :, None], mode=scipys)
    np.testing.assert_allclose(filtered, expected, atol=1e-5)

  def test_without_padding_the_border_is_left_out(self):
    inner = filter2d(IMAGES, KERNEL, padding_mode=None)
    np.testing.assert_allclose(
      inner, filter2d(IMAGES, KERNEL)[:, 1:-1, 2:-2], atol=1e-6
    )

  def test_gradient_is_the_adjoint(self):
    cotangent = jax.random.normal(jax.random.key(1), IMAGES.shape)

    @jax.jit
    def both(x, cotangent):
      filtered, pull = jax.vjp(lambda x: filter2d(x, KERNEL), x)
      return filtered, *pull(cotangent)

    filtered, pulled = both(IMAGES, cotangent)
    np.testing.assert_allclose(
      np.vdot(filtered, cotangent), np.vdot(IMAGES, pulled), rtol=1e-4
    )

  def test_gaussian_has_unit_sum_and_the_width_asked_for(self):
    kernel = gaussian_kernel(21, 1.5)
    offsets = np.arange(21) - 10
    self.assertAlmostEqual(kernel.sum(), 1.0)
    self.assertAlmostEqual((kernel.sum(0) * offsets**2).sum(), 1.5**2, places=5)

  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.parameters(1, 3, 5)
  def test_median_agrees_with_scipy(self, size):
    filtered = self.variant(lambda x: median_filter(x, size))(IMAGES)
    expected = scipy.ndimage.median_filter(IMAGES, (1, size, size, 1), mode="mirror")
    np.testing.assert_allclose(filtered, expected)

  def test_median_sends_its_gradient_to_the_median(self):
    image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    gradient = jax.grad(lambda x: median_filter(x, padding_mode="zeros")[0, 1, 1, 0])
    np.testing.assert_array_equal(gradient(image)[0, :, :, 0], np.diag([0, 1, 0]))

  def test_even_kernels_are_refused(self):
    with self.assertRaisesRegex(ValueError, "odd"):
      filter2d(IMAGES, np.ones((2, 3)))
    with self.assertRaisesRegex(ValueError, "odd"):
      median_filter(IMAGES, 4)


if __name__ == "__main__":
  absltest.main()
