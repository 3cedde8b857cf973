"""Tests of libjpeg's arithmetic against Pillow, bit for bit."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxvision.ops.jpeg import jpeg


def pillow(image, quality, subsampling):
  stream = io.BytesIO()
  Image.fromarray(image).save(stream, "jpeg", quality=quality, subsampling=subsampling)
  return np.asarray(Image.open(stream))


def ours(images, quality, subsampling):
  return jpeg(
    images, quality, rounding="round", subsampling=subsampling, arithmetic="libjpeg"
  )


def smooth(rng, height, width):
  """A smooth colourful image: what photographs are like at the scale of a block."""
  coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
  return np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC))


def extreme(rng, height, width):
  return 255 * rng.integers(0, 2, (height, width, 3)).astype(np.uint8)


class LibjpegTest(parameterized.TestCase):
  def assert_same_bytes(self, image, quality, subsampling):
    result = ours(jnp.asarray(image, jnp.float32) / 255, quality, subsampling)
    np.testing.assert_array_equal(
      np.round(255 * np.asarray(result)).astype(np.uint8),
      pillow(image, quality, subsampling),
    )

  @parameterized.product(
    subsampling=["4:4:4", "4:2:2", "4:2:0"], make=[smooth, extreme]
  )
  def test_every_quality_at_an_odd_size(self, subsampling, make):
    rng = np.random.default_rng(0)
    for quality in range(1, 101):
      self.assert_same_bytes(make(rng, 37, 53), quality, subsampling)

  @parameterized.parameters(
    ((1, 1), "4:2:0"),
    ((5, 3), "4:2:2"),
    ((33, 2), "4:2:0"),
    ((2, 40), "4:2:0"),
  )
  def test_sizes(self, size, subsampling):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    for quality in (3, 60, 97):
      self.assert_same_bytes(image, quality, subsampling)

  @settings(max_examples=40, deadline=None)
  @given(
    seed=st.integers(0, 2**32 - 1),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    contrast=st.integers(0, 255),
  )
  def test_noise_of_any_contrast(self, seed, quality, subsampling, contrast):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, contrast + 1, (37, 53, 3)).astype(np.uint8)
    self.assert_same_bytes(image, quality, subsampling)

  def test_a_batch_with_a_quality_each(self):
    rng = np.random.default_rng(2)
    images = np.stack([smooth(rng, 16, 32) for _ in range(3)])
    qualities = [10, 50, 95]
    result = ours(images.astype(np.float32) / 255, jnp.array(qualities), "4:2:0")
    for image, quality, compressed in zip(images, qualities, result, strict=True):
      np.testing.assert_array_equal(
        np.round(255 * np.asarray(compressed)), pillow(image, quality, "4:2:0")
      )

  def test_gradient_is_that_of_real_numbers(self):
    images = jax.random.uniform(jax.random.key(0), (8, 16, 3))
    weights = jax.random.normal(jax.random.key(1), images.shape)

    @functools.partial(jax.jit, static_argnames=("arithmetic", "rounding"))
    def gradient(**options):
      return jax.grad(lambda x: jnp.sum(weights * jpeg(x, 80, **options)))(images)

    np.testing.assert_allclose(
      gradient(arithmetic="libjpeg", rounding="sin"),
      gradient(arithmetic="real", rounding="sin"),
      rtol=1e-5,
      atol=1e-6,
    )
    np.testing.assert_array_equal(gradient(arithmetic="libjpeg", rounding="round"), 0)


if __name__ == "__main__":
  absltest.main()
