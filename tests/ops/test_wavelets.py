"""Tests of the wavelet transform."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import wavelets


def reflected(signal, low, high):
  """Reflection by walking to and fro, the definition."""
  period = max(1, 2 * (len(signal) - 1))
  index = [i % period for i in range(-low, len(signal) + high)]
  return np.array([signal[min(i, period - i)] for i in index])


def downsample(signal, taps, shift):
  """Filters and keeps every second sample, as the specification words it."""
  taps = np.asarray(taps)
  padded = reflected(signal, (taps.size - 1) // 2, taps.size // 2)[shift:]
  return np.array(
    [taps @ padded[i : i + taps.size] for i in range(0, padded.size - taps.size + 1, 2)]
  )


LEGALL_LOW = np.array([-0.125, 0.25, 0.75, 0.25, -0.125]) * np.sqrt(2)
LEGALL_HIGH = np.array([-0.5, 1.0, -0.5]) / np.sqrt(2)


class WaveletsTest(chex.TestCase):
  def test_one_level_is_filtering_and_decimation(self):
    image = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    bands, residual = wavelets.decompose(jnp.array(image)[..., None], 1, "legall53")

    def both(rows, columns):
      filtered = np.stack([downsample(column, *rows) for column in image.T], 1)
      return np.stack([downsample(row, *columns) for row in filtered])

    low, high = (LEGALL_LOW, 0), (LEGALL_HIGH, 1)
    expected = both(high, high), both(low, high), both(high, low)
    for band, other in zip(bands[0], expected, strict=True):
      np.testing.assert_allclose(band[..., 0], other, atol=1e-5)
    np.testing.assert_allclose(residual[..., 0], both(low, low), atol=1e-5)

  @parameterized.product(
    size=((1, 5), (2, 3), (7, 16), (13, 22)), wavelet=wavelets.WAVELETS
  )
  def test_reconstruction_is_exact(self, size, wavelet):
    images = np.random.default_rng(1).uniform(-1, 1, (2, *size, 2)).astype(np.float32)

    @jax.jit
    def there_and_back(images):
      pyramid = wavelets.decompose(images, wavelets.max_levels(*size), wavelet)
      return wavelets.reconstruct(pyramid, wavelet)

    np.testing.assert_allclose(there_and_back(images), images, atol=1e-5)

  @hypothesis.given(
    size=st.integers(2, 300), wavelet=st.sampled_from(wavelets.WAVELETS)
  )
  @hypothesis.settings(max_examples=40, deadline=None)
  def test_synthesis_inverts_analysis_at_every_size(self, size, wavelet):
    product = wavelets._synthesis(size, wavelet) @ wavelets._analysis(size, wavelet)
    np.testing.assert_allclose(product, np.eye(size), atol=1e-9)

  @parameterized.parameters((16, 16, 4), (13, 22, 4), (1, 9, 0), (2, 3, 1), (83, 71, 7))
  def test_max_levels(self, height, width, levels):
    self.assertEqual(wavelets.max_levels(height, width), levels)

  @chex.variants(with_jit=True, without_jit=True)
  def test_smooth_images_have_no_details(self):
    y, x = np.mgrid[:32, :32].astype(np.float32)
    image = (0.3 * x - 0.1 * y + 2)[None, :, :, None]
    pyramid = self.variant(lambda image: wavelets.decompose(image, 2))(image)
    # Reflection bends a ramp at the border, so only the interior is free of details.
    for band in pyramid.bands[0]:
      np.testing.assert_allclose(band[:, 3:-3, 3:-3], 0, atol=1e-4)

  def test_volume_is_kept_nearly(self):
    basis = jnp.eye(64).reshape(64, 8, 8, 1)
    flat = wavelets.flatten(wavelets.decompose(basis, 3)).reshape(64, 64)
    self.assertLess(abs(np.linalg.slogdet(np.asarray(flat))[1]), 0.5)

  def test_rescale_and_flatten(self):
    image = jax.random.normal(jax.random.key(0), (1, 12, 8, 1))
    pyramid = wavelets.decompose(image, 2)
    scaled = wavelets.rescale(pyramid, 0.5)
    np.testing.assert_allclose(scaled.residual, pyramid.residual / 4, rtol=1e-6)
    np.testing.assert_allclose(scaled.bands[1][2], pyramid.bands[1][2] / 2, rtol=1e-6)
    flat = wavelets.flatten(pyramid)
    np.testing.assert_array_equal(flat[:, :3, :2], pyramid.residual)
    np.testing.assert_array_equal(flat[:, 6:, 4:], pyramid.bands[0][0])
    np.testing.assert_array_equal(flat[:, :6, 4:], pyramid.bands[0][1])
    np.testing.assert_array_equal(flat[:, 6:, :4], pyramid.bands[0][2])

  def test_visualize_is_centred_on_grey(self):
    @functools.partial(jax.jit, static_argnums=1)
    def show(image, levels):
      return wavelets.visualize(wavelets.decompose(image, levels))

    picture = show(jax.random.normal(jax.random.key(0), (16, 16, 3)), 2)
    self.assertEqual(picture.shape, (16, 16, 3))
    self.assertLess(abs(float(jnp.mean(picture[8:, 8:])) - 0.5), 0.1)
    self.assertLess(float(jnp.mean(jnp.abs(picture[8:, 8:] - 0.5) > 0.5)), 0.02)
    blank = show(jnp.zeros((4, 4, 1)), 1)
    chex.assert_tree_all_finite(blank)

  def test_wrong_arguments_are_refused(self):
    image = jnp.zeros((1, 8, 8, 1))
    with self.assertRaisesRegex(ValueError, "0 to 3 levels, not 4"):
      wavelets.decompose(image, 4)
    with self.assertRaisesRegex(ValueError, "'haar' is none of cdf97, legall53"):
      wavelets.decompose(image, 1, "haar")


if __name__ == "__main__":
  absltest.main()
