"""Tests of the orthonormal cosine transforms."""

import chex
import jax
import numpy as np
import scipy.fft
from absl.testing import absltest

from jaxvision.ops import cosine


class CosineTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_agrees_with_scipy(self):
    x = np.random.default_rng(0).normal(size=(2, 7, 10, 3)).astype(np.float32)
    expected = scipy.fft.dctn(x, axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(self.variant(cosine.dct)(x), expected, atol=1e-5)

  def test_inverse(self):
    x = jax.random.normal(jax.random.key(0), (5, 9, 2))
    for axes in ((-3, -2), (0,), (2, 1)):
      np.testing.assert_allclose(cosine.idct(cosine.dct(x, axes), axes), x, atol=1e-5)


if __name__ == "__main__":
  absltest.main()
