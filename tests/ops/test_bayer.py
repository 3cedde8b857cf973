"""Tests of mosaics, of demosaicing, and of blocks as channels."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import bayer, demosaic
from jaxvision.ops.space_to_depth import depth_to_space, space_to_depth
from jaxvision.train.once import jit_once

bilinear = jit_once(demosaic.bilinear, static_argnums=1)
compiled_menon = jit_once(demosaic.menon, static_argnums=1, static_argnames="refine")
RGB = jax.random.uniform(jax.random.key(0), (2, 8, 10, 3))


def menon(planes, pattern, refine=True):
  return compiled_menon(planes, pattern, refine=refine)


class SpaceToDepthTest(parameterized.TestCase):
  def test_channels_of_a_block_are_in_reading_order(self):
    images = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(space_to_depth(images, 2)[0, 0, 1], [2, 3, 6, 7])

  @parameterized.parameters(1, 2)
  def test_there_and_back(self, block):
    np.testing.assert_array_equal(
      depth_to_space(space_to_depth(RGB, block), block), RGB
    )

  def test_what_does_not_divide_is_refused(self):
    with self.assertRaisesRegex(ValueError, "divide"):
      space_to_depth(RGB, 3)
    with self.assertRaisesRegex(ValueError, "divide"):
      depth_to_space(RGB, 2)


class BayerTest(chex.TestCase):
  @parameterized.parameters(
    ("GBRG", (6, 1, 10, 5)), ("RGGB", (0, 4, 7, 11)), ("BGGR", (9, 4, 7, 2))
  )
  def test_scatter_kernels_are_the_published_ones(self, pattern, columns):
    expected = np.eye(12)[list(columns)]
    np.testing.assert_array_equal(bayer.scatter_kernel(pattern), expected)

  @parameterized.parameters(*bayer.PATTERNS)
  def test_the_mosaic_reads_as_the_pattern_says(self, pattern):
    mosaic = bayer.unpack(bayer.sample(RGB, pattern), pattern)
    for site, color in enumerate(pattern):
      row, column = divmod(site, 2)
      np.testing.assert_array_equal(
        mosaic[:, row::2, column::2], RGB[:, row::2, column::2, "RGB".index(color)]
      )

  @parameterized.parameters(*bayer.PATTERNS)
  def test_pack_and_unpack_are_inverse(self, pattern):
    mosaic = RGB[..., 0]
    planes = bayer.pack(mosaic, pattern)
    np.testing.assert_array_equal(bayer.unpack(planes, pattern), mosaic)

  @parameterized.parameters(*bayer.PATTERNS)
  def test_scatter_puts_samples_where_they_were(self, pattern):
    scattered = bayer.scatter(bayer.sample(RGB, pattern), pattern)
    is_sample = scattered != 0
    np.testing.assert_array_equal(is_sample.sum(axis=-1), 1)
    np.testing.assert_array_equal(scattered[is_sample], RGB[is_sample])

  def test_unknown_patterns_are_refused(self):
    with self.assertRaisesRegex(ValueError, "RGBG"):
      bayer.sample(RGB, "RGBG")


class DemosaicTest(chex.TestCase):
  @parameterized.product(pattern=bayer.PATTERNS, method=[bilinear, menon])
  def test_a_single_color_comes_back(self, pattern, method):
    rgb = jnp.broadcast_to(jnp.array([0.7, 0.4, 0.1]), (2, 8, 10, 3))
    restored = method(bayer.sample(rgb, pattern), pattern)
    np.testing.assert_allclose(restored, rgb, atol=1e-6)

  def test_bilinear_interpolates_a_ramp_exactly(self):
    rows, columns = jnp.mgrid[:8, :8] / 8.0
    rgb = jnp.stack([rows, columns, 1 - rows], axis=-1)[None]
    restored = bilinear(bayer.sample(rgb, "GBRG"), "GBRG")
    inner = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(restored[inner], rgb[inner], atol=1e-6)

  def test_menon_keeps_an_edge_that_bilinear_blurs(self):
    rgb = jnp.where(jnp.arange(10) < 5, 0.2, 0.9)[None, None, :, None]
    rgb = jnp.broadcast_to(rgb, (2, 8, 10, 3))
    planes = bayer.sample(rgb, "RGGB")
    error = {
      method.__name__: float(jnp.max(jnp.abs(method(planes, "RGGB") - rgb)))
      for method in (bilinear, menon)
    }
    self.assertGreater(error["bilinear"], 0.1)
    self.assertLess(error["menon"], 1e-5)

  @parameterized.parameters((False,), (True,))
  def test_menon_keeps_its_samples(self, refine):
    planes = bayer.sample(RGB, "GBRG")
    restored = menon(planes, "GBRG", refine=refine)
    np.testing.assert_allclose(
      bayer.sample(restored, "GBRG")[..., jnp.array([0, 3])],
      planes[..., jnp.array([0, 3])],
      atol=1e-6,
    )

  def test_menon_agrees_with_colour_demosaicing(self):
    mosaic = jnp.arange(36) * 7 % 11 / 11
    restored = menon(bayer.pack(mosaic.reshape(1, 6, 6), "GBRG"), "GBRG")
    # demosaicing_CFA_Bayer_Menon2007 of colour-demosaicing 0.2.7.
    expected = [
      [0.704545, 0.636364, 0.859848],
      [-0.016414, 0.049242, 0.272727],
      [0.63447, 0.909091, 1.028409],
      [0.287247, 0.530303, 0.545455],
      [-0.00947, 0.181818, 0.32197],
      [0.36553, 0.55303, 0.818182],
    ]
    np.testing.assert_allclose(restored[0, 2], expected, atol=2e-6)

  def test_bilinear_kernel_is_the_convolution_of_bilinear(self):
    scattered = bayer.scatter(bayer.sample(RGB, "GBRG"), "GBRG")
    padded = jnp.pad(scattered, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    convolved = jax.lax.conv_general_dilated(
      padded,
      jnp.asarray(demosaic.bilinear_kernel(5)),
      (1, 1),
      "VALID",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(
      convolved, bilinear(bayer.sample(RGB, "GBRG"), "GBRG"), atol=1e-6
    )


if __name__ == "__main__":
  absltest.main()
