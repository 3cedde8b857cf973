"""Tests of the image and classification measures."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import skimage.metrics
from absl.testing import absltest, parameterized

from jaxvision.ops.metrics import confusion_matrix, psnr, ssim, ssim_map

A = jax.random.uniform(jax.random.key(0), (2, 12, 15, 3))
B = jnp.clip(A + 0.1 * jax.random.normal(jax.random.key(1), A.shape), 0, 1)


class MetricsTest(chex.TestCase):
  @parameterized.parameters((0.1, 1.0, 20.0), (25.5, 255.0, 20.0))
  def test_psnr_of_a_constant_error(self, error, value_range, decibels):
    a = jnp.zeros((3, 4, 5, 1))
    np.testing.assert_allclose(
      psnr(a, a + error, value_range=value_range), [decibels] * 3, rtol=1e-5
    )

  def test_psnr_of_equal_images_is_infinite(self):
    self.assertTrue(np.isposinf(psnr(A, A)).all())

  @chex.variants(with_jit=True, without_jit=True)
  def test_agree_with_scikit_image(self):
    pairs = list(zip(np.asarray(A), np.asarray(B), strict=True))
    np.testing.assert_allclose(
      self.variant(psnr)(A, B),
      [skimage.metrics.peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs],
      rtol=1e-5,
    )
    np.testing.assert_allclose(
      self.variant(ssim)(A, B),
      [
        skimage.metrics.structural_similarity(a, b, data_range=1, channel_axis=-1)
        for a, b in pairs
      ],
      rtol=1e-4,
    )

  def test_ssim_of_equal_images_is_one(self):
    np.testing.assert_allclose(ssim(A, A), [1.0, 1.0], rtol=1e-6)

  def test_ssim_is_the_mean_of_its_map(self):
    similarity = ssim_map(A, B)
    shape = (A.shape[0], A.shape[1] - 6, A.shape[2] - 6, A.shape[3])
    self.assertEqual(similarity.shape, shape)
    np.testing.assert_allclose(np.mean(similarity, (1, 2, 3)), ssim(A, B), rtol=1e-6)
    changed = B.at[:, 0, 0].set(1.0)  # reaches the first window only
    differs = np.any(np.asarray(ssim_map(A, changed) != similarity), axis=(0, 3))
    self.assertTrue(differs[0, 0])
    self.assertEqual(differs.sum(), 1)

  def test_confusion_matrix_counts(self):
    labels, predictions = jnp.array([0, 0, 1, 2, 2]), jnp.array([0, 1, 1, 0, 2])
    np.testing.assert_array_equal(
      confusion_matrix(labels, predictions, 3), [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    )

  def test_wrong_arguments_are_refused(self):
    with self.assertRaises(AssertionError):
      psnr(A, B[:1])
    with self.assertRaisesRegex(ValueError, "window"):
      ssim(A[:, :5], B[:, :5])


if __name__ == "__main__":
  absltest.main()
