"""Tests of short-time Fourier transforms, against scipy and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from scipy import signal

from jaxvision.ops import spectrogram

FORM = {"n_fft": 64, "hop": 20, "window": 50}
RNG = np.random.default_rng(0)


def scipys(x, n_fft, hop, window, mode="reflect"):
  """The same spectra by scipy, which counts frames from the padded start."""
  padded = np.pad(x, n_fft // 2, mode=mode)
  low = (n_fft - window) // 2
  weights = np.pad(signal.get_window("hann", window), (low, n_fft - window - low))
  _, _, found = signal.stft(
    padded,
    window=weights,
    nperseg=n_fft,
    noverlap=n_fft - hop,
    boundary=None,
    padded=False,
    scaling="spectrum",
  )
  return found * weights.sum()


class SpectrogramTest(parameterized.TestCase):
  @parameterized.parameters(("reflect", "reflect"), ("zeros", "constant"))
  def test_spectra_are_scipys(self, padding, mode):
    x = RNG.standard_normal((2, 213))
    found = jax.jit(lambda x: spectrogram.stft(x, padding=padding, **FORM))(
      x.astype(np.float32)
    )
    expected = np.stack([scipys(row, 64, 20, 50, mode) for row in x])
    self.assertEqual(found.shape, (2, 33, 1 + 213 // 20))
    np.testing.assert_allclose(found, expected, atol=2e-5)

  def test_a_segment_of_the_default_has_64_frames(self):
    found = jax.eval_shape(spectrogram.stft, jnp.zeros(10080))
    self.assertEqual(found.shape, (257, 64))

  def test_the_window_is_periodic_and_centred(self):
    window = spectrogram.hann(8, 12)
    np.testing.assert_allclose(window[2:10], signal.get_window("hann", 8), atol=1e-12)
    self.assertEqual(window[[0, 1, 10, 11]].tolist(), [0, 0, 0, 0])
    with self.assertRaisesRegex(ValueError, "13 samples exceeds 12"):
      spectrogram.hann(13, 12)

  def test_the_inverse_gives_the_signal_back(self):
    x = RNG.standard_normal((3, 200)).astype(np.float32)
    spectra = spectrogram.stft(x, **FORM)
    inverse = jax.jit(
      lambda s: spectrogram.istft(s, hop=20, window=50, n_fft=64, length=205)
    )
    found = inverse(spectra)
    np.testing.assert_allclose(found[:, :200], x, atol=1e-5)
    self.assertEqual(spectrogram.istft(spectra, hop=20, window=50).shape, (3, 200))

  def test_frequencies_that_are_missing_are_zero(self):
    # 440 and 1330 Hz, without what is left at the Nyquist frequency.
    time = np.arange(8000) / 16000
    x = np.float32(np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 1330 * time))
    spectra = spectrogram.stft(x)[:-1]

    def error(n_fft):
      found = spectrogram.istft(spectra, n_fft=n_fft)
      inner = slice(400, 7600)
      return np.sqrt(np.mean((found - x[: len(found)])[inner] ** 2) / np.mean(x**2))

    self.assertLess(error(512), 1e-4)
    self.assertGreater(error(None), 1e-2)  # 510 samples shift every frequency
    with self.assertRaisesRegex(ValueError, "256 frequencies exceed"):
      spectrogram.istft(spectra, n_fft=508)

  def test_overlap_add_is_the_transpose_of_frames(self):
    x = RNG.standard_normal(45).astype(np.float32)
    pieces = RNG.standard_normal((6, 17)).astype(np.float32)
    cut = spectrogram.frames(x, 17, 5)
    for number, row in enumerate(cut):
      np.testing.assert_array_equal(row, x[5 * number : 5 * number + 17])
    added = spectrogram.overlap_add(pieces, 5)
    self.assertEqual(added.shape, (42,))
    np.testing.assert_allclose(np.vdot(cut, pieces), np.vdot(x[:42], added), rtol=1e-4)
    with self.assertRaisesRegex(ValueError, "holds no frame"):
      spectrogram.frames(x, 46, 5)

  def test_short_signals_and_unknown_paddings_are_refused(self):
    with self.assertRaisesRegex(ValueError, "32 samples cannot be reflected"):
      spectrogram.stft(jnp.zeros(32), **FORM)
    with self.assertRaisesRegex(ValueError, "'edge' is none of reflect, zeros"):
      spectrogram.stft(jnp.zeros(99), padding="edge", **FORM)

  @parameterized.parameters(64, 63)
  def test_envelopes_are_scipys(self, length):
    x = RNG.standard_normal((2, length))
    found = spectrogram.envelope(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, np.abs(signal.hilbert(x)), atol=1e-5)

  def test_gradients_are_those_of_finite_differences(self):
    x = RNG.standard_normal(100)
    with jax.enable_x64(True):

      def energy(x):
        spectra = spectrogram.stft(x, **FORM)
        halved = spectrogram.istft(spectra * jnp.abs(spectra), hop=20, window=50)
        return jnp.sum(jnp.square(halved)) + jnp.sum(spectrogram.envelope(x))

      run = jax.jit(jax.value_and_grad(energy))
      direction = RNG.standard_normal(100)
      step = 1e-5 * direction
      numeric = (run(x + step)[0] - run(x - step)[0]) / 2e-5
      np.testing.assert_allclose(run(x)[1] @ direction, numeric, rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
